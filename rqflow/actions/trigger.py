"""Starting a run: what was given becomes a RunInfo, a row in SQL, then the live run in Redis. Every part is safe to repeat."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rqflow import clock, logs
from rqflow.actions import select
from rqflow.broker import rows
from rqflow.broker.broker import Broker
from rqflow.dag import params as dag_params
from rqflow.dag import series, timetable
from rqflow.dag.run import AS_IT_IS, BACKFILL, MANUAL, SCHEDULED, PreviousRun, RunInfo, RunOptions
from rqflow.dag.series import Interval
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict, UsageError
from rqflow.recorder import past
from rqflow.states import RunState
from rqflow.store import backfills, dags, deletions, events, runs
from rqflow.store.engine import Connection, Engine, run_in_transaction

logger = logging.getLogger(__name__)

MAX_RUN_ID = 250


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a person gave when starting a run by hand."""

    params: Mapping[str, Any] = field(default_factory=dict)
    conf: Mapping[str, Any] = field(default_factory=dict)
    logical_date: datetime | None = None
    run_id: str | None = None
    note: str = ""
    priority: int = 0
    #: Only the tasks that this TASK argument names, whatever the others are; None: all.
    selector: str | None = None
    #: What it covers, the end excluded; None: what the schedule says of the logical date.
    interval: tuple[datetime, datetime] | None = None


