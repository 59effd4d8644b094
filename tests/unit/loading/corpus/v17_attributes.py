"""`import airflow` and everything as attributes of it."""
import airflow

args = {'owner': 'lab', 'start_date': airflow.utils.dates.days_ago(2)}
dag = airflow.models.DAG(dag_id='v17_attributes', default_args=args, schedule_interval='0 0 * * *')
run_first = airflow.operators.bash_operator.BashOperator(task_id='first', bash_command='echo {{ run_id }}', dag=dag)
run_last = airflow.operators.DummyOperator(task_id='last', dag=dag)
run_first >> run_last
dag.doc_md = __doc__

if __name__ == '__main__':
    dag.cli()
