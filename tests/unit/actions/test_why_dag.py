"""Why no run of a DAG starts: one reason for each case, and what lifts it (reliability R46)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rqflow.actions.why_dag import View, explain
from rqflow.store.dags import DagRecord
from rqflow.store.schedules import Followed
from tests.unit.builders import a_version

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECORD = DagRecord(dag_id="d", version="v", file="d.py", description="", owner="", tags=(), schedule="@hourly", timezone="UTC", is_active=True,
                   is_paused=False, pause_reason=None, next_run_at=None, created_at=NOON, updated_at=NOON)


def a_view(due: datetime | None = NOON - HOUR, *, record: dict[str, Any] | None = None, version: dict[str, Any] | None = None, **more: Any) -> View:
    made = a_version(**{"schedule": "@hourly", "start_date": "2026-01-01T00:00:00+00:00", **(version or {})})
    followed = Followed(series="s", start=NOON, upto=None, next_run_at=due)
    return View(**{"record": replace(RECORD, **(record or {})), "version": made, "followed": followed, "now": NOON, **more})


CASES = {
    "file removed": (a_view(record={"is_active": False}), "its file d.py is removed", "rqflow submit"),
    "paused": (a_view(record={"is_paused": True, "pause_reason": "ann paused it"}), "it is paused: ann paused it", "rqflow dag unpause d"),
    "no schedule": (a_view(version={"schedule": None}), "its schedule is none", "rqflow run start d"),
    "unknown schedule": (a_view(version={"schedule": "unsupported: Dataset"}), "its schedule is a Dataset, which rqflow does not know", "run start"),
    "once": (a_view(None, version={"schedule": "@once"}), "its one run (@once) was made", "rqflow run start d"),
    "end_date": (a_view(None, version={"end_date": "2026-02-01T00:00:00+00:00"}), "its end_date 2026-02-01T00:00:00+00:00 is over", "rqflow run start d"),
    "start_date": (a_view(NOON + 48 * HOUR, version={"start_date": "2026-12-01T11:00:00+00:00"}), "its start_date 2026-12-01T11:00:00+00:00 lies in the",
                   "2026-12-01 12:00"),
    "not yet due": (a_view(NOON + HOUR), "its next run is not yet due: 2026-11-29 13:00:00 UTC", "the time: 2026-11-29 13:00:00 UTC"),
    "active runs": (a_view(version={"max_active_runs": 1}, active=["r1"]), "as many as may be active are: r1", "the end of one of those"),
    "no scheduler": (a_view(has_leader=False), "no scheduler runs that would start it", "rqflow scheduler"),
    "due": (a_view(), "a run is due since 2026-11-29 11:00:00 UTC", "a moment"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_wait_has_one_reason_and_what_lifts_it(case: str) -> None:
    view, reason, lifted_by = CASES[case]
    found = explain(view)
    assert reason in found.reason
    assert lifted_by in found.lifted_by