def read_params(pairs: Sequence[str], defaults: Mapping[str, Any], specs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return {name: value} of `name=value` texts; a value is read as JSON where the default, or what `specs` says of it, is no text.

    Raises UsageError.
    """
    specs = specs or {}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {pair}: write it as name=value")
        values[name] = text if _is_text(name, defaults, specs) else _json_or_text(text)
    return values


def read_params_file(name: str, text: str | None = None) -> dict[str, Any]:
    """Return {name: value} of a file in JSON or YAML; `text` is what it holds, where that was read already. Raises UsageError."""
    import yaml  # here: only this needs it

    try:
        found = yaml.safe_load(Path(name).read_text(encoding="utf-8") if text is None else text)
    except OSError as error:
        raise UsageError(f"--params-file {name}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"--params-file {name} is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(f"--params-file {name} must hold an object, like {{\"city\": \"Bern\"}} or city: Bern")
    try:
        # What YAML has beyond JSON, such as dates, no run could keep.
        return dict(json.loads(json.dumps(found)))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--params-file {name}: {error}", hint="Put dates into quotes.") from error


def _is_text(name: str, defaults: Mapping[str, Any], specs: Mapping[str, Any]) -> bool:
    """Tell whether a param is given as a text: its schema says so, or its default is one and the schema does not say otherwise."""
    types = specs.get(name, {}).get("schema", {}).get("type")
    if types is not None:
        return types == "string" or (isinstance(types, list) and set(types) <= {"string", "null"})
    return isinstance(defaults.get(name, ""), str)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_conf(text: str) -> dict[str, Any]:
    """Return the JSON object that `text` is, or that the file named by `@file` holds. Raises UsageError."""
    try:
        source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        conf = json.loads(source)
    except OSError as error:
        raise UsageError(f"--conf {text}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--conf {text}: it is no UTF-8: {error.reason} at byte {error.start}", hint="`iconv -t UTF-8` makes it so.") from error
    except RecursionError as error:
        raise UsageError("--conf is nested too deep") from error
    except ValueError as error:
        raise UsageError(f"--conf is no JSON: {error}", hint="""Write it like --conf '{"sample": "A"}' or --conf @file.json.""") from error
    if not isinstance(conf, dict):
        raise UsageError("--conf must be a JSON object, like {\"sample\": \"A\"}")
    return conf


def by_hand(version: Version, given: Given, now: datetime) -> RunInfo:
    """Return the run that a person starts at `now`; raises UsageError for params or a run id that do not fit, TaskNotFound for tasks."""
    moment = (given.logical_date or now).astimezone(clock.UTC)
    start, end = given.interval or timetable.of(version).manual_interval(moment)
    if end < start:
        raise UsageError(f"the data interval ends ({end.isoformat()}) before it begins ({start.isoformat()})")
    run_id = given.run_id if given.run_id is not None else _run_id(moment)
    _check_run_id(run_id)
    known = {name: value for name, value in given.conf.items() if name in version.params or name in version.param_specs}
    values = dag_params.with_given(version.params, version.param_specs, {**known, **given.params}, by_hand=True)
    return RunInfo(
        dag_id=version.dag_id, run_id=run_id, run_type=MANUAL, version=version.sha, logical_date=moment, data_interval_start=start,
        data_interval_end=end, conf=dict(given.conf), params=values, created_at=now, note=given.note, priority=given.priority,
        options=AS_IT_IS if given.selector is None else _only(version, given.selector))


def _only(version: Version, selector: str) -> RunOptions:
    """Return the options of a run that has these tasks alone."""
    names = [re.escape(version.tasks[index].task_id) for index in select.tasks(version, selector)]
    return RunOptions(task_regex=f"^(?:{'|'.join(names)})$", alone=True)


def scheduled(version: Version, interval: Interval, now: datetime) -> RunInfo:
    """Return the scheduled run of a DAG for an interval."""
    return RunInfo(
        dag_id=version.dag_id, run_id=f"{SCHEDULED}__{interval.logical_date.isoformat()}", run_type=SCHEDULED, version=version.sha,
        logical_date=interval.logical_date, data_interval_start=interval.start, data_interval_end=interval.end,
        params=dag_params.with_given(version.params, version.param_specs, {}), created_at=now)


def once(version: Version, now: datetime) -> RunInfo:
    """Return the one run of a DAG whose schedule is @once: for its start date, else for `now`."""
    moment = series.moment(version.start_date) if version.start_date else now.astimezone(clock.UTC)
    return RunInfo(
        dag_id=version.dag_id, run_id=f"{SCHEDULED}__{moment.isoformat()}", run_type=SCHEDULED, version=version.sha, logical_date=moment,
        data_interval_start=moment, data_interval_end=moment, params=dag_params.with_given(version.params, version.param_specs, {}),
        created_at=now)


def backfilled(version: Version, interval: Interval, now: datetime, *, number: int, options: RunOptions, conf: Mapping[str, Any]) -> RunInfo:
    """Return the run of a DAG for an interval that the backfill of this number makes; raises UsageError for a conf that does not do as params."""
    known = {name: value for name, value in conf.items() if name in version.params}
    return RunInfo(
        dag_id=version.dag_id, run_id=f"{BACKFILL}__{interval.logical_date.isoformat()}", run_type=BACKFILL, version=version.sha,
        logical_date=interval.logical_date, data_interval_start=interval.start, data_interval_end=interval.end, conf=dict(conf),
        params=dag_params.with_given(version.params, version.param_specs, known), created_at=now, options=options, backfill_id=number)


def left_out(run: RunInfo, version: Version) -> str:
    """Return which tasks of a run its logical date leaves out, and why; empty when it leaves out none."""
    gone = [version.tasks[index] for index in sorted(rows.untimely_tasks(version, run.logical_date))]
    if not gone:
        return ""
    start, end = gone[0].start_date, gone[0].end_date
    is_early = start is not None and run.logical_date < series.moment(start)
    which = "no task of it is" if len(gone) == len(version.tasks) else f"{', '.join(task.task_id for task in gone[:5])}{' …' if gone[5:] else ''} not"
    return (f"{run.dag_id}: {which} run: the logical date {run.logical_date.isoformat()} lies "
            f"{f'before start_date {start}' if is_early else f'after end_date {end}'}")


def _check_run_id(run_id: str) -> None:
    if not run_id or run_id != run_id.strip() or len(run_id) > MAX_RUN_ID:
        raise UsageError(f"the run id {run_id[:30]!r} must have 1 to {MAX_RUN_ID} characters and no blank at either end")
    if any(unicodedata.category(character).startswith("C") for character in run_id):
        raise UsageError(f"the run id {run_id!r} has control characters in it")


def start_scheduled(broker: Broker, engine: Engine, run: RunInfo, version: Version) -> bool:
    """Start a run of a schedule or a backfill, of a version that SQL knows, unless there is one of its logical date; False then. Safe to repeat.

    Raises StoreError, BrokerError or redis-py's errors.
    """

    def write(connection: Connection) -> tuple[bool, PreviousRun | None]:
        by = backfills.get(connection, run.backfill_id) if run.backfill_id is not None else None
        return runs.create(connection, run, started_by=by.who if by else None), _last_success(connection, run)

    is_new, previous = run_in_transaction(engine, write)
    if not is_new and not _is_half_started(broker, engine, run):
        return False
    broker.create_run(replace(run, previous=previous), version, before=past.run_before(engine, run, version))
    logger.info("run %s of %s started by its %s", run.run_id, run.dag_id, "schedule" if run.backfill_id is None else "backfill",
                extra=logs.context("run_started", dag_id=run.dag_id, run_id=run.run_id))
    return True


def start(broker: Broker, engine: Engine, run: RunInfo, version: Version, *, by: str) -> bool:
    """Save the version, write the run's row and who started it, then the live run; False when the run had been started before.

    Broken off anywhere, it can be called again. Raises Conflict when a run of this id has ended or was started from another version, and for one
    without a name of its own when there is a run of its logical date.
    """

    def write(connection: Connection) -> tuple[bool, PreviousRun | None]:
        dags.save_version(connection, version, revives=False, submitted_by=by)
        _check_date(connection, run)
        is_new = runs.create(connection, run, started_by=by)
        if is_new:
            events.add(connection, "run_started", who=by, dag_id=run.dag_id, run_key=run.key, conf=dict(run.conf), params=dict(run.params))
        return is_new, _last_success(connection, run)

    is_new, previous = run_in_transaction(engine, write)
    if not is_new and not _is_half_started(broker, engine, run):
        raise Conflict(f"{run.dag_id} has a run {run.run_id} already", hint="Give another --run-id, or another logical date with --at.")
    begun = broker.create_run(replace(run, previous=previous), version, before=past.run_before(engine, run, version))
    logger.info("run %s of %s started", run.run_id, run.dag_id, extra=logs.context("run_started", dag_id=run.dag_id, run_id=run.run_id))
    return begun


def _check_date(connection: Connection, run: RunInfo) -> None:
    """Raise Conflict for a run that nobody gave a name when another one stands for its date: more than one of them must be meant."""
    if run.run_id != _run_id(run.logical_date) or runs.get(connection, run.dag_id, run.run_id):
        return
    if other := runs.at(connection, run.dag_id, run.logical_date):
        raise Conflict(f"{run.dag_id} has a run of the logical date {run.logical_date.isoformat()} already: {other.run_id}",
                       hint=f"`rqflow run retry {other.run_id} --all` runs it again; --run-id ID starts another one of this date.")


def _run_id(moment: datetime) -> str:
    """Return the name of a run that is started by hand and given none."""
    return f"{MANUAL}__{moment.isoformat()}"


def _last_success(connection: Connection, run: RunInfo) -> PreviousRun | None:
    """Return the DAG's last successful run before `run`, for its templates."""
    found = runs.previous(connection, run.dag_id, run.logical_date, states={RunState.SUCCESS})
    info = found.info if found else None
    if found is None or info is None:
        return None
    return PreviousRun(logical_date=info.logical_date, data_interval_start=info.data_interval_start, data_interval_end=info.data_interval_end,
                       started_at=found.started_at, ended_at=found.ended_at)


def _is_half_started(broker: Broker, engine: Engine, run: RunInfo) -> bool:
    """Tell whether an earlier start of this very run was broken off between SQL and Redis."""

    def read(connection: Connection) -> runs.RunRecord | None:
        return None if deletions.of_runs(connection, [run.key]) else runs.by_key(connection, run.key)

    record = run_in_transaction(engine, read)
    return record is not None and record.seq == 0 and record.version == run.version and not broker.run_exists(run.key)
