"""Other DAGs and the latest run, the 1.7 way."""
from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators import LatestOnlyOperator, TriggerDagRunOperator
from airflow.operators.dagrun_operator import DagRunOrder
from airflow.operators.sensors import ExternalTaskSensor
from airflow.sensors.external_task_sensor import ExternalTaskMarker


def conditionally_trigger(context, dag_run_obj):
    """Start the other one only where the params say so."""
    if context['params']['condition_param']:
        dag_run_obj.payload = {'message': context['params']['message']}
        return dag_run_obj


dag = DAG('v17_steering', start_date=datetime(2016, 1, 1), schedule_interval='@daily')
latest = LatestOnlyOperator(task_id='latest', dag=dag)
start = TriggerDagRunOperator(task_id='start_other', trigger_dag_id='other', python_callable=conditionally_trigger,
                              params={'condition_param': True, 'message': 'Hello World'}, dag=dag)
wait = ExternalTaskSensor(task_id='wait_other', external_dag_id='other', external_task_id='end', execution_delta=timedelta(hours=1),
                          allowed_states=['success', 'skipped'], dag=dag)
marker = ExternalTaskMarker(task_id='marker', external_dag_id='other', external_task_id='end', dag=dag)
latest.set_downstream(start)
start >> wait >> marker
