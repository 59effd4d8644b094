"""The audit of a soak: what the tasks wrote down by themselves, against what SQL and the log archive say."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import soak_plan, soak_task
from benchmarks.soak_plan import PlannedDag, PlannedTask
from rqflow.dag.run import RunInfo
from rqflow.recorder.logpath import log_path
from rqflow.states import TERMINAL_STATES, TaskState
from rqflow.store import runs
from rqflow.store import tasks as store_tasks
from rqflow.store.engine import Engine, reading
from rqflow.store.tasks import TaskRecord, TryRecord

#: DAG, run, task, try.
Name = tuple[str, str, str, int]
_OURS = b"rqflow: "
_WHOLE = 0o440


@dataclass(slots=True)
class Evidence:
    """What the tasks wrote: begins, ends, and meetings of two that should be one."""

    begins: dict[Name, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[Name, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    doubled: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Audit:
    """What was found: what is wrong, and what was counted."""

    wrong: list[str] = field(default_factory=list)
    #: States of tries, reasons of lost ones, logs that were cut short, and the like.
    counts: Counter[str] = field(default_factory=Counter)


def read(folder: Path) -> Evidence:
    """Return the evidence that is in a folder."""
    found = Evidence()
    for entry in map(json.loads, _lines(folder / "journal")):
        place = found.begins if entry["what"] == "begin" else found.ends
        place[entry["dag"], entry["run"], entry["task"], entry["try"]].append(entry)
    found.doubled = list(_lines(folder / "doubled"))
    return found


def _lines(path: Path) -> Iterable[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else ()


class Auditor:
    """Compares, run by run."""

    def __init__(self, engine: Engine | None, archive: Path, evidence: Evidence, killed: Mapping[str, int]) -> None:
        """Compare with the database, which only runs need, and the archive; `killed` says how often each kind of fault happened."""
        self._engine, self._archive, self._evidence, self._killed = engine, archive, evidence, killed
        self.audit = Audit()
        self._seen: set[Name] = set()

    def run(self, started: Sequence[tuple[RunInfo, PlannedDag]]) -> Audit:
        """Compare all runs that were started; return what was found."""
        for run, dag in started:
            self._run(run, dag)
        evidence = self._evidence
        self._wrong(f"two at once: {line}" for line in evidence.doubled)
        self._wrong(f"{_say(name)} began, and SQL has no such try" for name in evidence.begins if name not in self._seen)
        self._wrong(f"{_say(name)} began {len(found)} times, in the processes {[one['pid'] for one in found]}"
                    for name, found in evidence.begins.items() if len(found) > 1)
        self.audit.counts["runs"] = len(started)
        self.audit.counts["tries that began"] = len(evidence.begins)
        return self.audit

    def _wrong(self, lines: Iterable[str]) -> None:
        self.audit.wrong += lines

    def _run(self, run: RunInfo, dag: PlannedDag) -> None:
        assert self._engine, "there are runs, and no database to compare them with"
        with reading(self._engine) as connection:
            record = runs.by_key(connection, run.key)
            tasks = {one.task_id: one for one in store_tasks.of_run(connection, run.key)}
            tries = store_tasks.tries(connection, run.key)
        what = f"{run.dag_id} {run.run_id}"
        if record is None:
            self.audit.wrong.append(f"{what} is not in SQL")
            return
        if record.state.value != soak_plan.expected_run(dag):
            self.audit.wrong.append(f"{what} is {record.state.value} in SQL, and should be {soak_plan.expected_run(dag)}")
        by_task = {task_id: list(found) for task_id, found in itertools.groupby(tries, lambda one: one.task_id)}
        for task_id in set(by_task) - {one.task_id for one in dag.tasks}:
            self.audit.wrong.append(f"{what}: SQL has a task {task_id}, which the DAG has not")
        states = soak_plan.expected(dag)
        for planned in dag.tasks:
            found = by_task.get(planned.task_id, [])
            self._wrong(f"{what} {planned.task_id} {text}" for text in _task(tasks.get(planned.task_id), found, states[planned.task_id]))
            for one in found:
                name = (run.dag_id, run.run_id, one.task_id, one.try_number)
                self._seen.add(name)
                self._wrong(f"{_say(name)} {text}" for text in self._try(name, planned, one))
                self._wrong(f"{_say(name)}: its log {text}" for text in self._log(run, name, planned, one))

    def _try(self, name: Name, planned: PlannedTask, record: TryRecord) -> Iterator[str]:
        """Yield what is wrong with one try."""
        begins, ends = self._evidence.begins.get(name, []), self._evidence.ends.get(name, [])
        self.audit.counts[f"tries {record.state.value}"] += 1
        if record.late:
            self.audit.counts["late ends, kept as history of their try"] += 1
        if record.state is TaskState.LOST:
            self.audit.counts[f"lost: {record.reason}"] += 1
            self.audit.counts["lost tries that had ended before, as they wrote themselves"] += len(ends)
            if planned.queue not in soak_plan.GRACES and not any(self._killed.get(kind) for kind in soak_plan.ENDS_TASKS):
                yield f"is lost, and no shepherd was killed: {record.reason}"
            return
        if record.ended_at is None or record.state.value == "running":
            yield f"is {record.state.value} in SQL, with no end"
            return
        should = soak_task.exit_code(planned.kind, record.try_number)
        if record.exit_code != should:
            yield f"ended with {record.exit_code} (signal {record.signal}) by SQL, and should with {should}: {record.state.value}, {record.reason}"
        if not begins or not ends:
            yield f"is {record.state.value} in SQL, and wrote no {'begin' if not begins else 'end'}"
        elif record.pid not in {None, begins[0]["pid"]}:
            yield f"ran as process {begins[0]['pid']}, and SQL says {record.pid}"

    def _log(self, run: RunInfo, name: Name, planned: PlannedTask, record: TryRecord) -> Iterator[str]:
        """Yield what is wrong with the log of one try."""
        path = self._archive / log_path(run.dag_id, record.task_id, run.logical_date, record.try_number, run_key=run.key)
        data = path.read_bytes() if path.exists() else b""
        body, ours = _parts(data)
        should = soak_task.content(*name, planned.lines)
        if record.state is not TaskState.LOST and body == should and ours and path.stat().st_mode & 0o777 == _WHOLE:
            if record.log_bytes != len(data):
                yield f"has {len(data)} bytes, and SQL says {record.log_bytes}"
            return
        is_prefix = should.startswith((body, body.removesuffix(b"\n")))
        # A task of a stock worker dies with its horse, and so does what was not sent of its log.
        may_be_cut = record.state is TaskState.LOST or (planned.queue == soak_plan.STOCK and self._killed.get(soak_plan.STOCK_WORKER, 0))
        if not is_prefix:
            yield f"has other bytes than were written: {path}"
        elif not may_be_cut:
            yield f"has {len(body)} of {len(should)} bytes, {'with' if ours else 'without'} its last line: {path}"
        elif body != should:
            self.audit.counts[f"logs of {record.state.value} tries cut short"] += 1


def _task(record: TaskRecord | None, tries: Sequence[TryRecord], states: set[str]) -> Iterator[str]:
    """Yield what is wrong with a task instance and the numbers of its tries."""
    if record is None:
        yield "is not in SQL"
        return
    if record.state not in TERMINAL_STATES or record.state.value not in states:
        yield f"is {record.state.value} in SQL, and should be {' or '.join(sorted(states))}: {record.reason}"
    numbers = [one.try_number for one in tries]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"has the tries {numbers} in SQL"
    if record.state.value in {"success", "failed", "lost"} and record.try_number != len(numbers):
        yield f"is at try {record.try_number} in SQL, which has {len(numbers)} tries of it"
    again = {TaskState.LOST, TaskState.UP_FOR_RETRY}
    for one in tries[:-1]:
        if one.state not in again:
            yield f"was tried again after try {one.try_number}, which is {one.state.value}"


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Return what the task wrote of a log, and the lines that rqflow added."""
    if data.startswith(_OURS):
        return b"", data
    body, found, ours = data.partition(b"\n" + _OURS)
    return (body + b"\n", _OURS + ours) if found else (data, b"")


def _say(name: Name) -> str:
    dag_id, run_id, task_id, try_number = name
    return f"{dag_id} {run_id} {task_id} try {try_number}"
