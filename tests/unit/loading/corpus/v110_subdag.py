from airflow.example_dags.subdags.subdag import subdag
from airflow.models import DAG
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.subdag_operator import SubDagOperator
from airflow.utils.dates import days_ago

DAG_NAME = 'v110_subdag'
args = {'owner': 'airflow', 'start_date': days_ago(2)}


def own_subdag(parent, child, args):
    dag_subdag = DAG(dag_id='%s.%s' % (parent, child), default_args=args, schedule_interval='@daily')
    with dag_subdag:
        for i in range(2):
            DummyOperator(task_id='%s-task-%s' % (child, i + 1), default_args=args)
    return dag_subdag


dag = DAG(dag_id=DAG_NAME, default_args=args, schedule_interval="@once")
start = DummyOperator(task_id='start', dag=dag)
section_1 = SubDagOperator(task_id='section-1', subdag=subdag(DAG_NAME, 'section-1', args), dag=dag)
section_2 = SubDagOperator(task_id='section-2', subdag=own_subdag(DAG_NAME, 'section-2', args), dag=dag)
start >> section_1 >> section_2
