"""The page of one DAG: what its tabs share, and the first of them, the grid of its tasks and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from rqflow.actions.sights import grid as sight
from rqflow.actions.sights.grid import Grid, GridRun
from rqflow.actions.sights.schedule_words import words
from rqflow.actions.sights.sequence import ABSENT, CODES, STATES, counted
from rqflow.api.hub import Hub
from rqflow.api.runs import TYPES
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.states import RunState, TaskState
from rqflow.store.dags import DagRecord
from rqflow.web.deps import TheHub
from rqflow.web.rendering import BY_ALL, live_page, part
from rqflow.web.seeing import live_of, upto

router = APIRouter(include_in_schema=False)
#: With more tasks than this the groups are closed at first.
MANY = 150
#: What of the groups is closed: nothing, or all; `but` names those of which it is the other way round.
NOTHING, ALL = "none", "all"
#: A mark on a running task that is shown as a state is.
UNREACHABLE = "unreachable"
#: Characters of what does not mix: a group in which some were skipped is as well as one in which none were.
_DONE, _ASIDE = CODES[TaskState.SUCCESS], {CODES[TaskState.SKIPPED], CODES[TaskState.REMOVED]}
#: What stands before and behind the address of a square, by its character.
_SQUARES = {code: (f'<td><a class="sq st-{word}" href="/runs/', f'" aria-label="{word}" tabindex="-1"></a>') for code, word in STATES.items()}


def about_dag(hub: Hub, dag: DagRecord) -> dict[str, Any]:
    """Return what the head of each tab shows of a DAG, and what the person may do with it."""
    return {"dag": dag, "schedule": words(dag.schedule, dag.timezone), "may_change": hub.claims.may_change_dag(dag),
            "may_start": hub.person.role.allows(Role.OPERATOR) and dag.is_active, "away": hub.away}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the grid: a group, or a task, with a character a run."""

    name: str
    label: str
    depth: int
    cells: str
    is_group: bool = False
    #: Of a group: whether its tasks are shown, and how many there are.
    is_open: bool = False
    size: int = 0
    about: str = ""
    #: Of a group: the states of its tasks, a text a run.
    inside: tuple[str, ...] = ()
    is_gone: bool = False
    #: {place of a run: its try there}, where that is more than 1, and {place of a run: unreachable or cancel requested}.
    tries: dict[int, int] = field(default_factory=dict)
    marks: dict[int, str] = field(default_factory=dict)


def rows_of(found: Grid, closed: Sequence[str]) -> list[Row]:
    """Return the lines of a grid, with the runs from the oldest to the newest, without those that stand in a group which is closed."""
    runs = found.runs[::-1]
    shut = set(closed)
    hidden = {group.group_id for group in found.groups if group.parent in shut}
    for group in found.groups:  # a group stands before those that it holds
        if group.parent in hidden:
            hidden.add(group.group_id)
    starts: dict[int, list[int]] = {}
    for number, group in enumerate(found.groups):
        starts.setdefault(group.start, []).append(number)
    made = []
    for place, task in enumerate(found.tasks):
        for number in starts.get(place, ()):
            group = found.groups[number]
            if group.group_id not in hidden:
                made.append(Row(name=group.group_id, label=group.label, depth=group.depth, cells="".join([run.group_states[number] for run in runs]),
                                is_group=True, is_open=group.group_id not in shut, size=group.stop - group.start, about=group.tooltip,
                                inside=tuple(run.states[group.start:group.stop] for run in runs)))
        if task.group_id in shut or task.group_id in hidden:
            continue
        cells = "".join([run.states[place] for run in runs])
        made.append(Row(name=task.task_id, label=task.label, depth=task.depth, cells=cells, about=task.operator, is_gone=task.is_gone,
                        tries={at: run.tries[place] for at, run in enumerate(runs) if place in run.tries},
                        marks={at: run.marks[place] for at, run in enumerate(runs) if place in run.marks}))
    return made


