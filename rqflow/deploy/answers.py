"""What the hub answers to requests over Redis: the things that a task, or a machine without the database, needs of the history."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rqflow import clock
from rqflow.actions import query, rewrite, trigger, variables
from rqflow.broker.broker import Broker
from rqflow.broker.requests import ASKED_AT, Handler
from rqflow.dag import graph
from rqflow.dag.asking import EXTERNAL_STATE, RUN_STATE, SECRETS, START_RUN, STORE_VARIABLE
from rqflow.dag.version import Version
from rqflow.deploy import confiding
from rqflow.exceptions import Conflict, DagNotFound, NotFound, RunNotFound, UsageError
from rqflow.security.keyring import Keyring
from rqflow.states import TERMINAL_RUN_STATES
from rqflow.store import dags, events, runs, tasks
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.events import EventFilter

#: What the history calls it when a task has a run of another DAG cleared.
_RESET = "run_reset"



def handlers(broker: Broker, engine: Engine, keyring: Keyring | None = None) -> dict[str, Handler]:
    """Return {kind of request: what answers it}, for a thread of its own; `keyring` opens and seals Variables."""
    keys = keyring or Keyring(())
    return {
        START_RUN: lambda asked: start_run(broker, engine, asked), RUN_STATE: lambda asked: run_state(broker, engine, asked),
        EXTERNAL_STATE: lambda asked: external_state(engine, asked),
        STORE_VARIABLE: lambda asked: store_variable(broker, engine, keys, asked),
        SECRETS: lambda asked: confiding.secrets(broker, engine, keys, asked),
    }  # fmt: skip


def store_variable(broker: Broker, engine: Engine, keyring: Keyring, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Store the Variable `key` with `value`, which comes sealed with the key `secret_key`, that of the hub's own pair too; without a value delete
    it, if it is there.

    Raises WrongKey, UsageError. Asked twice it does the same twice.
    """
    key, by = str(asked["key"]), str(asked.get("by", "a task"))
    if "value" in asked:
        value = confiding.opened_for_hub(keyring).open(str(asked["secret_key"]), str(asked["value"]), f"the Variable {key}")
        description = asked.get("description")
        variables.put(broker, engine, keyring, {key: variables.Given(value=value, description=description)}, by=by)
    else:
        with suppress(NotFound):
            variables.remove(broker, engine, [key], by=by)
    return {}


