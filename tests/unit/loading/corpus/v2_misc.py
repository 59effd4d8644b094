"""Idioms at parse time: environment, files, dates, lists of lists, dictionaries of tasks."""
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow import DAG
from airflow.models import BaseOperator
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator
from airflow.utils import timezone as airflow_timezone
from airflow.utils.log.logging_mixin import LoggingMixin

ENVIRONMENT = os.getenv("ENVIRONMENT", "dev")
START = airflow_timezone.datetime(2022, 1, 1)
QUERY = Path(__file__).parent.joinpath("sql", "genes.sql").read_text()


class CountOperator(BaseOperator, LoggingMixin):
    template_fields = ["query"]
    template_ext = (".sql",)
    ui_color = "#fff"

    def __init__(self, query: str, factor: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        self.query = query
        self.factor = factor

    def execute(self, context):
        return len(self.query) * self.factor


dag = DAG(
    dag_id=os.path.basename(__file__).replace(".py", ""),
    start_date=START,
    end_date=datetime(2030, 1, 1, tzinfo=timezone.utc),
    schedule_interval="@once" if ENVIRONMENT == "dev" else None,
    default_args={"owner": "me", "retry_exponential_backoff": True, "max_retry_delay": timedelta(minutes=30)},
)
with dag:
    tasks = {name: BashOperator(task_id=name, bash_command=f"echo {name} {{{{ ts }}}}", cwd="/tmp") for name in ("a", "b", "c")}
    count = CountOperator(task_id="count", query="sql/genes.sql")
    text = CountOperator(task_id="text", query=QUERY, factor=3)

tasks["a"] >> [tasks["b"], tasks["c"]] >> count
count << PythonOperator(task_id="py", python_callable=lambda *args, **kwargs: args, dag=dag)
text.set_upstream(tasks["a"])