def squares_of(row: Row, runs: Sequence[GridRun]) -> Markup:
    """Return the cells of a line. Joined here and not in the template: a big grid has 25,000 of them, which takes a template six times as long."""
    if row.is_group:
        return Markup("".join([_group_cell(states, run) for states, run in zip(row.inside, runs, strict=True)]))  # noqa: S704 - as below
    behind = f"/tasks/{part(row.name)}"
    cells = []
    for at, (code, run) in enumerate(zip(row.cells, runs, strict=True)):
        if code == ABSENT:
            cells.append("<td>")
        elif at in row.tries or at in row.marks:
            mark, number = row.marks.get(at, ""), row.tries.get(at)
            word = STATES[code] if mark != UNREACHABLE else mark
            more = f' data-try="{number}"' if number else ""
            cells.append(f'<td><a class="sq st-{word}" href="/runs/{run.run_key}{behind}" aria-label="{mark or word}"{more} tabindex="-1"></a>')
        else:
            front, back = _SQUARES[code]
            cells.append(f"{front}{run.run_key}{behind}{back}")
    return Markup("".join(cells))  # noqa: S704 - keys are hex digits, what `part` gives is letters, digits and %, and all else is written here


def _group_cell(states: str, run: GridRun) -> str:
    """Return the cell of a group: in the colour of its worst state, from the bottom up to about the share of the tasks that are in it; above, that in
    which most of the others are.
    """
    counts = counted(states)
    if not counts:
        return "<td>"
    (worst, count), rest = counts[0], [one for one in counts[1:] if one[0] not in _ASIDE]
    told = ", ".join(f"{number} {STATES[code].replace('_', ' ')}" for code, number in counts)
    mixed = ""
    if rest and worst != _DONE:
        most, _ = max(rest, key=lambda one: one[1])
        share = count / (count + sum(number for _, number in rest))
        mixed = f" of-{STATES[most]} part-{min(int(share * 4) + 1, 4)}"
    return f'<td><a class="sq st-{STATES[worst]}{mixed}" href="/runs/{run.run_key}" aria-label="{told}" tabindex="-1"></a>'


def one_of(name: str, given: str, there_are: Sequence[str]) -> str | None:
    """Return what was chosen, None when nothing was; raises UsageError for what there is not."""
    if given and given not in there_are:
        raise UsageError(f"{name}: {given[:50]!r} is none of {', '.join(there_are)}")
    return given or None


@router.get("/dags/{dag_id}")
def grid_page(request: Request, hub: TheHub, dag_id: str, runs: int = sight.RUNS, before: str = "", after: str = "", run_type: str = "",
              state: str = "", fold: str = "", but: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
              flip: str = "") -> HTMLResponse:
    """Show tasks × runs."""
    now = upto(hub)
    dag = hub.dag(dag_id)
    kind, wanted = one_of("run_type", run_type, TYPES), one_of("state", state, [one.value for one in RunState])
    one_of("fold", fold, (NOTHING, ALL))
    if not 1 <= runs <= sight.MOST_RUNS:
        raise UsageError(f"runs: {runs} is not from 1 to {sight.MOST_RUNS}")
    found = sight.grid(live_of(hub), hub.engine, dag_id, limit=runs, before=before or None, after=after or None,
                       run_types=[kind] if kind else None, states=[RunState(wanted)] if wanted else None)
    groups = [group.group_id for group in found.groups]
    fold = fold or (ALL if len(found.tasks) > MANY else NOTHING)
    others = sorted(({*but} ^ {*filter(None, [flip])}) & {*groups})
    closed = [group for group in groups if (group in others) is (fold == NOTHING)]
    columns = found.runs[::-1]
    chosen = {"runs": runs if runs != sight.RUNS else None, "run_type": run_type, "state": state, "fold": fold if groups else None, "but": others}
    return live_page(
        request, "dag_grid.html", "_dag_grid.html", **about_dag(hub, dag), grid=found, columns=columns, rows=rows_of(found, closed), chosen=chosen,
        squares=lambda row: squares_of(row, columns), shared=BY_ALL,
        before=before, after=after, upto=now, types=TYPES, states=[one.value for one in RunState],
        longest=longest_of(columns), shown_states=shown_states(found))


def longest_of(runs: Sequence[GridRun]) -> float:
    """Return the seconds that the longest run took that has ended: one that hangs should not make all others look short."""
    return max((run.duration or 0 for run in runs if run.ended_at), default=0) or max((run.duration or 0 for run in runs), default=0)


def shown_states(found: Grid) -> list[str]:
    """Return the states that the grid has, for its legend."""
    there = {found.codes[code] for run in found.runs for code in {*run.states} if code in found.codes}
    return [state.value for state in TaskState if state.value in there]
