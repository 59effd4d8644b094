import rqflow

dag = rqflow.DAG("native_plain", schedule="@hourly", start_date="2024-01-01")
first = rqflow.BashOperator(task_id="first", bash_command="scripts/common2.sh", dag=dag)
second = rqflow.PythonOperator(task_id="second", python_callable=len, op_args=[[1, 2]], dag=dag)
first >> second
