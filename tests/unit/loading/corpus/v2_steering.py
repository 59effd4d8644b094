"""Branches by time, other DAGs, the latest run, under their names of Airflow 2."""
import datetime

from airflow import DAG
from airflow.operators.branch import BaseBranchOperator
from airflow.operators.datetime import BranchDateTimeOperator
from airflow.operators.latest_only import LatestOnlyOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.operators.weekday import BranchDayOfWeekOperator
from airflow.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.weekday import WeekDay


class Own(BaseBranchOperator):
    def choose_branch(self, context):
        return ["start_other"]


with DAG("v2_steering", start_date=datetime.datetime(2023, 1, 1), schedule="@daily", catchup=False) as dag:
    latest = LatestOnlyOperator(task_id="latest")
    weekday = BranchDayOfWeekOperator(
        task_id="weekday", follow_task_ids_if_true="start_other", follow_task_ids_if_false="wait_other", week_day={WeekDay.SATURDAY, "Sunday"})
    office = BranchDateTimeOperator(
        task_id="office", follow_task_ids_if_true=["own"], follow_task_ids_if_false=[], target_lower=datetime.time(8), target_upper=datetime.time(17))
    own = Own(task_id="own")
    start = TriggerDagRunOperator(
        task_id="start_other", trigger_dag_id="other", conf={"day": "{{ ds }}"}, logical_date="{{ logical_date }}", reset_dag_run=True,
        wait_for_completion=True, poke_interval=5, allowed_states=[DagRunState.SUCCESS], failed_states=[DagRunState.FAILED], trigger_run_id=None)
    wait = ExternalTaskSensor(
        task_id="wait_other", external_dag_id="other", external_task_group_id="section_1", mode="reschedule", timeout=600,
        allowed_states=[TaskInstanceState.SUCCESS], failed_states=["failed", TaskInstanceState.UPSTREAM_FAILED], execution_date_fn=lambda date: date)
    marker = ExternalTaskMarker(task_id="marker", external_dag_id="other", external_task_id="end", execution_date="{{ logical_date }}")
    latest >> [weekday, office]
    office >> own
    [weekday, own] >> start
    [weekday, own] >> wait
