import random

from airflow.models import DAG
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python_operator import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.utils.trigger_rule import TriggerRule

args = {'owner': 'airflow', 'start_date': '2021-03-01', 'depend_on_past': True, 'mode': 'poke'}

with DAG('v110_branch', default_args=args, schedule_interval='@daily', catchup=False, concurrency=4, max_active_runs=2) as dag:
    run_this_first = DummyOperator(task_id='run_this_first')
    options = ['branch_a', 'branch_b', 'branch_c']
    branching = BranchPythonOperator(task_id='branching', python_callable=lambda: random.choice(options))
    run_this_first >> branching
    join = DummyOperator(task_id='join', trigger_rule='none_failed_or_skipped')
    for option in options:
        t = DummyOperator(task_id=option)
        dummy_follow = DummyOperator(task_id='follow_' + option)
        branching >> t >> dummy_follow >> join
    check = ShortCircuitOperator(task_id='check', python_callable=lambda: False, provide_context=False)
    done = PythonOperator(task_id='done', python_callable=print, op_args=['{{ ds }}'], trigger_rule=TriggerRule.ALL_DONE)
    join >> check
    check.set_downstream(done)
