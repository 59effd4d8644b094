"""What the address of a run's page says: the task beside the list, its try and tab, and what of the list is shown. All of it is in the address, so
that links can be sent, and pages go on without scripts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import Depends, Query

from rqflow.actions.sights.run_rows import RowFilter, flipped_by
from rqflow.exceptions import UsageError
from rqflow.states import TaskState

#: Tabs of a run, and of a task: the first one is shown when none is named.
RUN_TABS = {"graph": "Graph", "timeline": "Timeline", "params": "Params", "events": "Events"}
TASK_TABS = {"log": "Log", "graph": "Graph", "timeline": "Timeline", "details": "Details", "rendered": "Rendered", "xcoms": "XComs"}
#: What the list can be narrowed to: states, and marks of running tasks.
STATES = frozenset({*(state.value for state in TaskState), "unreachable", "cancel requested"})
#: Groups that one address may name.
MOST_NAMED = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is to be shown. Empty texts and None: nothing was said."""

    run_key: str = ""
    task_id: str = ""
    tab: str = ""
    try_number: int | None = None
    text: str = ""
    states: tuple[str, ...] = ()
    flipped: tuple[str, ...] = ()
    first: int | None = None
    #: Groups and fans that are open in the graph; whether it shows what is near the task alone; whether the timeline has a lane a worker.
    opened: tuple[str, ...] = ()
    near: bool = False
    lanes: bool = False
    #: Only events before this one: its seq and source.
    before: str = ""

    @property
    def tabs(self) -> dict[str, str]:
        """The tabs that there are."""
        return TASK_TABS if self.task_id else RUN_TABS

    @property
    def here(self) -> str:
        """The tab that is shown."""
        return self.tab if self.tab in self.tabs else next(iter(self.tabs))

    @property
    def rows(self) -> RowFilter:
        """What of the list is shown."""
        return RowFilter(text=self.text, states=frozenset(self.states), flipped=frozenset(self.flipped), selected=self.task_id, first=self.first)

    @property
    def url(self) -> str:
        """The address."""
        path = f"/runs/{self.run_key}" + (f"/tasks/{quote(self.task_id, safe='')}" if self.task_id else "")
        default = next(iter(self.tabs))
        said: list[tuple[str, str]] = [("tab", self.here)] if self.here != default else []
        said += [("try", str(self.try_number))] if self.try_number is not None and self.task_id else []
        said += [("q", self.text)] if self.text else []
        said += [("state", state) for state in self.states] + [("flip", name) for name in self.flipped]
        said += [("from", str(self.first))] if self.first is not None else []
        said += [("open", name) for name in self.opened] if self.here == "graph" else []
        said += [("near", "1")] if self.near and self.task_id and self.here == "graph" else []
        said += [("lanes", "1")] if self.lanes and self.here == "timeline" else []
        said += [("before", self.before)] if self.before and self.here == "events" else []
        return path + (f"?{urlencode(said)}" if said else "")

    def task(self, task_id: str, tab: str = "") -> Asked:
        """The same beside another task, the empty id: beside none; at its tab of the same name, where it has one."""
        return replace(self, task_id=task_id, tab=tab or (self.tab if self.tab else ""), try_number=None, before="")

    def tasks(self) -> Callable[[str], str]:
        """Return what gives the address beside each task: for lists, as the rest of it is the same."""
        front, _, back = self.task("/").url.partition("%2F")
        return lambda task_id: f"{front}{quote(task_id, safe='')}{back}"

    def at(self, tab: str) -> Asked:
        """The same at another tab."""
        return replace(self, tab=tab)

    def of_try(self, number: int | None) -> Asked:
        """The same with another try; None: with the last one."""
        return replace(self, try_number=number)

    def only(self, *states: str) -> Asked:
        """The same list narrowed to these states; none: all."""
        return replace(self, states=states, first=None)

    def flip(self, group_id: str) -> Asked:
        """The same with a group of the list opened or closed."""
        return replace(self, flipped=tuple(flipped_by(self.flipped, group_id)))

    def window(self, first: int) -> Asked:
        """The same with another part of the list."""
        return replace(self, first=first)

    def opening(self, name: str) -> Asked:
        """The same with a node of the graph opened or closed."""
        return replace(self, opened=tuple(flipped_by(self.opened, name)))

    def drawn(self, *, near: bool | None = None, lanes: bool | None = None, opened: tuple[str, ...] | None = None) -> Asked:
        """The same drawn otherwise."""
        return replace(self, near=self.near if near is None else near, lanes=self.lanes if lanes is None else lanes,
                       opened=self.opened if opened is None else opened)

    def earlier(self, before: str) -> Asked:
        """The same with the events before one."""
        return replace(self, before=before)


def asked_of(tab: str = "", number: Annotated[int | None, Query(alias="try", ge=0, le=1_000_000)] = None,
             q: Annotated[str, Query(max_length=300)] = "",
             state: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
             flip: Annotated[list[str], Query(max_length=MOST_NAMED)] = [],  # noqa: B006 - as above
             first: Annotated[int | None, Query(alias="from", ge=0, le=1_000_000)] = None,
             opened: Annotated[list[str], Query(alias="open", max_length=MOST_NAMED)] = [],  # noqa: B006 - as above
             near: bool = False, lanes: bool = False, before: Annotated[str, Query(max_length=60)] = "") -> Asked:
    """Return what the query of an address says. Raises UsageError."""
    wanted = tuple(dict.fromkeys(one for one in state if one))
    if wrong := [one for one in wanted if one not in STATES]:
        raise UsageError(f"state: {wrong[0][:50]!r} is no state of a task")
    return Asked(tab=tab, try_number=number, text=q.strip(), states=wanted, flipped=tuple(flip), first=first, opened=tuple(opened), near=near,
                 lanes=lanes, before=before)


TheAsked = Annotated[Asked, Depends(asked_of)]
