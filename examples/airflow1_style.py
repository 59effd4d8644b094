"""A file as it was written for Airflow 1.x; it runs here as it is, with no airflow installed.

    rqflow submit examples/airflow1_style.py --run
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators import BashOperator, PythonOperator

default_args = {
    "owner": "airflow",
    "depends_on_past": False,
    "start_date": datetime(2015, 6, 1),
    "email": ["airflow@example.com"],
    "email_on_failure": False,
    "email_on_retry": False,
    "retries": 1,
    "retry_delay": timedelta(minutes=5),
}

dag = DAG("airflow1_style", default_args=default_args, schedule_interval=timedelta(1))


def count_days(ds, **kwargs):
    """Return how many days the logical date lies after the DAG's first one."""
    days = (datetime.strptime(ds, "%Y-%m-%d") - datetime(2015, 6, 1)).days
    print("day", days, "of", kwargs["dag"].dag_id)
    return days


t1 = BashOperator(task_id="print_date", bash_command="date", dag=dag)

t2 = BashOperator(task_id="pause", bash_command="sleep 1", retries=3, dag=dag)

templated_command = """
{% for i in range(3) %}
    echo "{{ ds }}"
    echo "{{ macros.ds_add(ds, i) }}"
    echo "{{ params.my_param }}"
{% endfor %}
"""

t3 = BashOperator(task_id="templated", bash_command=templated_command, params={"my_param": "a parameter that I passed in"}, dag=dag)

t4 = PythonOperator(task_id="count_days", python_callable=count_days, provide_context=True, dag=dag)

t5 = BashOperator(
    task_id="report",
    bash_command="echo {{ ti.xcom_pull(task_ids='count_days') }} days",
    trigger_rule="all_done",
    dag=dag,
)

t2.set_upstream(t1)
t3.set_upstream(t1)
t1.set_downstream(t4)
t5.set_upstream([t2, t3, t4])
