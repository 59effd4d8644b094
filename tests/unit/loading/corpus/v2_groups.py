import pendulum
from airflow.models.baseoperator import chain, cross_downstream
from airflow.models.dag import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup

with DAG(
    dag_id="v2_groups",
    start_date=pendulum.datetime(2021, 1, 1, tz="Europe/Berlin"),
    schedule="0 9 * * MON-FRI",
    catchup=False,
    max_active_tasks=3,
    render_template_as_native_obj=True,
) as dag:
    start = EmptyOperator(task_id="start")
    with TaskGroup("section_1", tooltip="Tasks for section_1") as section_1:
        task_1 = EmptyOperator(task_id="task_1")
        task_2 = BashOperator(task_id="task_2", bash_command="echo 1")
        task_3 = EmptyOperator(task_id="task_3")
        task_1 >> [task_2, task_3]
    with TaskGroup("section_2", prefix_group_id=True) as section_2:
        task_1 = EmptyOperator(task_id="task_1")
        with TaskGroup("inner") as inner_section_2:
            task_2 = BashOperator(task_id="task_2", bash_command="echo {{ data_interval_end | ds }}")
            task_3 = EmptyOperator(task_id="task_3")
            [task_2, task_3]
        task_1 >> Label("go on") >> inner_section_2
    end = EmptyOperator(task_id="end", trigger_rule="none_failed_min_one_success")
    start >> section_1 >> section_2 >> end
    chain(start, EmptyOperator(task_id="late"), end)
