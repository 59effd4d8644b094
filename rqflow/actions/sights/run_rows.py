"""The list of a run's tasks as one page shows it: groups that open and close, what passes a filter, no more rows than browsers like. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rqflow.actions.sights.run_view import RunGroup, RunPage, RunTask

#: Rows that are shown at a time; a run with more tasks than the second has its groups closed at first.
WINDOW, MANY = 500, 200


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """What of the list is wanted."""

    #: A part of the id of a task, whatever its case.
    text: str = ""
    #: States, or marks such as unreachable; none: all.
    states: frozenset[str] = frozenset()
    #: Groups that are not as they are at first: open where all are closed, closed where all are open.
    flipped: frozenset[str] = frozenset()
    #: The task that is shown beside the list: its groups are open, and its row is among those shown. Empty: none.
    selected: str = ""
    #: The first row that is shown; None: where `selected` is, else 0.
    first: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether it leaves tasks out."""
        return bool(self.text or self.states)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row: a group, or a task."""

    group: RunGroup | None = None
    task: RunTask | None = None
    #: Of a group, whether its tasks are shown.
    is_open: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows that are shown."""

    rows: tuple[Row, ...]
    #: The number of the first one, from 0, and how many there are in all.
    first: int
    total: int
    #: Tasks that pass the filter.
    matching: int
    #: Whether groups are open unless they are flipped.
    opens: bool

    @property
    def earlier(self) -> int | None:
        """The first row of the window before; None: there is none."""
        return max(self.first - WINDOW, 0) if self.first else None

    @property
    def later(self) -> int | None:
        """The first row of the window after; None: there is none."""
        return self.first + WINDOW if self.first + WINDOW < self.total else None


def rows_of(page: RunPage, wanted: RowFilter) -> Rows:
    """Return the rows of a run's page; what passes a filter is shown without groups."""
    opens = len(page.tasks) <= MANY
    if wanted.narrows:
        found = [Row(task=task) for task in page.tasks if _passes(task, wanted)]
        matching = len(found)
    else:
        found = list(_tree(page, wanted, opens=opens))
        matching = len(page.tasks)
    first = _first(found, wanted)
    return Rows(rows=tuple(found[first:first + WINDOW]), first=first, total=len(found), matching=matching, opens=opens)


def _passes(task: RunTask, wanted: RowFilter) -> bool:
    if wanted.states and task.state.value not in wanted.states and task.mark not in wanted.states:
        return False
    return not wanted.text or wanted.text.lower() in task.task_id.lower()


def _tree(page: RunPage, wanted: RowFilter, *, opens: bool) -> Iterator[Row]:
    place = next((number for number, task in enumerate(page.tasks) if task.task_id == wanted.selected), -1)
    groups, waiting, shut_until = page.groups, 0, 0
    for number, task in enumerate(page.tasks):
        while waiting < len(groups) and groups[waiting].start == number:
            group = groups[waiting]
            waiting += 1
            if number < shut_until:
                continue
            is_open = (opens != (group.group_id in wanted.flipped)) or group.start <= place < group.stop
            yield Row(group=group, is_open=is_open)
            if not is_open:
                shut_until = max(shut_until, group.stop)
        if number >= shut_until:
            yield Row(task=task)


def _first(found: Sequence[Row], wanted: RowFilter) -> int:
    if wanted.first is not None:
        return min(max(wanted.first, 0), max(len(found) - 1, 0))
    at = next((number for number, row in enumerate(found) if row.task and row.task.task_id == wanted.selected), 0)
    return at - at % WINDOW


def flipped_by(flipped: Collection[str], group_id: str) -> list[str]:
    """Return the flipped groups after a click on one of them."""
    return sorted({*flipped} ^ {group_id})
