from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator


def make_dag(dag_id, steps):
    dag = DAG(dag_id, start_date=datetime(2023, 1, 1), schedule_interval="@monthly")
    before = None
    for step in steps:
        task = BashOperator(task_id=step, bash_command=f"echo {step}", dag=dag)
        if before is not None:
            dag.set_dependency(before.task_id, task.task_id)
        before = task
    return dag
