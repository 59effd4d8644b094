from datetime import datetime

from airflow import DAG
from airflow.decorators import task
from airflow.operators.bash import BashOperator
from airflow.providers.amazon.aws.operators.s3 import S3CopyObjectOperator

with DAG(dag_id="v2_mapped", start_date=datetime(2022, 3, 4), schedule="@weekly") as dag:

    @task
    def add_one(x: int):
        return x + 1

    @task
    def sum_it(values):
        return sum(values)

    added = add_one.partial().expand(x=[1, 2, 3])
    total = sum_it(added)
    copy = S3CopyObjectOperator.partial(task_id="copy", bucket="b").expand(key=["x", "y"])
    total >> copy >> BashOperator(task_id="end", bash_command="true")
