"""rqflow's own way."""
from rqflow import DAG, BashOperator, EmptyOperator, Label, Param, TaskGroup, TriggerRule, chain

with DAG("native_sequencing", params={"threads": Param(4, type="integer")}, tags=["lab"], max_active_tasks=2) as dag:
    report = BashOperator(task_id="report", bash_command="cat *.txt > report", trigger_rule=TriggerRule.ALL_DONE, cwd="/data", outputs=["report"])
    for sample in ("a", "b"):
        with TaskGroup(sample):
            trim = BashOperator(task_id="trim", bash_command="trim -t {{ params.threads }} {{ ds_nodash }}", pool="disk", queue="long")
            align = BashOperator(task_id="align", bash_command="align {{ params.reference | default('hg38') }}", worker_labels="gpu", retries=2)
            trim >> Label("trimmed") >> align >> report
    chain(report, EmptyOperator(task_id="end"))
