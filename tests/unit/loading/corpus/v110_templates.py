from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.utils.decorators import apply_defaults
from airflow.utils.helpers import chain, cross_downstream
from datetime import datetime
import os

TMPL = [os.path.join(os.path.dirname(os.path.abspath(__file__)), 'scripts')]

dag = DAG(
    dag_id='v110_templates',
    start_date=datetime(2019, 1, 1),
    schedule_interval='*/45 * * * *',
    template_searchpath=TMPL,
    user_defined_macros={'project': 'genes'},
    user_defined_filters={'shout': lambda text: text.upper()},
    params={'threads': 4},
)


class TimedBashOperator(BashOperator):
    @apply_defaults
    def __init__(self, label, *args, **kwargs):
        super(TimedBashOperator, self).__init__(*args, **kwargs)
        self.label = label


extract = BashOperator(task_id='extract', bash_command='extract.sh', dag=dag)
# The blank is the well-known way round the template lookup.
transform = BashOperator(task_id='transform', bash_command='/usr/local/bin/transform.sh ', dag=dag)
load = TimedBashOperator(label='x', task_id='load', bash_command='echo {{ project | shout }} {{ undefined_here }}', dag=dag)
extra = [BashOperator(task_id='extra_%d' % n, bash_command='true', dag=dag) for n in (1, 2)]
checks = [BashOperator(task_id='check_%d' % n, bash_command='true', dag=dag) for n in (1, 2)]
chain(extract, transform, load)
cross_downstream(extra, checks)
