"""What operations that clear and mark tasks give: which tasks are meant, or were changed, and what is new for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.actions import query, rewrite
from rqflow.actions.people import audit
from rqflow.actions.reruns import Changed
from rqflow.actions.scope import Chosen
from rqflow.api.hub import Hub
from rqflow.exceptions import Conflict
from rqflow.states import TaskState
from rqflow.store.events import EventFilter
from rqflow.store.runs import RunRecord

#: Runs of which it is said what is new for them: it is the same for most.
RUNS = 5
#: Deeds after which what somebody saw of a run is not what is there: as they are written down, and in words.
_DEEDS = {"run_cleared": "cleared tasks of this run", "run_marked": "marked tasks of this run", "run_cancelled": "cancelled this run",
          "task_cancelled": "cancelled a task of this run"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rerun:
    """A task instance that is meant, with the state that it has, or had; `done`: it was changed, else `reason` says why not."""

    dag_id: str
    run_id: str
    run_key: str
    logical_date: datetime | None
    task_id: str
    state: TaskState
    done: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reruns:
    """All of them; `news`: what the latest version of the DAG has that is new for tasks that follow it."""

    tasks: tuple[Rerun, ...]
    news: tuple[str, ...] = ()


def chosen_rows(chosen: Sequence[Chosen], *, hub: Hub | None = None, same_version: bool = True) -> Reruns:
    """Return what would be changed; with `hub`, unless `same_version`, with what is new for it."""
    news: dict[str, None] = {}
    if hub is not None and not same_version:
        for one in chosen[:RUNS]:
            shown = query.show(hub.live, hub.engine, one.run.run_key)
            news |= dict.fromkeys(rewrite.news(hub.live, hub.engine, shown, one.tasks))
    return Reruns(tasks=tuple(row for one in chosen for row in _rows(one)), news=tuple(news))


def must_be_unchanged(hub: Hub, run: RunRecord, seen_at: datetime | None) -> None:
    """Raise Conflict when somebody changed something of a run since a person looked at it; nothing without a time."""
    if seen_at is None:
        return
    since = audit.search(hub.engine, EventFilter(run_key=run.run_key, since=clock.aware(seen_at)), limit=20)
    for deed in since:
        if deed.event in _DEEDS:
            who = "you" if deed.who == hub.person.name else deed.who
            raise Conflict(f"{who} {_DEEDS[deed.event]} at {deed.at:%H:%M:%S} UTC, after this was shown",
                           hint="Look at what is shown now, and decide again.")


def changed_rows(changed: Sequence[Changed]) -> Reruns:
    """Return what was changed, and what was not."""
    return Reruns(tasks=tuple(row for one in changed for row in (*_rows(one.done, done=True), *_rows(one.refused, reason=one.why))))


def _rows(one: Chosen, *, done: bool = False, reason: str = "") -> Iterator[Rerun]:
    for task in one.tasks:
        yield Rerun(dag_id=one.run.dag_id, run_id=one.run.run_id, run_key=one.run.run_key, logical_date=one.run.logical_date, task_id=task.task_id,
                    state=one.states.get(task.task_id, TaskState.PENDING), done=done, reason=reason)
