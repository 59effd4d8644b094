from __future__ import annotations

import pytest

from rqflow import DAG, EmptyOperator
from rqflow.dag.xcomarg import XComArg, xcom_args


@pytest.fixture
def output() -> XComArg:
    return EmptyOperator(task_id="first", dag=DAG("d")).output


def test_outputs_are_found_in_lists_and_mappings(output: XComArg) -> None:
    first, second = xcom_args({"a": [output, 1], "b": ("x", {"c": output["k"]})})
    assert (first, second.key) == (output, "k")
    assert list(xcom_args("text")) == []


def test_output_cannot_be_iterated_while_the_file_loads(output: XComArg) -> None:
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(output)


def test_outputs_are_linked_like_their_task(output: XComArg) -> None:
    last = EmptyOperator(task_id="last")
    before = EmptyOperator(task_id="before")
    before >> output >> last
    assert (output.operator.upstream_ids, output.operator.downstream_ids) == ({"before": None}, {"last": None})
