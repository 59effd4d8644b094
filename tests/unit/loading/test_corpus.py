"""Files as people write them, of all generations, loaded unmodified: their tasks and edges."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.dag.loading import Result
from tests.unit.loading.files import GOOD, load_apart, write

CORPUS = Path(__file__).parent / "corpus"
#: (file, DAG, generation, schedule): (tasks with their kinds in topological order, edges).
EXPECTED = {
    ("native_plain.py", "native_plain", "native", "@hourly"): (
        "first:bash second:python",
        "first>second",
    ),
    ("native_sequencing.py", "native_sequencing", "native", None): (
        "a.trim:bash b.trim:bash a.align:bash b.align:bash report:bash end:empty",
        "a.trim>a.align b.trim>b.align a.align>report b.align>report report>end",
    ),
    ("v110_bash.py", "v110_bash", "1", "0 0 * * *"): (
        "runme_0:bash runme_1:bash runme_2:bash also_run_this:bash run_after_loop:bash run_this_last:empty",
        "runme_0>run_after_loop runme_1>run_after_loop runme_2>run_after_loop also_run_this>run_this_last run_after_loop>run_this_last",
    ),
    ("v110_branch.py", "v110_branch", "1", "@daily"): (
        "run_this_first:empty branching:branch_python branch_a:empty branch_b:empty branch_c:empty follow_branch_a:empty "
        "follow_branch_b:empty follow_branch_c:empty join:empty check:short_circuit done:python",
        "run_this_first>branching branching>branch_a branching>branch_b branching>branch_c branch_a>follow_branch_a "
        "branch_b>follow_branch_b branch_c>follow_branch_c follow_branch_a>join follow_branch_b>join follow_branch_c>join join>check "
        "check>done",
    ),
    ("v110_contrib.py", "v110_contrib", "1", "timedelta:21600"): (
        "wait:external_task_sensor key:unsupported pod:unsupported sql:sql bash:bash",
        "wait>pod key>pod pod>sql pod>bash",
    ),
    ("v110_http.py", "v110_http", "1", "timedelta:86400"): (
        "wait:http_sensor post:http rows:sql_sensor call:python",
        "wait>post post>rows rows>call",
    ),
    ("v110_names.py", "v110_names", "1", None): (
        "trigger:trigger_dag mail:email query:sql python:python bash:bash",
        "trigger>mail trigger>query mail>python query>python python>bash",
    ),
    ("v110_sensors.py", "v110_sensors", "1", "@daily"): (
        "night:time_sensor later:time_delta_sensor day:day_of_week_sensor file:file_sensor bash:bash_sensor python:python_sensor size:sensor",
        "night>later night>day later>file day>file file>bash file>python bash>size python>size",
    ),
    ("v110_subdag.py", "v110_subdag", "1", "@once"): (
        "start:empty section-1.section-1-task-1:empty section-1.section-1-task-2:empty section-1.section-1-task-3:empty "
        "section-1.section-1-task-4:empty section-1.section-1-task-5:empty section-2.section-2-task-1:empty section-2.section-2-task-2:empty",
        " ".join(
            [f"start>section-1.section-1-task-{number}" for number in range(1, 6)]
            + [f"section-1.section-1-task-{number}>section-2.section-2-task-{other}" for number in range(1, 6) for other in (1, 2)]
        ),
    ),
    ("v110_templates.py", "v110_templates", "1", "*/45 * * * *"): (
        "extract:bash extra_1:bash extra_2:bash transform:bash check_1:bash check_2:bash load:bash",
        "extract>transform extra_1>check_1 extra_1>check_2 extra_2>check_1 extra_2>check_2 transform>load",
    ),
    ("v110_xcom.py", "v110_xcom", "1", "@once"): (
        "push:python puller:python",
        "push>puller",
    ),
    ("v17_steering.py", "v17_steering", "1", "@daily"): (
        "latest:latest_only start_other:trigger_dag wait_other:external_task_sensor marker:empty",
        "latest>start_other start_other>wait_other wait_other>marker",
    ),
    ("v17_attributes.py", "v17_attributes", "1", "0 0 * * *"): (
        "first:bash last:empty",
        "first>last",
    ),
    ("v17_operators.py", "v17_tutorial", "1", "timedelta:86400"): (
        "print_date:bash sleep:bash templated:bash report:python end:empty",
        "print_date>sleep print_date>templated sleep>report templated>report report>end",
    ),
    ("v2_default_args.py", "v2_default_args", "2", "0 0 1 */3 *"): (
        "only:empty",
        "",
    ),
    ("v2_factory.py", "v2_factory_blood", "2", "@monthly"): (
        "align:bash call:bash report:bash",
        "align>call call>report",
    ),
    ("v2_factory.py", "v2_factory_tumor", "2", "@monthly"): (
        "align:bash call:bash",
        "align>call",
    ),
    ("v2_groups.py", "v2_groups", "2", "0 9 * * MON-FRI"): (
        "start:empty section_1.task_1:empty late:empty section_1.task_2:bash section_1.task_3:empty section_2.task_1:empty "
        "section_2.inner.task_2:bash section_2.inner.task_3:empty end:empty",
        "start>section_1.task_1 start>late section_1.task_1>section_1.task_2 section_1.task_1>section_1.task_3 late>end "
        "section_1.task_2>section_2.task_1 section_1.task_3>section_2.task_1 section_2.task_1>section_2.inner.task_2 "
        "section_2.task_1>section_2.inner.task_3 section_2.inner.task_2>end section_2.inner.task_3>end",
    ),
    ("v2_mapped.py", "v2_mapped", "2", "@weekly"): (
        "add_one:unsupported sum_it:unsupported copy:unsupported end:bash",
        "add_one>sum_it sum_it>copy copy>end",
    ),
    ("v2_misc.py", "v2_misc", "2", "@once"): (
        "a:bash py:python b:bash c:bash text:python count:python",
        "a>b a>c a>text py>count b>count c>count",
    ),
    ("v2_providers.py", "v2_providers", "2", "unsupported: Dataset"): (
        "latest_only:latest_only http:http_sensor pod:unsupported query:sql load:unsupported more:trigger_dag echo:bash",
        "latest_only>http http>pod pod>query pod>load query>more load>more more>echo",
    ),
    ("v2_python.py", "v2_python", "2", None): (
        "extract:python load:python",
        "extract>load",
    ),
    ("v2_sensors.py", "v2_sensors", "2", "@daily"): (
        "time:time_sensor time_async:time_sensor delta:time_delta_sensor delta_async:time_delta_sensor moment:date_time_sensor "
        "moment_async:date_time_sensor day:day_of_week_sensor wait_for_upstream:python_sensor bash:bash_sensor file:file_sensor python:python_sensor",
        "time>wait_for_upstream time_async>wait_for_upstream delta>wait_for_upstream delta_async>wait_for_upstream moment>wait_for_upstream "
        "moment_async>wait_for_upstream day>wait_for_upstream wait_for_upstream>bash wait_for_upstream>file wait_for_upstream>python",
    ),
    ("v2_taskflow.py", "v2_taskflow", "2", None): (
        "choose:unsupported etl.extract:unsupported etl.transform:unsupported etl.load:unsupported other:unsupported",
        "choose>etl.extract etl.extract>etl.transform etl.transform>etl.load etl.load>other",
    ),
    ("v2_timetable.py", "v2_timetable", "2", "0 0 * * *"): (
        "a:empty b:empty",
        "a>b",
    ),
    ("v2_steering.py", "v2_steering", "2", "@daily"): (
        "latest:latest_only marker:empty weekday:branch_day_of_week office:branch_date_time own:branch start_other:trigger_dag "
        "wait_other:external_task_sensor",
        "latest>weekday latest>office weekday>start_other weekday>wait_other office>own own>start_other own>wait_other",
    ),
    ("v2_tutorial.py", "v2_tutorial", "2", "timedelta:86400"): (
        "print_date:bash sleep:bash templated:bash",
        "print_date>sleep print_date>templated",
    ),
    ("v3_assets.py", "v3_assets", "3", "unsupported: Asset"): (
        "gate:unsupported make:unsupported shell:unsupported wait:python_sensor",
        "gate>make gate>shell make>wait shell>wait",
    ),
    ("v3_sdk.py", "v3_sdk", "3", None): (
        "hello:bash work.python:python end:empty",
        "hello>work.python work.python>end",
    ),
    ("v3_sensors.py", "v3_sensors", "3", None): (
        "ready:python_sensor t:time_sensor td:time_delta_sensor dt:date_time_sensor wd:day_of_week_sensor own:sensor file:file_sensor "
        "bash:bash_sensor python:python_sensor",
        "ready>t ready>td ready>dt ready>wd t>own td>own dt>own wd>own own>file own>bash own>python",
    ),

}  # fmt: skip


@pytest.mark.parametrize(("file", "dag_id", "generation", "schedule"), EXPECTED)
def test_file_loads_with_its_tasks_and_edges(file: str, dag_id: str, generation: str, schedule: str | None) -> None:
    result = load_apart(CORPUS / file)
    (version,) = [version for version in result.versions if version.dag_id == dag_id]
    tasks = " ".join(f"{task.task_id}:{task.operator}" for task in version.tasks)
    edges = " ".join(f"{task.task_id}>{version.tasks[index].task_id}" for task in version.tasks for index in task.downstream)
    assert (version.generation, version.schedule) == (generation, schedule)
    assert (tasks, edges) == EXPECTED[file, dag_id, generation, schedule]


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.name for path in CORPUS.glob("*.py")} - {"kubernetes_stub.py"} == {file for file, *_ in EXPECTED}


def corpus(name: str) -> Result:
    """Load a file of the corpus."""
    return load_apart(CORPUS / name)


def test_what_is_not_supported_is_listed_with_its_line() -> None:
    said = [str(problem).replace(f"{CORPUS}/", "") for problem in corpus("v110_contrib.py").unsupported]
    assert said == [
        "v110_contrib.py:23: airflow.sensors.s3_key_sensor.S3KeySensor is not supported yet",
        "v110_contrib.py:24: airflow.contrib.operators.kubernetes_pod_operator.KubernetesPodOperator is not supported yet",
    ]


@pytest.mark.parametrize("name", [file for file, *_ in EXPECTED if file.startswith(("v17", "v110_bash", "v110_branch", "v110_http", "v110_subdag", "v110_xcom", "v3_sdk")) or "sensors" in file])
def test_files_of_supported_parts_need_nothing(name: str) -> None:
    result = corpus(name)
    assert (result.problems, result.unsupported, result.warnings) == ([], [], [])


def test_use_in_a_function_is_a_warning() -> None:
    (warning,) = corpus("v110_names.py").warnings
    assert str(warning).endswith("v110_names.py:24: airflow.hooks.S3_hook.S3Hook is not supported yet; a task that uses it fails")


def test_unsupported_tasks_keep_their_arguments_and_templates() -> None:
    (version,) = corpus("v110_contrib.py").versions
    pod = version.by_id["pod"]
    assert pod.unsupported == "airflow.contrib.operators.kubernetes_pod_operator.KubernetesPodOperator is not supported yet"
    assert pod.operator_name == "KubernetesPodOperator"
    assert pod.fields["arguments"] == ["print({{ ds_nodash }})"]
    assert pod.template_fields == ("arguments",)
    assert pod.retries == 2


def test_subclass_of_an_unsupported_operator_is_unsupported() -> None:
    (version,) = corpus("v2_providers.py").versions
    pod = version.by_id["pod"]
    assert pod.unsupported == "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator is not supported yet"
    assert pod.operator_name == "BatchOperator"
    assert pod.execution_timeout == 3600
    assert pod.fields["image"] == "batch:3"


def test_template_files_and_what_they_include_travel() -> None:
    (version,) = corpus("v110_templates.py").versions
    assert set(version.sources) == {"v110_templates.py", ".rqflow-searchpath/0/extract.sh", ".rqflow-searchpath/0/common.sh"}
    (version,) = corpus("v2_misc.py").versions
    assert set(version.sources) == {"v2_misc.py", "sql/genes.sql"}


def test_what_commands_include_travels(tmp_path: Path) -> None:
    write(tmp_path, "echo {% include 'lib/part.txt' %}", "part.sh")
    write(tmp_path, "{{ ds }}", "lib/part.txt")
    text = GOOD.replace('"true"', """'{% include "part.sh" %}', env={"X": ["{% include 'lib/part.txt' %}"]}""")
    result = load_apart(write(tmp_path, text))
    assert result.problems == []
    assert set(result.versions[0].sources) == {"d.py", "part.sh", "lib/part.txt"}


def test_local_modules_travel() -> None:
    blood, tumor = corpus("v2_factory.py").versions
    assert set(blood.sources) == set(tumor.sources) == {"v2_factory.py", "lib/__init__.py", "lib/factory.py"}
