"""What is known while a tunnel is down: how it is kept, found again, and told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rqflow.actions import model
from rqflow.actions.model import Call, Run, TaskInstance, Try
from rqflow.deploy import lastknown
from rqflow.deploy.lastknown import Known
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import RunNotFound, UsageError
from rqflow.settings import Settings, load
from rqflow.states import CallbackState, RunState, TaskState
from rqflow.store.runs import RunFilter

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
RUN = Run(dag_id="d", run_id="manual__2026", run_key="k1", state=RunState.FAILED, run_type="manual", logical_date=NOON, created_at=NOON,
          conf={"a": [1]}, params={}, callbacks=(Call(kind="run_failure", state=CallbackState.SUCCESS),), tasks=(
              TaskInstance(task_id="t", state=TaskState.FAILED, try_number=1, started_at=NOON, tries=(
                  Try(try_number=1, state=TaskState.FAILED, exit_code=3, started_at=NOON, late={"exit_code": 0}),)),))
OTHER = replace(RUN, dag_id="e", run_id="manual__2027", run_key="k2", state=RunState.RUNNING, run_type="scheduled")


def settings(home: Path, **urls: str) -> Settings:
    return load(home=home, environ={f"RQFLOW__{name}": value for name, value in urls.items()})


def test_a_run_is_what_it_was_when_it_comes_back_from_its_json() -> None:
    assert model.restored(Run, json.loads(json.dumps(model.plain(RUN)))) == RUN
    assert model.restored(Run, {**model.plain(RUN), "of a newer release": 1}) == RUN


def test_runs_are_found_by_what_names_them() -> None:
    known = Known(runs=[OTHER, RUN])
    assert known.find("manual__2026") == known.find("k1") == known.find("d@latest") == known.find("d@last-failed") == RUN
    assert known.find("d@2026-11-29T12:00") == RUN
    with pytest.raises(UsageError, match="names 2 runs"):
        known.find("manual")
    for nothing in ("x", "e@last-failed", "d@2026-11-30"):
        with pytest.raises(RunNotFound):
            known.find(nothing)


@pytest.mark.parametrize(("wanted", "found"), [
    (RunFilter(), [OTHER, RUN]), (RunFilter(dag_id="d"), [RUN]), (RunFilter(states={RunState.RUNNING}), [OTHER]), (RunFilter(run_type="manual"), [RUN]),
    (RunFilter(since=NOON), [OTHER, RUN]), (RunFilter(until=NOON), []),
])
def test_a_list_is_what_was_asked_for(wanted: RunFilter, found: list[Run]) -> None:
    assert Known(runs=[OTHER, RUN]).matching(wanted, limit=None) == found
    assert Known(runs=[OTHER, RUN]).matching(wanted, limit=1) == found[:1]


@pytest.mark.parametrize(("urls", "name"), [
    ({}, ""), ({"REDIS__URL": "redis://127.0.0.1:6379"}, ""), ({"REDIS__URL": "unix:///home/u/.rqflow/tunnels/out/redis.sock?db=1"}, "out"),
    ({"DATABASE__URL": "mysql://u:p@localhost/rqflow?unix_socket=%2Fhome%2Fu%2F.rqflow%2Ftunnels%2Fout%2Fdatabase.sock"}, "out"),
    ({"REDIS__URL": "tunnel://hub", "TUNNELS__HUB": "-L hub redis"}, "hub"),
])
def test_a_tunnel_is_known_by_the_place_of_its_socket(tmp_path: Path, urls: dict[str, str], name: str) -> None:
    assert linkage.through(settings(tmp_path, **urls)) == name


def test_it_is_told_since_when_the_link_is_down(tmp_path: Path) -> None:
    assert linkage.said(settings(tmp_path)) == linkage.hint(settings(tmp_path)) == ""
    found = settings(tmp_path, REDIS__URL=f"unix://{tmp_path}/.rqflow/tunnels/out/redis.sock")
    assert linkage.said(found) == "hub link down (tunnel out)"
    file = linkage.copy_file(found)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([model.plain(RUN)]))
    os.utime(file, (NOON.timestamp(), NOON.timestamp()))
    assert linkage.said(found) == "hub link down since 2026-11-29 12:00:00 UTC (tunnel out)"
    assert "The other side keeps that tunnel up" in linkage.hint(found)
    known = lastknown.recall(found)
    assert known is not None
    assert known.runs == [RUN]
    file.write_text("[{")
    assert lastknown.recall(found) is None
