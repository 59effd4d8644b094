"""What became of a run, in numbers, as a page, as a picture, and with one line a try."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rqflow.actions import gantt
from rqflow.actions.model import Run, TaskInstance, duration_words, seconds_between, size_words
from rqflow.dag.version import Version
from rqflow.states import FAILURE_STATES

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
#: Columns of the trace, one line a try.
TRACE = (
    "dag_id", "run_id", "logical_date", "task_id", "try_number", "state", "reason", "operator", "queue", "pool", "worker", "host", "pid",
    "started_at", "ended_at", "duration", "exit_code", "signal", "cpu_seconds", "max_rss_bytes", "log_bytes",
)
#: Tasks that the summary names as the longest ones.
LONGEST = 5
#: Failed tasks of which the page shows the end of the log, and bytes of each.
TAILS, TAIL_BYTES = 20, 4000

#: Gives the last bytes of the log of a task's last try.
TailOf = Callable[[TaskInstance, int], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A run in numbers; times are seconds."""

    dag_id: str
    run_id: str
    state: str
    logical_date: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration: float | None
    #: How many tasks, and how many of them are in which state.
    tasks: int
    states: dict[str, int]
    tries: int
    failed_tries: int
    #: What all tries took together, of this on processors, and the most memory that one had.
    task_seconds: float
    cpu_seconds: float
    max_rss_bytes: int | None
    hosts: tuple[str, ...]
    #: The tasks with the longest tries.
    longest: tuple[dict[str, Any], ...]
    #: From the first task on: the one that ended last, and before each the one that it waited for last.
    critical_path: tuple[str, ...]


def summary(run: Run, version: Version, now: datetime) -> Summary:
    """Return a run in numbers; what runs has taken as long as until `now`."""
    tries = [(task, one) for task in run.tasks for one in task.tries]
    took = ((seconds_between(one.started_at, one.ended_at or now) or 0.0, task.task_id, one.try_number) for task, one in tries)
    lengths = sorted(took, reverse=True)
    return Summary(
        dag_id=run.dag_id, run_id=run.run_id, state=run.state.value, logical_date=run.logical_date, started_at=run.started_at, ended_at=run.ended_at,
        duration=seconds_between(run.started_at, run.ended_at or now), tasks=len(run.tasks),
        states=dict(Counter(task.state.value for task in run.tasks).most_common()), tries=len(tries),
        failed_tries=sum(one.state in FAILURE_STATES or one.exit_code not in (None, 0) for _, one in tries),
        task_seconds=round(sum(length for length, _, _ in lengths), 3), cpu_seconds=round(sum(one.cpu_seconds or 0.0 for _, one in tries), 3),
        max_rss_bytes=max((one.max_rss_bytes or 0 for _, one in tries), default=0) or None,
        hosts=tuple(sorted({one.host for _, one in tries if one.host})),
        longest=tuple({"task_id": name, "try_number": number, "duration": length} for length, name, number in lengths[:LONGEST]),
        critical_path=critical_path(run, version))


def critical_path(run: Run, version: Version) -> tuple[str, ...]:
    """Return the ids of the tasks that made the run as long as it was, in the order in which they ran: each waited for the one before it."""
    ended = {task.task_id: task.ended_at for task in run.tasks if task.ended_at and task.has_run}
    path: list[str] = []
    candidates = list(ended)
    while candidates:
        path.append(max(candidates, key=lambda name: ended[name]))
        candidates = [name for up in version.by_id[path[-1]].upstream if (name := version.tasks[up].task_id) in ended]
    return tuple(reversed(path))


def trace(run: Run) -> str:
    """Return a line for each try of a run, as CSV with the heads TRACE; times are ISO 8601 in UTC."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRACE)
    for task in run.tasks:
        for one in task.tries:
            known = {**asdict(one), "state": one.state.value, "dag_id": run.dag_id, "run_id": run.run_id, "logical_date": run.logical_date,
                     "task_id": task.task_id, "operator": task.operator, "pool": task.pool}
            writer.writerow(value.isoformat(timespec="microseconds") if isinstance(value := known[name], datetime) else value for name in TRACE)
    return out.getvalue()


def picture(run: Run, now: datetime) -> str:
    """Return the tries of a run as bars on an axis of time, as SVG."""
    return _rendered("gantt.svg", run=run, gantt=gantt.gantt(run, now), legend=gantt.legend(run), alone=True)


def page(run: Run, version: Version, now: datetime, tail: TailOf) -> str:
    """Return a page about a run: one file without scripts, which loads nothing. `tail` gives the end of the log of a failed task."""
    failed = [task for task in run.tasks if task.state in FAILURE_STATES and task.tries]
    tails = [(task, tail(task, TAIL_BYTES).decode("utf-8", "replace")) for task in failed[:TAILS]]
    return _rendered(
        "run.html", run=run, now=now, summary=summary(run, version, now), gantt=gantt.gantt(run, now), legend=gantt.legend(run), tails=tails,
        more_failed=len(failed) - len(tails), alone=False)


def _rendered(name: str, **known: Any) -> str:
    return _environment().get_template(name).render(known)


def _environment() -> Environment:
    """Return the templates, in which everything is escaped."""
    import jinja2  # here: most commands do not need it

    made = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                              undefined=jinja2.StrictUndefined)
    made.filters["lasting"] = duration_words
    made.filters["size"] = size_words
    made.filters["moment"] = lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""
    made.filters["shown"] = _shown
    return made


def _shown(text: str) -> str:
    """Return a text without what no XML may have, and what steers terminals."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")
