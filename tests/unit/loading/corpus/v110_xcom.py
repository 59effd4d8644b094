from __future__ import print_function

import airflow
from airflow import DAG
from airflow.operators.python_operator import PythonOperator

args = {'owner': 'airflow', 'start_date': airflow.utils.dates.days_ago(2), 'provide_context': True}
dag = DAG('v110_xcom', schedule_interval="@once", default_args=args)
value_1 = [1, 2, 3]


def push(**kwargs):
    """Pushes an XCom without a specific target"""
    kwargs['ti'].xcom_push(key='value from pusher 1', value=value_1)


def puller(**kwargs):
    ti = kwargs['ti']
    v1 = ti.xcom_pull(key=None, task_ids='push')
    assert v1 == value_1


push1 = PythonOperator(task_id='push', dag=dag, python_callable=push)
pull = PythonOperator(task_id='puller', dag=dag, python_callable=puller)
pull << push1
