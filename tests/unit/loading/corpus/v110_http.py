"""HTTP and SQL that is waited for, under the names of Airflow 1.x."""
import json
from datetime import datetime

from airflow import DAG
from airflow.hooks.http_hook import HttpHook
from airflow.operators.http_operator import SimpleHttpOperator
from airflow.operators.python_operator import PythonOperator
from airflow.operators.sensors import HttpSensor
from airflow.sensors.sql_sensor import SqlSensor

dag = DAG('v110_http', default_args={'owner': 'lab', 'retries': 1}, start_date=datetime(2019, 1, 1))
wait = HttpSensor(task_id='wait', http_conn_id='http_default', endpoint='', request_params={}, response_check=lambda response: True if
                  "httpbin" in response.text else False, poke_interval=5, dag=dag)
post = SimpleHttpOperator(task_id='post', endpoint='api/v1.0/nodes', data=json.dumps({"priority": 5}), headers={"Content-Type": "application/json"},
                          response_check=lambda response: len(response.json()) == 0, xcom_push=True, dag=dag)
rows = SqlSensor(task_id='rows', conn_id='db', sql="select count(*) from t where day = '{{ ds }}'", dag=dag)
call = PythonOperator(task_id='call', python_callable=lambda: HttpHook(method='GET').run('x').text, dag=dag)
wait >> post >> rows >> call
