from __future__ import annotations

from datetime import datetime, timedelta

from airflow import DAG, Dataset
from airflow.configuration import conf
from airflow.models import Connection, Variable
from airflow.operators.bash import BashOperator
from airflow.operators.latest_only import LatestOnlyOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.google.cloud.operators import bigquery
from airflow.providers.http.sensors.http import HttpSensor
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.providers.slack.notifications.slack import send_slack_notification
from airflow.utils.session import provide_session
from kubernetes_stub import models as k8s

namespace = conf.get("kubernetes", "NAMESPACE")
dataset = Dataset("s3://bucket/{{ ds }}")


class BatchOperator(KubernetesPodOperator):
    template_fields = ("image", "arguments")

    def __init__(self, *, size, **kwargs):
        super().__init__(image=f"batch:{size}", namespace=namespace, **kwargs)
        self.size = size


@provide_session
def clean(session=None):
    PostgresHook("db").run("delete from x")


with DAG(
    "v2_providers",
    start_date=datetime(2022, 1, 1),
    schedule=[dataset],
    on_failure_callback=[send_slack_notification(text="failed", channel="#lab")],
    default_args={"execution_timeout": timedelta(hours=1)},
):
    latest = LatestOnlyOperator(task_id="latest_only")
    http = HttpSensor(task_id="http", http_conn_id="h", endpoint="/x/{{ ds }}", response_check=lambda r: True)
    pod = BatchOperator(task_id="pod", size=3, container_resources=k8s.Resources(), arguments=["{{ ds }}"])
    query = SQLExecuteQueryOperator(task_id="query", sql="sql/genes.sql", conn_id="db", outlets=[dataset])
    load = bigquery.BigQueryInsertJobOperator(task_id="load", configuration={"query": {"query": "{{ ds }}"}})
    more = TriggerDagRunOperator(task_id="more", trigger_dag_id="x", conf={"day": "{{ ds }}"}, wait_for_completion=True)
    echo = BashOperator(task_id="echo", bash_command="echo done", outlets=[dataset])
    latest >> http >> pod >> [query, load] >> more >> echo
