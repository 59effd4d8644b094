from datetime import datetime

from airflow import DAG
from airflow.plugins_manager import AirflowPlugin
from airflow.operators.empty import EmptyOperator
from airflow.timetables.base import DagRunInfo, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.state import DagRunState, State
from airflow.utils.weight_rule import WeightRule


class AfterWorkdayTimetable(Timetable):
    def next_dagrun_info(self, **kwargs):
        return DagRunInfo.interval(None, None)


class WorkdayPlugin(AirflowPlugin):
    name = "workday"
    timetables = [AfterWorkdayTimetable]


with DAG("v2_timetable", start_date=datetime(2022, 1, 1), timetable=CronDataIntervalTimetable("0 0 * * *", timezone="UTC")) as dag:
    EmptyOperator(task_id="a", weight_rule=WeightRule.ABSOLUTE) >> EmptyOperator(task_id="b")
STATES = [State.SUCCESS, DagRunState.FAILED]
