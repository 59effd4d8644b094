"""The 1.7 way: operators from the package itself, arguments in default_args, set_upstream."""
from airflow import DAG
from airflow.operators import BashOperator, DummyOperator, PythonOperator
from datetime import datetime, timedelta

default_args = {
    'owner': 'airflow',
    'depends_on_past': False,
    'start_date': datetime(2015, 6, 1),
    'email': ['airflow@example.com'],
    'email_on_failure': False,
    'email_on_retry': False,
    'retries': 1,
    'retry_delay': timedelta(minutes=5),
    'max_active_runs': 1,
    'schedule_interval': '@daily',
}

dag = DAG('v17_tutorial', default_args=default_args)

t1 = BashOperator(task_id='print_date', bash_command='date', dag=dag)
t2 = BashOperator(task_id='sleep', bash_command='sleep 5', retries=3, dag=dag)

templated_command = """
    {% for i in range(5) %}
        echo "{{ ds }}"
        echo "{{ macros.ds_add(ds, 7)}}"
        echo "{{ params.my_param }}"
    {% endfor %}
"""

t3 = BashOperator(
    task_id='templated',
    bash_command=templated_command,
    params={'my_param': 'Parameter I passed in'},
    dag=dag)


def report(ds, **kwargs):
    print(ds)
    print(kwargs)
    return 'done'


t4 = PythonOperator(task_id='report', python_callable=report, provide_context=True, dag=dag)
end = DummyOperator(task_id='end', dag=dag)

t2.set_upstream(t1)
t3.set_upstream(t1)
t4.set_upstream([t2, t3])
t4.set_downstream(end)