def start_run(broker: Broker, engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Start a run of the newest version of `dag_id`, with `conf`, `params`, `logical_date` and `run_id` where they are given.

    Returns run_id, run_key and logical_date. Raises DagNotFound, UsageError, or Conflict when the run exists: unless `if_exists` is "tell",
    for {existed: True}, or "reset", which clears all of a run that has ended and adds {was_reset: True}. `refuses_paused` refuses a paused DAG.

    Asked again after the hub died half way, or over its answer, it goes on where it was: the run is made at the moment of the asking, and known
    by it; of who asks until somebody answers, that is `since` (µs).
    """

    def look(connection: Connection) -> tuple[Version | None, dags.DagRecord | None]:
        dag_id = str(asked.get("dag_id"))
        return dags.latest_version(connection, dag_id), dags.get(connection, dag_id)

    version, dag = run_in_transaction(engine, look)
    if version is None:
        raise DagNotFound(f"there is no DAG {asked.get('dag_id')}", hint="`rqflow dag list` shows the DAGs.")
    if dag and dag.is_paused and asked.get("refuses_paused"):
        raise Conflict(f"DAG {version.dag_id} is paused", hint=f"`rqflow dag unpause {version.dag_id}`")
    given = trigger.Given(params=asked.get("params") or {}, conf=asked.get("conf") or {}, logical_date=_moment(asked.get("logical_date")),
                          run_id=asked.get("run_id"), note=str(asked.get("note", "")))
    run, by = trigger.by_hand(version, given, clock.from_micros(asked.get("since") or asked[ASKED_AT])), str(asked.get("by", "a request"))
    answer = {"run_id": run.run_id, "run_key": run.key, "logical_date": run.logical_date.isoformat()}
    try:
        trigger.start(broker, engine, run, version, by=by)
    except Conflict:
        found = run_in_transaction(
            engine, lambda connection: runs.by_key(connection, run.key) or runs.at(connection, run.dag_id, run.logical_date))
        if found is None or asked.get("if_exists") not in {"reset", "tell"}:
            if found is None or found.created_at != run.created_at:
                raise
        elif found.created_at != run.created_at:
            answer |= {"run_id": found.run_id, "run_key": found.run_key}
            if asked["if_exists"] == "tell":
                return answer | {"existed": True}
            _reset(broker, engine, found, by, request=str(asked.get("since") or asked[ASKED_AT]))
            return answer | {"was_reset": True}
    return answer


def _reset(broker: Broker, engine: Engine, run: runs.RunRecord, by: str, *, request: str) -> None:
    """Clear all of a run that has ended, once for a request; raises Conflict for one that goes on."""

    def told(connection: Connection) -> bool:
        found = events.search(connection, EventFilter(run_key=run.run_key, kinds={events.AUDIT}), limit=50)
        return any(one.event == _RESET and request in one.detail for one in found)

    if run_in_transaction(engine, told):
        return
    shown = query.show(broker, engine, run.run_key)
    if shown.state not in TERMINAL_RUN_STATES:
        raise Conflict(f"run {run.run_id} of {run.dag_id} is {shown.state.value}; it can be cleared when it has ended",
                       hint=f"`rqflow run cancel {run.run_id}` ends it.")
    rewrite.clear(broker, engine, run, [task.index for task in query.version_of(broker, engine, run).tasks], by=by)
    run_in_transaction(engine, lambda connection: events.add(
        connection, _RESET, who=by, dag_id=run.dag_id, run_key=run.run_key, request=request))


def run_state(broker: Broker, engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state and run_id of the run of `dag_id` with this `run_id`, or for this `logical_date`; raises RunNotFound."""
    dag_id, moment = str(asked.get("dag_id")), _moment(asked.get("logical_date"))

    def look(connection: Connection) -> runs.RunRecord | None:
        return runs.at(connection, dag_id, moment) if moment else runs.get(connection, dag_id, str(asked.get("run_id")))

    found = run_in_transaction(engine, look)
    if found is None:
        raise RunNotFound(f"{dag_id} has no run {asked.get('run_id') or asked.get('logical_date')}")
    # The history is behind: of a run that was cleared just now it still tells the end.
    live = broker.run_status(found.run_key)
    return {"run_id": found.run_id, "state": (live.state if live else found.state).value}


def external_state(engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the runs of `dag_id` for `logical_dates` stand: has_dag, missing (names that the DAG has not), and runs: for each date
    {logical_date, states}, the states (None: not yet) of `task_ids`, of the tasks of `group_id`, or else of the run itself.

    There are no states where there is no run.
    """
    dag_id, group = str(asked.get("dag_id")), asked.get("group_id")
    dates = [moment for moment in map(_moment, asked.get("logical_dates") or ()) if moment]

    def look(connection: Connection) -> dict[str, Any]:
        nonlocal dag_id, group
        version, prefix = _named(connection, dag_id)
        if version is None:
            return {"has_dag": False, "missing": [], "runs": [{"logical_date": date.isoformat(), "states": []} for date in dates]}
        dag_id, group = version.dag_id, f"{prefix}.{group}" if prefix and group else group
        ids = [f"{prefix}.{one}" if prefix else str(one) for one in asked.get("task_ids") or ()]
        if prefix and not ids and not group:
            group = prefix
        missing = [f"task {one}" for one in ids if one not in version.by_id]
        if group and group not in version.groups:
            missing.append(f"group {group}")
        return {"has_dag": True, "missing": missing, "runs": [_external(connection, dag_id, date, ids, group) for date in dates]}

    return run_in_transaction(engine, look)


def _named(connection: Connection, dag_id: str) -> tuple[Version | None, str]:
    """Return the newest version of a DAG; of what was a SubDag that of the DAG around it, and the group that it is there."""
    version, outer = dags.latest_version(connection, dag_id), dag_id
    while version is None and "." in outer:
        outer = outer.rpartition(".")[0]
        found = dags.latest_version(connection, outer)
        group = next((name for name, about in found.groups.items() if about.get("subdag") == dag_id), "") if found else ""
        if group:
            return found, group
    return version, ""


def _external(connection: Connection, dag_id: str, date: datetime, ids: list[str], group: str | None) -> dict[str, Any]:
    run = runs.at(connection, dag_id, date)
    states: list[str | None] = []
    if run is not None and (ids or group):
        version = dags.version(connection, run.version) if run.version and group else None
        wanted = [task.task_id for task in version.tasks if graph.in_group(version, task, str(group))] if version else ids
        known = {one.task_id: one.state.value for one in tasks.of_run(connection, run.run_key)}
        states = [known.get(one) for one in wanted]
    elif run is not None:
        states = [run.state.value]
    return {"logical_date": date.isoformat(), "states": states}


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
