"""Unknown operators and hooks keep their places; an unused import stops nothing."""
from datetime import datetime, timedelta

from airflow import DAG
from airflow.contrib.hooks.gcs_hook import GoogleCloudStorageHook  # never used
from airflow.contrib.operators.kubernetes_pod_operator import KubernetesPodOperator
from airflow.contrib.operators.slack_webhook_operator import SlackWebhookOperator
from airflow.hooks.base_hook import BaseHook
from airflow.operators.bash_operator import BashOperator
from airflow.operators.postgres_operator import PostgresOperator
from airflow.operators.sensors import ExternalTaskSensor
from airflow.sensors.s3_key_sensor import S3KeySensor


def task_fail_slack_alert(context):
    token = BaseHook.get_connection('slack').password
    return SlackWebhookOperator(task_id='slack', http_conn_id='slack', webhook_token=token).execute(context=context)


dag = DAG('v110_contrib', start_date=datetime(2020, 1, 1), schedule_interval=timedelta(hours=6),
          default_args={'on_failure_callback': task_fail_slack_alert, 'retries': 2})
wait = ExternalTaskSensor(task_id='wait', external_dag_id='other', external_task_id='end', dag=dag)
key = S3KeySensor(task_id='key', bucket_key='s3://b/{{ ds }}', poke_interval=30, timeout=600, dag=dag)
pod = KubernetesPodOperator(namespace='default', image='python:3', cmds=['python', '-c'], arguments=['print({{ ds_nodash }})'],
                            name='pod', task_id='pod', get_logs=True, dag=dag)
sql = PostgresOperator(task_id='sql', sql='sql/genes.sql', postgres_conn_id='db', autocommit=True, dag=dag)
bash = BashOperator(task_id='bash', bash_command='echo {{ prev_ds }} {{ next_ds }}', dag=dag)
[wait, key] >> pod >> [sql, bash]
