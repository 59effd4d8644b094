from airflow import DAG, AirflowException
from airflow.operators.bash_operator import BashOperator
from airflow.operators.python_operator import PythonOperator
from airflow.models import Variable
from airflow import models, settings, configuration, macros
from airflow.utils import dates
from airflow.utils.email import send_email
from airflow.hooks.S3_hook import S3Hook
from airflow.operators.email_operator import EmailOperator
from airflow.operators.mysql_operator import MySqlOperator
from airflow.operators.dagrun_operator import TriggerDagRunOperator, DagRunOrder

HOME = settings.AIRFLOW_HOME
FOLDER = configuration.get('core', 'dags_folder')
default_args = {'owner': 'x', 'start_date': dates.days_ago(1), 'retries': 0}


def conditionally_trigger(context, dag_run_obj):
    return dag_run_obj


def notify(**kwargs):
    send_email('a@b.c', 'subject', 'body')
    S3Hook().load_string('done', 'key')


with models.DAG('v110_names', default_args=default_args, schedule_interval=None, template_searchpath='sql') as dag:
    trigger = TriggerDagRunOperator(task_id='trigger', trigger_dag_id='other', python_callable=conditionally_trigger, params={'a': 1})
    mail = EmailOperator(task_id='mail', to='a@b.c', subject='{{ ds }}', html_content='<b>{{ ds }}</b>')
    query = MySqlOperator(task_id='query', sql='genes.sql', mysql_conn_id='db')
    python = PythonOperator(task_id='python', python_callable=notify, provide_context=True)
    bash = BashOperator(task_id='bash', bash_command='echo {{ var.value.get("x", "y") }} {{ macros.ds_format(ds, "%Y-%m-%d", "%Y") }}', xcom_push=True)
    trigger >> mail
    trigger >> query
    [mail, query] >> python
    python >> bash
