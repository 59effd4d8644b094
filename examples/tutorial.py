"""The tutorial: bash tasks, a template with a loop, macros and params, and a task that fails once.

    rqflow submit examples/tutorial.py --run
    rqflow submit examples/tutorial.py --run -p greeting=Moin

prints what each task does; docs/tutorial/first-dag.md explains the parts by a smaller file.
"""

from datetime import timedelta

from rqflow import DAG, BashOperator

with DAG(
    "tutorial",
    description="Three tasks that say hello",
    schedule=None,
    params={"greeting": "Hello", "names": ["Ada", "Grace", "Rosalind"]},
    default_args={"owner": "tutorial", "retries": 1, "retry_delay": timedelta(seconds=2)},
    tags=["example"],
) as dag:
    dag.doc_md = __doc__

    print_date = BashOperator(task_id="print_date", bash_command="date --utc")

    # {{ … }} and {% … %} are filled in before each try; values that may be given at the trigger go through shquote.
    greet = BashOperator(
        task_id="greet",
        bash_command="""
{% for name in params.names %}
echo {{ params.greeting | shquote }} {{ name | shquote }}, this is {{ ds }}, a week later it will be {{ macros.ds_add(ds, 7) }}
{% endfor %}
echo "{{ params.names | length }} people greeted"
""",
    )

    # Fails in its first try, so that there is something to see: retries=1 starts it again after two seconds.
    wobble = BashOperator(
        task_id="wobble",
        bash_command="""
if [ "$RQFLOW_TRY" -lt 2 ]; then
  echo "try $RQFLOW_TRY: not today" >&2
  exit 1
fi
echo "try $RQFLOW_TRY: now it works"
""",
    )

    # The last line that a task prints is its XCom.
    done = BashOperator(task_id="done", bash_command="echo 'greet said:' {{ ti.xcom_pull(task_ids='greet') | shquote }}")

    print_date >> [greet, wobble] >> done
