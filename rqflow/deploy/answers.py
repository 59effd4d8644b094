"""What the hub answers to requests over Redis: the things that a task, or a machine without the database, needs of the history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rqflow import clock
from rqflow.actions import trigger
from rqflow.broker.broker import Broker
from rqflow.broker.requests import ASKED_AT, Handler
from rqflow.dag.run import RunInfo
from rqflow.exceptions import Conflict, DagNotFound, RunNotFound, UsageError
from rqflow.store import dags, runs
from rqflow.store.engine import Connection, Engine, run_in_transaction

START_RUN, RUN_STATE = "start_run", "run_state"


def handlers(broker: Broker, engine: Engine) -> dict[str, Handler]:
    """Return {kind of request: what answers it}, for a thread of its own."""
    return {START_RUN: lambda asked: start_run(broker, engine, asked), RUN_STATE: lambda asked: run_state(engine, asked)}


def start_run(broker: Broker, engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Start a run of the newest version of `dag_id`, with `conf`, `params`, `logical_date` and `run_id` where they are given.

    Returns run_id and run_key. Raises DagNotFound, UsageError, or Conflict when the run exists; asked again after the hub died half way,
    or over its answer, it goes on where it was: the run is made at the moment of the asking, and known by it.
    """

    def newest(connection: Connection) -> Any:
        return dags.latest_version(connection, str(asked.get("dag_id")))

    version = run_in_transaction(engine, newest)
    if version is None:
        raise DagNotFound(f"there is no DAG {asked.get('dag_id')}", hint="`rqflow dag list` shows the DAGs.")
    given = trigger.Given(params=asked.get("params") or {}, conf=asked.get("conf") or {}, logical_date=_moment(asked.get("logical_date")),
                          run_id=asked.get("run_id"), note=str(asked.get("note", "")))
    run = trigger.by_hand(version, given, clock.from_micros(asked[ASKED_AT]))
    try:
        trigger.start(broker, engine, run, version, by=str(asked.get("by", "a request")))
    except Conflict:
        if not _is_the_same(engine, run):
            raise
    return {"run_id": run.run_id, "run_key": run.key}


def run_state(engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state and run_id of the run of `dag_id` with this `run_id`, or for this `logical_date`; raises RunNotFound."""
    dag_id, moment = str(asked.get("dag_id")), _moment(asked.get("logical_date"))

    def look(connection: Connection) -> runs.RunRecord | None:
        return runs.at(connection, dag_id, moment) if moment else runs.get(connection, dag_id, str(asked.get("run_id")))

    found = run_in_transaction(engine, look)
    if found is None:
        raise RunNotFound(f"{dag_id} has no run {asked.get('run_id') or asked.get('logical_date')}")
    return {"run_id": found.run_id, "state": found.state.value}


def _is_the_same(engine: Engine, run: RunInfo) -> bool:
    """Tell whether the run of this id is the one that this request has started before."""

    def look(connection: Connection) -> runs.RunRecord | None:
        return runs.by_key(connection, run.key)

    known = run_in_transaction(engine, look)
    return known is not None and known.created_at == run.created_at


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
