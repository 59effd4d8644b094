"""Keys that nobody takes, a string as start_date, and a DAG changed after it was made."""
from airflow import DAG
from airflow.operators.dummy import DummyOperator

default_args = {
    'owner': 'lab', 'start_date': '2021-03-01', 'catchup': False, 'concurrency': 3, 'is_active': True, 'tags': ['x'], 'dependes_on_past': 1,
    'pool': 'gpu', 'queue': 'long', 'priority_weight': 5, 'weight_rule': 'absolute', 'secrets': [], 'env_vars': {},
}
dag = DAG('v2_default_args', default_args=default_args, schedule_interval='0 0 1 */3 *', is_paused_upon_creation=True, default_view='graph',
          orientation='LR', access_control={}, sla_miss_callback=print)
dag.catchup = False
dag.max_active_runs = 3
DummyOperator(task_id='only', dag=dag)
