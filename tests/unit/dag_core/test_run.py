"""Runs as plain data."""

from __future__ import annotations

import dataclasses

from rqflow.dag.run import RunInfo
from tests.unit.builders import a_run


def test_run_info_survives_its_json() -> None:
    run = dataclasses.replace(a_run(), conf={"a": [1, "ü"]})
    assert RunInfo.from_json(run.to_json()) == run
