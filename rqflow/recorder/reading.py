"""Events as the broker's steps write them, read into rows of the history. Pure: nothing is written here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.broker import deeds
from rqflow.dag.run import run_key
from rqflow.recorder import calling
from rqflow.recorder.notices import noting
from rqflow.states import TERMINAL_STATES, CallbackState, RunState, TaskState
from rqflow.store import events as event_log
from rqflow.store.conventions import KEY, LINE, SHA
from rqflow.store.types import ID_LENGTH, clean

Event = Mapping[str, Any]
Row = dict[str, Any]

#: Characters of an XCom. The broker takes far less; more than MariaDB takes in one statement would hold up all events.
MOST_XCOM = 1 << 20
#: Characters of what a callback printed.
MOST_OUTPUT = 1 << 16
#: Facts of a try that have a column, with the largest value that fits there.
_INTEGERS = {"pid": 1 << 31, "exit_code": 1 << 31, "signal": 1 << 31, "max_rss_bytes": 1 << 63, "log_bytes": 1 << 63}
_ENDS = TERMINAL_STATES | {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE}


@dataclass(slots=True)
class Batch:
    """What some events change, as rows of the tables; several of one key may be there, store/ keeps the newest."""

    #: {run_key: (dag_id, run_id)} of every run that was spoken of.
    runs: dict[str, tuple[str, str]] = field(default_factory=dict)
    run_states: list[Row] = field(default_factory=list)
    task_states: list[Row] = field(default_factory=list)
    tries: list[Row] = field(default_factory=list)
    #: The (try, seq) of the newest row of each (run key, task id), the seq of that of each try: what is older has no row.
    newest: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    newest_of_try: dict[tuple[str, str, int], int] = field(default_factory=dict)
    #: Ends that came too late, and those of them that name their task by its index only: {(run_key, index): rows}.
    late: list[Row] = field(default_factory=list)
    late_by_index: dict[tuple[str, int], list[Row]] = field(default_factory=dict)
    xcoms: list[Row] = field(default_factory=list)
    #: Ends of tries that people may want to be told of, or functions to be called for: events, and their rows.
    ends: list[tuple[Event, Row]] = field(default_factory=list)
    #: Tries that could not be reached for long, as notices.
    unreachable: list[Row] = field(default_factory=list)
    #: How calls of authors' functions ended.
    callbacks: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    #: Events that cannot be read, with the reason.
    unreadable: list[tuple[Event, str]] = field(default_factory=list)


def read(events: Sequence[Event]) -> Batch:
    """Return what `events` change. One that cannot be read is kept as such and disturbs no other.

    The last one is read first: of a task instance that began and ended among these events, only the end has a row to be made.
    """
    batch = Batch()
    for event in reversed(events):
        try:
            reader = _READERS.get(event["kind"])
            if reader is None:
                raise ValueError(f"unknown kind {event['kind']!r}")
            reader(batch, event)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            batch.unreadable.append((event, f"{type(error).__name__}: {error}"))
    return batch


def _read_run(batch: Batch, event: Event) -> None:
    state, seq = RunState(event["state"]), _seq(event)
    key, dag_id = _know_run(batch, event)
    row = {
        "run_key": key, "dag_id": dag_id, "run_id": event["run_id"], "state": state.value, "seq": seq,
        "started_at": _time(event, "started_at"), "ended_at": _time(event, "ended_at"),
    }
    batch.log.append(_log_row(event, event_log.RUN, seq))
    batch.run_states.append(row)


def _read_task(batch: Batch, event: Event) -> None:
    state, seq, number = TaskState(event["state"]), _seq(event), _small(event, "try")
    task_id = _id(event, "task")
    key, _ = _know_run(batch, event)
    log = _log_row(event, event_log.TASK, seq)
    place, of_try = (key, task_id), (key, task_id, number)
    is_newest = (number, seq) > batch.newest.get(place, (-1, 0))
    is_newest_of_try = _is_of_try(event, state) and seq > batch.newest_of_try.get(of_try, -1)
    # What may be told is told although something newer came with it: a lost try that gets another one is queued at once.
    may_be_told = state.value in calling.OF_TASK
    if is_newest or is_newest_of_try or may_be_told:
        row = _task_row(event, key, task_id, number, seq)
        if may_be_told:
            batch.ends.append((event, row))
        if is_newest_of_try:
            batch.tries.append(_try_row(event, row))
            batch.newest_of_try[of_try] = seq
        if is_newest:
            batch.task_states.append(row)
            batch.newest[place] = (number, seq)
    batch.log.append(log)


def _task_row(event: Event, key: str, task_id: str, number: int, seq: int) -> Row:
    return {
        "run_key": key, "task_id": task_id, "task_index": _small(event, "index"), "state": event["state"], "try_number": number, "seq": seq,
        "max_tries": _small(event, "max_tries") if event.get("max_tries") else 1, "queue": _text(event, "queue"), "pool": _text(event, "pool"),
        "worker": _text(event, "worker"), "execution_id": _text(event, "execution"), "reason": _reason(event),
        "started_at": _time(event, "started_at"), "ended_at": _time(event, "ended_at"), "updated_at": _at(event, seq),
        "version": _id(event, "version", SHA) if event.get("version") else None,
    }


def _read_late(batch: Batch, event: Event) -> None:
    seq, key = _seq(event), _id(event, "run", KEY)
    told = {name: event[name] for name in ("state", "execution", "worker", "reason", "started_at", "ended_at") if event.get(name)}
    row = {"run_key": key, "try_number": _small(event, "try"), "late": {**told, "facts": _facts(event)}, "late_seq": seq}
    log = _log_row(event, event_log.LATE, seq)
    if event.get("dag") and event.get("run_id"):
        _know_run(batch, event)
    if event.get("task"):
        batch.late.append({**row, "task_id": _id(event, "task")})
    else:
        batch.late_by_index.setdefault((key, _small(event, "index")), []).append(row)
    batch.log.append(log)


def _read_xcom(batch: Batch, event: Event) -> None:
    seq, value = _seq(event), event["value"]
    text = value if value is None or isinstance(value, str) else json.dumps(value)
    if text is not None and len(text) > MOST_XCOM:
        raise ValueError(f"an XCom of {len(text)} characters")
    key, _ = _know_run(batch, event)
    row = {"run_key": key, "task_id": _id(event, "task"), "key": _id(event, "key"), "value": text, "seq": seq, "updated_at": _at(event, seq)}
    batch.xcoms.append(row)


def _read_note(batch: Batch, event: Event) -> None:
    """A note changes no state: `state` says what it is about."""
    log = _log_row(event, event_log.NOTE, _seq(event))
    _know_run(batch, event)
    if event["state"] == noting.NOTICE:
        batch.unreachable.append(noting.of_unreachable(log))
    batch.log.append(log)


def _read_callback(batch: Batch, event: Event) -> None:
    """The end of a call of an author's functions; it changes no task."""
    state, seq = CallbackState(event["state"]), _seq(event)
    row = {
        "callback_id": _id(event, "id", KEY), "state": state.value, "worker": _id(event, "worker"), "reason": _reason(event),
        "output": clean(str(event.get("output") or ""), MOST_OUTPUT), "started_at": _time(event, "started_at"), "ended_at": _at(event, seq),
    }
    log = {**_log_row(event, event_log.CALLBACK, seq), "event": f"{_text(event, 'called', LINE)}: {state.value}"}
    _know_run(batch, event)
    batch.callbacks.append(row)
    batch.log.append(log)


