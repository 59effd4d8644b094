"""What the page of a run shows, read when a template first asks for it: a piece of the page reads what it shows, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from rqflow import clock
from rqflow.actions import query
from rqflow.actions.model import Call, TaskInstance, Try
from rqflow.actions.sights.graph_view import GraphView, NodeState, graph, told
from rqflow.actions.sights.run_rows import Rows, rows_of
from rqflow.actions.sights.run_view import RunPage, RunTask
from rqflow.actions.sights.timeline import Timeline, timeline
from rqflow.actions.why import Why, removed
from rqflow.api import reports, xcoms
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, perform
from rqflow.api.reports import Happening, ListHappenings
from rqflow.api.tasks import Rendering, TryOfTask, WhyTask, rendered
from rqflow.api.tasks import why as why_of
from rqflow.api.xcoms import ListXComs, XComValue
from rqflow.dag.version import Version
from rqflow.exceptions import NotFound, RqflowError
from rqflow.states import FAILURE_STATES, TERMINAL_STATES, TaskState
from rqflow.store.dags import DagRecord
from rqflow.store.engine import reading
from rqflow.store.runs import RunRecord
from rqflow.web.news import NOTHING, EventId
from rqflow.web.run_asked import Asked
from rqflow.web.run_pages import RunPages

#: Rows of a timeline, and the tasks from which on it is not drawn anew at each change; characters of a value that are shown.
MOST_ROWS, LARGE, MOST_TEXT = 500, 1000, 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Deeds:
    """What may be done with a task now."""

    kill: bool = False
    run_now: bool = False
    mark_lost: bool = False


class RunSight:
    """A run as one person sees it."""

    def __init__(self, hub: Hub, pages: RunPages, record: RunRecord, asked: Asked, upto: EventId = NOTHING) -> None:
        """Read nothing yet; `upto` is the event that it must show at least, NOTHING: all that there is now."""
        self.hub, self.record, self.asked = hub, record, asked
        self._pages, self._upto = pages, upto

    # ---------------------------------------------------------------- the run

    @cached_property
    def page(self) -> RunPage:
        """The run with its tasks."""
        return self._pages.of(self.hub, self.record.run_key, self._upto)

    @property
    def away(self) -> str:
        """Why the live state is not known; empty: it is."""
        return self.hub.away

    @property
    def topic(self) -> str:
        """What its pieces are got anew for."""
        return f"run:{self.record.run_key}"

    @cached_property
    def dag(self) -> DagRecord | None:
        """Its DAG; None: it is not known any more."""
        return self.hub.dag_of(self.record)

    @cached_property
    def may_change(self) -> bool:
        """Whether the person may change it."""
        return self.hub.claims.may_change_run(self.dag, self.record)

    @cached_property
    def rows(self) -> Rows:
        """The list."""
        return rows_of(self.page, self.asked.rows)

    @property
    def failed(self) -> int:
        """How many of its tasks failed, or did not run because of that."""
        return sum(self.page.counts.get(state.value, 0) for state in FAILURE_STATES)

    @cached_property
    def marks(self) -> dict[str, int]:
        """How many of its tasks have which mark."""
        found: dict[str, int] = {}
        for task in self.page.tasks:
            if task.mark:
                found[task.mark] = found.get(task.mark, 0) + 1
        return found

    @cached_property
    def values(self) -> list[tuple[str, str]]:
        """What it was started with: (name, JSON) of params and conf."""
        return [("Params", shown(self.record.params)), ("Conf", shown(self.record.conf))]

    @cached_property
    def calls(self) -> list[Call]:
        """The calls of functions of its DAG for the run itself."""
        with reading(self.hub.engine) as connection:
            return query.calls_of(connection, self.record.run_key, "")

    @cached_property
    def events(self) -> Page[Happening]:
        """What happened in it, the last first."""
        return perform(self.hub, reports.events, ListHappenings(run=self.record.run_key, limit=100, after=self.asked.before or None))

    # ---------------------------------------------------------------- a task of it

    @cached_property
    def task(self) -> TaskInstance:
        """The chosen task with its tries. Raises TaskNotFound."""
        return query.show_task(self.hub.live, self.hub.engine, self.record.run_key, self.asked.task_id).tasks[0]

    @cached_property
    def one(self) -> Try | None:
        """The chosen try, else the last one; None: there is none yet. Raises NotFound."""
        number = self.asked.try_number
        if number is None:
            return self.task.tries[-1] if self.task.tries else None
        found = next((one for one in self.task.tries if one.try_number == number), None)
        if found is None:
            raise NotFound(f"{self.task.task_id} has no try {number}", hint=f"It had {len(self.task.tries)} so far.")
        return found

    @cached_property
    def why(self) -> Why | None:
        """Why the task is where it is, as `rqflow why` says it; None: it has ended, or nobody knows."""
        if self.task.state is TaskState.REMOVED and self.spec:
            return removed(self.spec)
        if self.task.state in TERMINAL_STATES or self.away:
            return None
        try:
            return perform(self.hub, why_of, WhyTask(run=self.record.run_key, task_id=self.task.task_id))
        except RqflowError:
            return None  # it has ended since

    @cached_property
    def deeds(self) -> Deeds:
        """What may be done with the task now."""
        task = self.task
        if self.away or not self.may_change:
            return Deeds()
        return Deeds(kill=task.state not in TERMINAL_STATES, mark_lost=task.unreachable_since is not None,
                     run_now=task.state in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE, TaskState.PARKED})

    @cached_property
    def spec(self) -> Any:
        """The chosen task as its version has it; None: nobody knows it any more."""
        return self.version.by_id.get(self.asked.task_id) if self.version else None

    @cached_property
    def xcoms(self) -> tuple[XComValue, ...]:
        """What the task told others."""
        return perform(self.hub, xcoms.list_xcoms, ListXComs(run=self.record.run_key, task_id=self.asked.task_id)).items

    @cached_property
    def rendered(self) -> Rendering:
        """Its template fields as the try had them."""
        number = self.one.try_number if self.one else None
        return perform(self.hub, rendered, TryOfTask(run=self.record.run_key, task_id=self.asked.task_id, try_number=number))

    # ---------------------------------------------------------------- drawings

    @cached_property
    def version(self) -> Version | None:
        """Its version; None: nobody knows it any more."""
        return query.version_by_sha(self.hub.live, self.hub.engine, self.record.version)

    @cached_property
    def graph(self) -> GraphView | None:
        """Its graph; None: its version is not known any more."""
        if self.version is None:
            return None
        return graph(self.version, opened=self.asked.opened, focus=self.asked.task_id if self.asked.near and self.asked.task_id else None)

    @cached_property
    def nodes(self) -> Sequence[NodeState]:
        """How the nodes of the graph stand."""
        return told(self.graph, {task.task_id: task.state for task in self.page.tasks}) if self.graph else []

    @cached_property
    def node_of_task(self) -> str:
        """The node of the graph that stands for the chosen task; empty: none does."""
        return next((node.id for node in self.graph.nodes if self.asked.task_id in node.task_ids), "") if self.graph and self.asked.task_id else ""

    @cached_property
    def timeline(self) -> Timeline:
        """What its tasks did when."""
        return timeline(query.show(self.hub.live, self.hub.engine, self.record.run_key), self.version, clock.utcnow())

    @property
    def is_large(self) -> bool:
        """Whether it has more tasks than a drawing of all of them may be made anew for at each change."""
        return len(self.page.tasks) > LARGE

    @property
    def now(self) -> datetime:
        """The time."""
        return clock.utcnow()

    def task_row(self, task_id: str) -> RunTask | None:
        """Return a task of the list."""
        return next((task for task in self.page.tasks if task.task_id == task_id), None)


def shown(value: Any) -> str:
    """Return a value as people read it, as JSON of several lines; a text as it is. What no page can hold is replaced, what is too long cut."""
    if isinstance(value, Mapping) and not value:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    text = text.encode(errors="replace").decode().replace("\0", "�")
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}\n… {len(text) - MOST_TEXT:,} more characters"
