"""A run as it goes on: a live table on a terminal, a line a change elsewhere. Both on stderr; stdout is for the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rqflow import clock
from rqflow.actions.follow import Snapshot
from rqflow.actions.model import TaskInstance
from rqflow.cli.output import STYLES, Printer, duration, is_quiet, note
from rqflow.cli.show import tries
from rqflow.states import TERMINAL_STATES, TaskState

#: Which tasks are shown when not all fit.
_FIRST = {TaskState.RUNNING: 0, TaskState.FAILED: 1, TaskState.LOST: 1, TaskState.UP_FOR_RETRY: 2, TaskState.QUEUED: 3, TaskState.PARKED: 3}
#: Asks for the last line of a task's log.
LastLine = Callable[[TaskInstance], str]


def watch(snapshots: Iterable[Snapshot], printer: Printer, name: str, last_line: LastLine) -> Snapshot | None:
    """Show `snapshots` until they end, on a terminal as a table that is drawn again and again; return the last. With -q show none."""
    console = printer.console(stderr=True)
    if not console.is_terminal or is_quiet():
        return _lines(snapshots)
    last = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for snapshot in snapshots:
            last = snapshot
            live.update(table(snapshot, name, last_line, height=console.height), refresh=True)
    return last


def _lines(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    last = None
    told: dict[str, tuple[str, int]] = {}
    for snapshot in snapshots:
        last = snapshot
        for task in snapshot.tasks if snapshot.is_new else ():
            now = (task.shown_state, task.try_number)
            if task.state is not TaskState.PENDING and told.get(task.task_id) != now:
                told[task.task_id] = now
                note(change(task))
    return last


def change(task: TaskInstance) -> str:
    """Return one line about what a task has come to."""
    which = f" (try {task.try_number} of {task.max_tries})" if task.try_number and task.max_tries > 1 and task.has_run else ""
    took = f" after {duration(task.duration)}" if task.duration is not None else ""
    why = f": {task.reason}" if task.reason else ""
    return f"{task.task_id} {task.shown_state}{which}{took}{why}"


def table(snapshot: Snapshot, name: str, last_line: LastLine, *, height: int) -> Group:
    """Return the table of a run: its tasks as far as they fit, and a line of totals."""
    room = max(height - 4, 5)
    tasks = list(snapshot.tasks)
    if len(tasks) > room:
        tasks = sorted(tasks, key=lambda task: _FIRST.get(task.state, 9))[:room - 1]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("TASK", "STATE", "TRY", "DURATION", "LAST LINE"):
        shown.add_column(title, no_wrap=True, overflow="ellipsis")
    for task in tasks:
        shown.add_row(*_row(task, last_line))
    if len(tasks) < len(snapshot.tasks):
        shown.add_row(Text(f"… and {len(snapshot.tasks) - len(tasks)} more", style="dim"))
    # Not the table's caption, which would be no wider than the table and break the run id.
    return Group(shown, Text(totals(snapshot, name), style="dim italic"))


def _row(task: TaskInstance, last_line: LastLine) -> list[Any]:
    took = task.duration
    if task.state is TaskState.RUNNING and task.started_at:
        took = max((clock.utcnow() - task.started_at).total_seconds(), 0.0)
    said = task.reason or (last_line(task) if task.state is TaskState.RUNNING or task.state in TERMINAL_STATES else "")
    return [Text(task.task_id), Text(task.shown_state, style=STYLES.get(task.shown_state, "")), tries(task), duration(took), Text(said, style="dim")]


def totals(snapshot: Snapshot, name: str) -> str:
    """Return one line: the run, its state, how many tasks are in each state."""
    counts = Counter(task.state.value for task in snapshot.tasks)
    return f"{name}: {snapshot.state.value}; " + ", ".join(f"{number} {state}" for state, number in counts.most_common())