def _read_deed(batch: Batch, event: Event) -> None:
    """What a person did in the live state alone; it is about no run."""
    given = event.get("given")
    batch.log.append({
        "seq": _seq(event), "source": _id(event, "id", KEY), "kind": event_log.AUDIT, "event": _id(event, "state"), "dag_id": "", "run_key": "",
        "task_id": "", "try_number": None, "who": _text(event, "who"), "detail": clean(event_log.as_text(given), MOST_OUTPUT) if given else "",
    })


_READERS = {"note": _read_note, "run": _read_run, "ti": _read_task, "late": _read_late, "xcom": _read_xcom, "callback": _read_callback,
            deeds.KIND: _read_deed}


def _know_run(batch: Batch, event: Event) -> tuple[str, str]:
    """Note the run that an event is about; return its key and the id of its DAG."""
    key, dag_id, run_id = event["run"], event["dag"], event["run_id"]
    if batch.runs.get(key) != (dag_id, run_id):
        key, dag_id, run_id = _id(event, "run", KEY), _id(event, "dag"), _id(event, "run_id")
        if run_key(dag_id, run_id) != key:
            raise ValueError(f"{key} is not the key of run {run_id} of DAG {dag_id}")
        batch.runs[key] = (dag_id, run_id)
    return key, dag_id


