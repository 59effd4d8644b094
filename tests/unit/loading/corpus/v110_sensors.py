"""Sensors under their names of Airflow 1.x, one of them the author's own."""
from datetime import datetime, time, timedelta

from airflow import DAG
from airflow.contrib.sensors.bash_sensor import BashSensor
from airflow.contrib.sensors.file_sensor import FileSensor
from airflow.contrib.sensors.python_sensor import PythonSensor
from airflow.contrib.sensors.weekday_sensor import DayOfWeekSensor
from airflow.contrib.utils.weekday import WeekDay
from airflow.operators.sensors import BaseSensorOperator, TimeDeltaSensor, TimeSensor
from airflow.sensors.base_sensor_operator import BaseSensorOperator as Base
from airflow.utils.decorators import apply_defaults

assert Base is BaseSensorOperator


class SizeSensor(BaseSensorOperator):
    template_fields = ('path',)

    @apply_defaults
    def __init__(self, path, least=1, *args, **kwargs):
        super(SizeSensor, self).__init__(*args, **kwargs)
        self.path = path
        self.least = least

    def poke(self, context):
        return False


default_args = {'owner': 'lab', 'start_date': datetime(2019, 1, 1), 'mode': 'reschedule', 'poke_interval': 30}

with DAG('v110_sensors', default_args=default_args, schedule_interval='@daily') as dag:
    night = TimeSensor(task_id='night', target_time=time(2))
    later = TimeDeltaSensor(task_id='later', delta=timedelta(minutes=5))
    day = DayOfWeekSensor(task_id='day', week_day=WeekDay.MONDAY, use_task_execution_day=True)
    file = FileSensor(task_id='file', filepath='/data/{{ ds }}/done', fs_conn_id='fs_default')
    bash = BashSensor(task_id='bash', bash_command='test -e /data/{{ ds }}')
    python = PythonSensor(task_id='python', python_callable=lambda ds: True, timeout=60 * 60)
    size = SizeSensor(task_id='size', path='/data/{{ ds }}/all.bam', least=10)
    night >> [later, day] >> file >> [bash, python] >> size
