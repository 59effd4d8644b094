from __future__ import annotations

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Label, Param, TaskGroup, TriggerRule, Variable, chain

with DAG(
    dag_id="v3_sdk",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    dag_display_name="Sdk",
    params={"n": Param(1, type="integer")},
) as dag:
    hello = BashOperator(task_id="hello", bash_command="echo {{ logical_date | ds }} {{ params.n }}", env={"A": "{{ ds }}"}, append_env=True)
    with TaskGroup("work") as work:
        PythonOperator(task_id="python", python_callable=lambda **context: context["ds"])
    end = EmptyOperator(task_id="end", trigger_rule=TriggerRule.ALL_DONE)
    chain(hello, Label("always"), work, end)

if __name__ == "__main__":
    dag.test()
