"""What a message tells: each of its notices with what the history and the archive of logs know of it, as plain data.

The same fields are the JSON of webhooks (docs/how-to/notices.md): they only grow.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from rqflow import clock
from rqflow.dag.run import SCHEDULED
from rqflow.operators.base import Ended, say_end
from rqflow.recorder.archive import LogReader
from rqflow.recorder.logpath import log_path
from rqflow.recorder.notices.secrecy import masker
from rqflow.security.masking import Masker
from rqflow.settings import Settings
from rqflow.store import notices, runs, sla, tasks
from rqflow.store.engine import Connection
from rqflow.store.notices import Message, Notice
from rqflow.store.runs import RunRecord
from rqflow.store.tasks import TryRecord

#: Notices that a message names, and of how many of those it has log lines.
MOST_NAMED, WITH_LOGS = 200, 3
#: Bytes at the end of a log in which its last lines are looked for; characters of a line that are kept.
TAIL, LINE = 64 << 10, 2000
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One notice with all that is known of it; times are ISO 8601 in UTC."""

    kind: str
    dag_id: str
    run_id: str
    run_type: str | None
    logical_date: str | None
    at: str
    task_id: str
    #: 0: it is about no try.
    try_number: int
    max_tries: int | None
    state: str
    reason: str
    worker: str
    host: str
    exit_code: int | None
    signal: int | None
    #: How the process ended, in words.
    ended: str
    started_at: str | None
    ended_at: str | None
    #: Of an sla: when the task should have ended.
    due_at: str | None
    log_tail: tuple[str, ...]
    #: Whether the log goes on, or had more before: what a reader sees is its end as far as it was here.
    log_note: str
    #: The page of it; empty when there is none.
    link: str
    #: The commands that show its log, and the run.
    log_command: str
    run_command: str
    #: The command with which a person goes on; empty when there is none.
    next_command: str

    @property
    def about(self) -> str:
        """What it is about: task of DAG, or the DAG."""
        return f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """All that a message tells."""

    message: Message
    told: tuple[Told, ...]
    #: {kind: how many}, of all notices, also of those that are not in `told`.
    tally: Mapping[str, int]

    @property
    def unnamed(self) -> int:
        """How many notices are only counted."""
        return self.message.notices - len(self.told)

    def plain(self) -> dict[str, object]:
        """Return it as JSON values, without what only rqflow needs."""
        about = {"message_id": self.message.message_id, "kind": self.message.kind, "dag_id": self.message.dag_id, "count": self.message.notices,
                 "is_digest": self.message.is_digest}
        return {**about, "notices": [asdict(one) for one in self.told]}


def gather(connection: Connection, message: Message, settings: Settings) -> Content:
    """Return what `message` tells, without secrets."""
    given, archive, mask = settings.notices, LogReader(Path(settings.logs.folder)), masker(connection, settings)
    rows = notices.contents(connection, message.message_id, MOST_NAMED)
    known = {key: runs.by_key(connection, key) for key in {one.run_key for one, _ in rows}}
    lines = given.log_lines if len(rows) == 1 else min(given.log_lines, 10)
    told = []
    for number, (one, kind) in enumerate(rows):
        told.append(_masked(_told(connection, one, kind, known[one.run_key], archive if number < WITH_LOGS else None, lines, given.base_url), mask))
    return Content(message=message, told=tuple(told), tally=notices.tally(connection, message.message_id))


def _masked(told: Told, mask: Masker) -> Told:
    if not mask:
        return told
    return replace(told, reason=mask.text(told.reason), log_tail=tuple(map(mask.text, told.log_tail)))


def _told(connection: Connection, one: Notice, kind: str, run: RunRecord | None, archive: LogReader | None, lines: int, base_url: str) -> Told:
    number = one.try_number
    task = tasks.get(connection, one.run_key, one.task_id) if one.task_id else None
    if kind == notices.SLA and task:
        number = task.try_number
    tried = tasks.one_try(connection, one.run_key, one.task_id, number) if one.task_id and number else None
    due_at = sla.due_at(connection, one.run_key, one.task_id) if kind == notices.SLA else None
    tail, note = _tail(run, one.task_id, number, archive, lines)
    run_id = run.run_id if run else one.run_key
    state = tried.state.value if tried else task.state.value if task else "pending" if one.task_id else ""
    return Told(
        kind=kind, dag_id=one.dag_id, run_id=run_id, run_type=run.run_type if run else None, logical_date=_iso(run.logical_date if run else None),
        at=clock.from_micros(one.seq).isoformat(), task_id=one.task_id, try_number=number, max_tries=task.max_tries if task else None,
        state=state, reason=one.detail, worker=tried.worker if tried else "", host=tried.host if tried else "",
        exit_code=tried.exit_code if tried else None, signal=tried.signal if tried else None, ended=_ended(tried),
        started_at=_iso(tried.started_at if tried else None), ended_at=_iso(tried.ended_at if tried else None), due_at=_iso(due_at),
        log_tail=tail, log_note=note, link=_link(base_url, one, number),
        log_command=shlex.join(["rqflow", "task", "logs", run_id, one.task_id, *(["--try", str(number)] if number else [])]) if one.task_id else "",
        run_command=shlex.join(["rqflow", "run", "show", run_id]), next_command=_next(kind, one, run_id),
    )


def _next(kind: str, one: Notice, run_id: str) -> str:
    """Return the command with which a person goes on."""
    words = {notices.PAUSED: ["dag", "unpause", one.dag_id], notices.UNREACHABLE: ["task", "mark-lost", run_id, one.task_id],
             notices.RETRY: ["task", "run-now", run_id, one.task_id]}.get(kind)
    return shlex.join(["rqflow", *words]) if words else ""


def _ended(tried: TryRecord | None) -> str:
    """Return how a process ended, in words; empty for one that ended well, or of which that is not known."""
    if tried is None or (tried.exit_code is None and tried.signal is None):
        return ""
    return say_end(Ended(exit_code=tried.exit_code, signal=tried.signal))


def _tail(run: RunRecord | None, task_id: str, number: int, archive: LogReader | None, lines: int) -> tuple[tuple[str, ...], str]:
    """Return the last lines of a log as far as the archive has it, and what there is to say about them."""
    if archive is None or run is None or run.logical_date is None or not number or not lines:
        return (), ""
    path = log_path(run.dag_id, task_id, run.logical_date, number, run_key="" if run.run_type == SCHEDULED else run.run_key)
    data = archive.read(path, -TAIL, TAIL)
    if not data:
        return (), "nothing of its log has arrived on the hub"
    note = "" if archive.is_whole(path) else "the rest of its log has not arrived on the hub yet"
    return last_lines(data, lines), note


def last_lines(data: bytes, count: int) -> tuple[str, ...]:
    """Return the last lines of a log as text for people: colours and control characters are left out, broken UTF-8 is shown as such."""
    found = _CONTROLS.sub("", data.decode("utf-8", "replace").replace("\r\n", "\n")).split("\n")
    while found and not found[-1].strip():
        found.pop()
    # Of a line that a program wrote over and over, the last version counts.
    shown = [line.rsplit("\r", 1)[-1] for line in found[-count:]]
    return tuple(line if len(line) <= LINE else f"{line[:LINE]}…" for line in shown)


def _link(base_url: str, one: Notice, number: int) -> str:
    if not base_url:
        return ""
    page = f"{base_url.rstrip('/')}/runs/{one.run_key}"
    if not one.task_id:
        return page
    return f"{page}/tasks/{quote(one.task_id, safe='')}" + (f"?try={number}" if number else "")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
