import logging
from datetime import datetime

from airflow import DAG
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.models import Param, TaskInstance, Variable
from airflow.operators.python import PythonOperator, get_current_context

log = logging.getLogger(__name__)
BUCKET = Variable.get("bucket", default_var="s3://none")
CONFIG = Variable.get("config", default_var={"rows": 3}, deserialize_json=True)


def extract(ti: TaskInstance, ds=None, params=None, **context):
    if params["rows"] > 100:
        raise AirflowFailException("too many")
    if context["dag_run"].conf.get("skip"):
        raise AirflowSkipException
    ti.xcom_push(key="rows", value=params["rows"])
    return ds


def load(rows, day):
    log.info("%s %s", rows, day)
    if not rows:
        raise AirflowException("no rows")


with DAG(
    "v2_python",
    start_date=datetime(2022, 1, 1),
    schedule=None,
    params={"rows": Param(CONFIG["rows"], type="integer", minimum=1), "plain": "x"},
) as dag:
    first = PythonOperator(task_id="extract", python_callable=extract)
    second = PythonOperator(
        task_id="load",
        python_callable=load,
        op_kwargs={"rows": "{{ ti.xcom_pull(task_ids='extract', key='rows') }}", "day": first.output},
        templates_dict={"query": "select '{{ ds }}'"},
    )
