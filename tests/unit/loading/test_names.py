"""The table of airflow's names: each leads to something, and the frequent ones of real files are there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from rqflow.dag.airflow.names import NAMES
from rqflow.dag.generation import generation_of
from tests.unit.loading import reference

#: The imports of real files that are supported parts, most frequent first (airflow-compat.md).
FREQUENT = [
    "airflow: DAG", "airflow.operators.python: PythonOperator", "airflow.models: DAG", "airflow.operators.bash: BashOperator",
    "airflow.operators.python_operator: PythonOperator", "airflow.models: Variable", "airflow.operators.bash_operator: BashOperator",
    "airflow.operators.dummy_operator: DummyOperator", "airflow.decorators: dag", "airflow.utils.dates: days_ago",
    "airflow.operators.empty: EmptyOperator", "airflow.models.dag: DAG", "airflow.providers.standard.operators.empty: EmptyOperator",
    "airflow.utils.trigger_rule: TriggerRule", "airflow.providers.standard.operators.bash: BashOperator",
    "airflow.operators.dummy: DummyOperator", "airflow.sdk: DAG", "airflow.sdk: dag", "airflow.sdk: task", "airflow.decorators: task",
    "airflow.operators.python: BranchPythonOperator", "airflow.configuration: conf", "airflow.utils.task_group: TaskGroup",
    "airflow.operators.python_operator: BranchPythonOperator", "airflow.providers.standard.operators.python: PythonOperator",
    "airflow.sdk: TriggerRule", "airflow.operators: DummyOperator", "airflow.operators: BashOperator", "airflow.sdk: Variable",
    "airflow.exceptions: AirflowSkipException", "airflow.operators: PythonOperator", "airflow.models.baseoperator: chain",
    "airflow.models.baseoperator: BaseOperator", "airflow.plugins_manager: AirflowPlugin", "airflow.models.param: Param",
    "airflow.utils.helpers: chain", "airflow.sdk: Param", "airflow.sdk: Label", "airflow.sdk: chain", "airflow.utils.edgemodifier: Label",
    "airflow.exceptions: AirflowException", "airflow.utils.decorators: apply_defaults", "airflow.hooks.base: BaseHook",
    "airflow.operators.python: get_current_context", "airflow.providers.common.compat.sdk: DAG",
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_every_name_leads_to_something(module: str, name: str) -> None:
    target, _, attribute = NAMES[module][name].partition(":")
    assert hasattr(importlib.import_module(target), attribute)


@pytest.mark.parametrize("line", FREQUENT)
def test_frequent_imports_are_supported(line: str) -> None:
    module, _, name = line.partition(": ")
    assert name in NAMES[module]


def test_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "airflow-names.md"
    assert page.read_text(encoding="utf-8") == reference.page(), "python -m tests.unit.loading.reference > docs/reference/airflow-names.md"


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        ("import os", None),
        ("import rqflow", "native"),
        ("from rqflow import DAG", "native"),
        ("from airflow import DAG", "2"),
        ("from airflow.operators import BashOperator", "1"),
        ("import airflow\nairflow.operators.BashOperator", "1"),
        ("from airflow.operators.bash_operator import BashOperator", "1"),
        ("from airflow.operators import bash_operator", "1"),
        ("from airflow.contrib.x import y", "1"),
        ("from airflow.sensors.external_task_sensor import X", "1"),
        ("from airflow.hooks.S3_hook import S3Hook", "1"),
        ("from airflow.utils.helpers import chain", "1"),
        ("from airflow.operators.bash import BashOperator", "2"),
        ("from airflow.operators import bash", "2"),
        ("from airflow.contrib.x import y\nfrom airflow.operators.bash import BashOperator", "2"),
        ("from airflow.operators.bash_operator import B\nfrom airflow.utils.task_group import TaskGroup", "2"),
        ("from airflow.operators.bash_operator import B\nfrom airflow.providers.x import y", "2"),
        ("from airflow.operators.bash import BashOperator\nfrom airflow.sdk import Asset", "3"),
        ("from airflow.providers.standard.operators.bash import BashOperator", "3"),
        ("try:\n    from airflow.sdk import DAG\nexcept ImportError:\n    from airflow import DAG", "3"),
        ("def f():\n    from airflow.decorators import task\nfrom airflow.operators.bash_operator import B", "2"),
    ],
)
def test_imports_tell_the_generation(text: str, generation: str | None) -> None:
    assert generation_of(text) == generation
