from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rqflow import DAG, EmptyOperator
from rqflow.dag.xcomarg import XComArg, resolved, xcom_args


@pytest.fixture
def output() -> XComArg:
    return EmptyOperator(task_id="first", dag=DAG("d")).output


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": SimpleNamespace(xcom_pull=lambda task_ids, key: f"{task_ids}:{key}")}


def test_outputs_are_found_in_lists_and_mappings(output: XComArg) -> None:
    first, second = xcom_args({"a": [output, 1], "b": ("x", {"c": output["k"]})})
    assert (first, second.key) == (output, "k")
    assert list(xcom_args("text")) == []


def test_outputs_become_their_values_in_a_run(output: XComArg, context: dict[str, Any]) -> None:
    assert resolved({"a": [output, 1], "b": (output["k"],), "c": "x"}, context) == {"a": ["first:return_value", 1], "b": ("first:k",), "c": "x"}


def test_values_without_outputs_stay_the_same_object(context: dict[str, Any]) -> None:
    value = {"a": [1]}
    assert resolved(value, context) is value
    assert resolved(value["a"], context) is value["a"]


def test_output_cannot_be_iterated_while_the_file_loads(output: XComArg) -> None:
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(output)


def test_outputs_are_linked_like_their_task(output: XComArg) -> None:
    last = EmptyOperator(task_id="last")
    before = EmptyOperator(task_id="before")
    before >> output >> last
    assert (output.operator.upstream_ids, output.operator.downstream_ids) == ({"before": None}, {"last": None})
