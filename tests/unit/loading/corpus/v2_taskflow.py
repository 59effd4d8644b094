import json

import pendulum
from airflow.decorators import dag, task, task_group


@dag(schedule=None, start_date=pendulum.datetime(2021, 1, 1, tz="UTC"), catchup=False, tags=["example"])
def v2_taskflow(email: str = "a@b.c"):
    """### TaskFlow tutorial"""

    @task()
    def extract():
        return json.loads('{"1001": 301.27}')

    @task(multiple_outputs=True)
    def transform(order_data_dict: dict):
        return {"total_order_value": sum(order_data_dict.values())}

    @task(retries=2)
    def load(total_order_value: float):
        print(total_order_value)

    @task.branch
    def choose():
        return "load"

    @task_group(group_id="etl")
    def etl():
        order_data = extract()
        order_summary = transform(order_data)
        load(order_summary["total_order_value"])

    @task.virtualenv(requirements=["pandas"], task_id="venv")
    def isolated(x):
        return x

    choose() >> etl() >> isolated.override(task_id="other").expand(x=[1, 2, 3])


v2_taskflow()