def _is_of_try(event: Event, state: TaskState) -> bool:
    """Tell whether the event begins or ends a try. Marks, skips and the like tell of a task instance, but no worker had it."""
    return state in {TaskState.RUNNING, TaskState.LOST} or (state in _ENDS and "facts" in event)


def _try_row(event: Event, row: Row) -> Row:
    facts = _facts(event)
    known: Row = {name: _integer(facts, name, limit) for name, limit in _INTEGERS.items()}
    known["cpu_seconds"] = _number(facts, "cpu_seconds")
    known["host"] = clean(str(facts.pop("host", "")), ID_LENGTH)
    facts.pop("worker", None)
    shared = ("run_key", "task_id", "try_number", "state", "seq", "reason", "execution_id", "queue", "worker", "started_at", "ended_at",
              "version")
    return {**{name: row[name] for name in shared}, **known, "facts": facts or None}


def _log_row(event: Event, kind: str, seq: int) -> Row:
    number = None if event.get("try") is None else _small(event, "try")
    key, task = event["run"], event.get("task")
    return {
        "seq": seq, "source": event_log.source_of(kind, key, task, event.get("index"), number, event["state"], event.get("execution")),
        "kind": kind, "event": _text(event, "state"), "dag_id": _text(event, "dag"), "run_key": _id(event, "run", KEY),
        "task_id": _text(event, "task") if task else "", "try_number": number, "who": _text(event, "worker"), "detail": _reason(event),
    }


def _reason(event: Event) -> str:
    return _text(event, "reason", LINE)


def _small(event: Event, name: str) -> int:
    """Return a number of tries or tasks."""
    number = int(event[name])
    if not 0 <= number < 1 << 31:
        raise ValueError(f"{name} is out of range: {number}")
    return number


def _facts(event: Event) -> dict[str, Any]:
    """Return the facts; Lua writes an empty table as a list."""
    facts = event.get("facts")
    return dict(facts) if isinstance(facts, Mapping) else {}


def _integer(facts: dict[str, Any], name: str, limit: int) -> int | None:
    """Take a fact out when it is a whole number that its column holds; what is not stays among the others."""
    try:
        value = int(facts[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if abs(value) >= limit:
        return None
    del facts[name]
    return value


def _number(facts: dict[str, Any], name: str) -> float | None:
    try:
        value = float(facts[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(value):
        return None
    del facts[name]
    return value


def _id(event: Event, name: str, limit: int = ID_LENGTH) -> str:
    """Return the id as it is: a shortened one would name something else."""
    value = event[name]
    if value.__class__ is str and 0 < len(value) <= limit and value.isascii() and "\0" not in value:
        return value
    if not isinstance(value, str) or not value or len(value) > limit or clean(value) != value:
        raise ValueError(f"{name} is no id: {value!r}")
    return value


def _text(event: Event, name: str, limit: int = ID_LENGTH) -> str:
    value = event.get(name)
    if not value:
        return ""
    if value.__class__ is str and len(value) <= limit and value.isascii() and "\0" not in value:
        return str(value)
    return clean(str(value), limit)


def _seq(event: Event) -> int:
    seq = int(event["seq"])
    if not 0 <= seq < 1 << 63:
        raise ValueError(f"seq is out of range: {seq}")
    return seq


def _time(event: Event, name: str) -> datetime | None:
    value = event.get(name)
    return clock.from_micros(value) if value else None


def _at(event: Event, seq: int) -> datetime:
    return _time(event, "at") or clock.from_micros(seq)
