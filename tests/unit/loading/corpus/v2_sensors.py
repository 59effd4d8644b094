"""Sensors under their names of Airflow 2, a decorated one among them."""
from datetime import datetime, time, timedelta

import airflow.sensors.python
from airflow.decorators import dag, task
from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
from airflow.sensors.bash import BashSensor
from airflow.sensors.date_time import DateTimeSensor, DateTimeSensorAsync
from airflow.sensors.filesystem import FileSensor
from airflow.sensors.time_delta import TimeDeltaSensor, TimeDeltaSensorAsync
from airflow.sensors.time_sensor import TimeSensor, TimeSensorAsync
from airflow.sensors.weekday import DayOfWeekSensor
from airflow.utils.weekday import WeekDay


@dag(start_date=datetime(2023, 1, 1), schedule="@daily", catchup=False)
def v2_sensors():
    @task.sensor(poke_interval=60, timeout=3600, mode="reschedule")
    def wait_for_upstream(day: str = "{{ ds }}") -> PokeReturnValue:
        return PokeReturnValue(is_done=True, xcom_value="xcom_value")

    first = [
        TimeSensor(task_id="time", target_time=time(0, 0)), TimeSensorAsync(task_id="time_async", target_time=time(0, 0)),
        TimeDeltaSensor(task_id="delta", delta=timedelta(seconds=1)), TimeDeltaSensorAsync(task_id="delta_async", delta=timedelta(seconds=1)),
        DateTimeSensor(task_id="moment", target_time="{{ data_interval_end.tomorrow().replace(hour=1) }}"),
        DateTimeSensorAsync(task_id="moment_async", target_time=datetime(2023, 1, 2)),
        DayOfWeekSensor(task_id="day", week_day={WeekDay.SATURDAY, WeekDay.SUNDAY}, use_task_logical_date=True),
    ]
    bash = BashSensor(task_id="bash", bash_command="sleep 40 && exit 0", timeout=timedelta(minutes=3), soft_fail=True, retry_exit_code=1)
    file = FileSensor(task_id="file", filepath="/tmp/x", deferrable=True)
    python = airflow.sensors.python.PythonSensor(task_id="python", python_callable=lambda: True, exponential_backoff=True)
    waited = wait_for_upstream()
    first >> waited >> [bash, file, python]


v2_sensors()
