"""States of all tasks of a run as one short text, a character a task: what grids are made of, and what is kept of runs that have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from threading import Lock

from rqflow.actions.drawing import WORST_FIRST
from rqflow.actions.sights.outline import Outline
from rqflow.actions.sights.overlay import Overlaid
from rqflow.broker.broker import Broker
from rqflow.broker.status import TaskCell
from rqflow.states import TaskState
from rqflow.store import task_states
from rqflow.store.engine import Engine, reading
from rqflow.store.run_lines import RunLine
from rqflow.store.task_states import Recorded

#: The character of each state.
CODES: Mapping[TaskState, str] = {
    TaskState.SUCCESS: "s", TaskState.FAILED: "f", TaskState.RUNNING: "r", TaskState.QUEUED: "q", TaskState.PARKED: "k", TaskState.PENDING: "p",
    TaskState.SKIPPED: "x", TaskState.UPSTREAM_FAILED: "u", TaskState.UP_FOR_RETRY: "y", TaskState.UP_FOR_RESCHEDULE: "h", TaskState.LOST: "l",
    TaskState.CANCELLED: "c", TaskState.REMOVED: "v",
}
#: That of a task which the version of the run does not have.
ABSENT = " "
#: {character: value of the state}; ABSENT is none of them.
STATES: Mapping[str, str] = {code: state.value for state, code in CODES.items()}
_BY_VALUE = {state.value: code for state, code in CODES.items()}
_WORST = "".join(CODES[state] for state in WORST_FIRST)
#: Characters of sequences that are kept, in all.
_ROOM = 16_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSequence:
    """How the tasks of a run stand, by their index in the run's version."""

    states: str
    #: {index: number of its try} where that is more than 1.
    tries: Mapping[int, int] = field(default_factory=dict)
    #: {index: unreachable or cancel requested} of running ones.
    marks: Mapping[int, str] = field(default_factory=dict)


def worst(states: str) -> str:
    """Return the character in which a group is shown whose tasks have these: the worst one; ABSENT when the run has none of them."""
    return next((code for code in _WORST if code in states), ABSENT)


def counted(states: str) -> list[tuple[str, int]]:
    """Return (character, how many tasks have it), the worst first, of those that the run has."""
    return [(code, states.count(code)) for code in _WORST if code in states]


def arranged(found: TaskSequence, places: Sequence[int | None]) -> TaskSequence:
    """Return a sequence by other places: `places` names for each the index of its task, None where the run has no such task."""
    known = [index for index in places if index is not None]
    if len(known) == len(places) > 1:
        states = "".join(itemgetter(*known)(found.states))
    else:
        states = "".join(ABSENT if index is None else found.states[index] for index in places)
    if not found.tries and not found.marks:
        return TaskSequence(states=states)
    at = {index: place for place, index in enumerate(places) if index is not None}
    return TaskSequence(states=states, tries={at[index]: number for index, number in found.tries.items() if index in at},
                     marks={at[index]: mark for index, mark in found.marks.items() if index in at})


class Sequences:
    """Sequences of runs that have ended, kept for the whole process by run key and the order of the event that ended it. For all threads."""

    def __init__(self, room: int = _ROOM) -> None:
        """Keep sequences of so many characters in all."""
        self._room, self._used, self._lock = room, 0, Lock()
        self._kept: dict[tuple[str, int], TaskSequence] = {}

    def of(self, broker: Broker | None, engine: Engine, runs: Overlaid, outlines: Mapping[str, Outline]) -> dict[str, TaskSequence]:
        """Return {run key: how its tasks stand} of the runs whose version is among the outlines."""
        known = {line.run_key: len(outline.task_ids) for line in runs.lines if (outline := outlines.get(line.version or ""))}
        cells = broker.task_cells([key for key in known if key in runs.live]) if broker and runs.live else {}
        found = {key: _live(each, known[key]) for key, each in cells.items() if each}
        rest = [line for line in runs.lines if line.run_key in known and line.run_key not in found]
        with self._lock:
            kept = {line.run_key: self._kept[line.run_key, line.seq] for line in rest if (line.run_key, line.seq) in self._kept}
        missing = [line for line in rest if line.run_key not in kept]
        recorded: Mapping[str, Recorded] = {}
        if missing:
            with reading(engine) as connection:
                recorded = task_states.of_runs(connection, [line.run_key for line in missing])
        made = {line.run_key: _ended(recorded[line.run_key], known[line.run_key], is_finished=line.is_finished) for line in missing}
        self._keep((line, made[line.run_key]) for line in missing if broker and line.is_finished and line.run_key not in runs.live)
        return found | kept | made

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._used = 0

    def _keep(self, made: Iterable[tuple[RunLine, TaskSequence]]) -> None:
        with self._lock:
            for line, sequence in made:
                key = line.run_key, line.seq
                if line.seq and key not in self._kept:
                    self._kept[key] = sequence
                    self._used += _size(sequence)
            while self._used > self._room and self._kept:
                self._used -= _size(self._kept.pop(next(iter(self._kept))))


def _size(sequence: TaskSequence) -> int:
    return 200 + len(sequence.states) + 60 * len(sequence.tries)


def _live(cells: Mapping[int, TaskCell], length: int) -> TaskSequence:
    states = [ABSENT] * length
    tries: dict[int, int] = {}
    marks: dict[int, str] = {}
    for index, (state, number, mark) in cells.items():
        if index < length:
            states[index] = _BY_VALUE[state]
            if number > 1:
                tries[index] = number
            if mark:
                marks[index] = mark
    return TaskSequence(states="".join(states), tries=tries, marks=marks)


def _ended(recorded: Recorded, length: int, *, is_finished: bool) -> TaskSequence:
    """Return how the tasks stand that the history tells: to what has no row nothing happened, and in a run that has ended it is no part of it."""
    states = [CODES[TaskState.REMOVED if is_finished else TaskState.PENDING]] * length
    for index, state in recorded.states.items():
        if index < length:
            states[index] = CODES[state]
    return TaskSequence(states="".join(states), tries={index: number for index, number in recorded.tries.items() if index < length})


SEQUENCES = Sequences()
