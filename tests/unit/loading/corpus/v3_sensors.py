"""Sensors under their names of Airflow 3."""
import datetime

from airflow.providers.standard.sensors.bash import BashSensor
from airflow.providers.standard.sensors.date_time import DateTimeSensor
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.time import TimeSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.providers.standard.sensors.weekday import DayOfWeekSensor
from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue, task


class Own(BaseSensorOperator):
    def poke(self, context):
        return PokeReturnValue(True, 5)


with DAG("v3_sensors", schedule=None, start_date=datetime.datetime(2025, 1, 1)) as dag:
    @task.sensor
    def ready():
        return True

    t = [TimeSensor(task_id="t", target_time=datetime.time(0)), TimeDeltaSensor(task_id="td", delta=datetime.timedelta(0)),
         DateTimeSensor(task_id="dt", target_time="2025-01-01"), DayOfWeekSensor(task_id="wd", week_day="Monday")]
    ready() >> t >> Own(task_id="own") >> [
        FileSensor(task_id="file", filepath="/x"), BashSensor(task_id="bash", bash_command="true"),
        PythonSensor(task_id="python", python_callable=bool),
    ]
