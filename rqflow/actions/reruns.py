"""Clearing and marking what a scope means, over any number of runs: what cannot be changed is told, and does not keep the others from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rqflow.actions import rewrite, scope
from rqflow.actions.scope import Chosen, Scope
from rqflow.broker.broker import Broker
from rqflow.exceptions import Conflict
from rqflow.states import FAILURE_STATES, TERMINAL_STATES, TaskState
from rqflow.store.engine import Engine
from rqflow.store.runs import RunRecord

#: What stays as it is when all of a run is marked a success.
_GOOD = frozenset({TaskState.SUCCESS, TaskState.SKIPPED, TaskState.REMOVED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What became of one run: the tasks that were cleared or marked, those that were not, and why not."""

    run: RunRecord
    done: Chosen
    refused: Chosen
    why: str = ""


def clear(broker: Broker, engine: Engine, chosen: Sequence[Chosen], *, by: str, stops: bool = False, same_version: bool = False) -> list[Changed]:
    """Let these task instances run again, with new tries. Those that run are refused, or with `stops` stopped first; so is all of a run that
    is being cancelled, or of which the history knows too little. They follow the latest version of their DAG, unless `same_version`.
    """
    def change(one: Chosen) -> list[int]:
        return rewrite.clear(broker, engine, one.run, one.indices, by=by, stops=stops, same_version=same_version)

    return [_change(one, change) for one in chosen]


def mark(broker: Broker, engine: Engine, chosen: Sequence[Chosen], state: TaskState, *, by: str) -> list[Changed]:
    """Give these task instances a state by hand; running ones are stopped, and get it when they end."""

    def change(one: Chosen) -> list[int]:
        rewrite.mark(broker, engine, one.run, one.indices, state, by=by)
        return []

    return [_change(one, change) for one in chosen]


def _change(one: Chosen, change: Callable[[Chosen], list[int]]) -> Changed:
    try:
        left = set(change(one))
    except Conflict as error:
        return Changed(run=one.run, done=one.only(()), refused=one, why=error.message)
    refused = one.only(left)
    names = ", ".join(task.task_id for task in refused.tasks)
    why = f"{names} cannot be cleared now: they run, or the run is being cancelled" if left else ""
    return Changed(run=one.run, done=one.only(set(one.indices) - left), refused=refused, why=why)


def of_whole_run(broker: Broker, engine: Engine, run: RunRecord, state: TaskState) -> Chosen:
    """Return the task instances that are to be marked so that all of a run is a success, or has failed.

    For a success all that is neither that nor skipped; for a failure what has not ended, or, where all has and none of it makes the run fail,
    its last tasks.
    """
    found = scope.of_runs(broker, engine, [run], Scope())
    if not found:
        raise Conflict(f"run {run.run_id} of {run.dag_id} has no task that can be marked")
    own, = found
    state_of = {task.index: own.states.get(task.task_id, TaskState.PENDING) for task in own.tasks}
    if state is TaskState.SUCCESS:
        return own.only({index for index, is_at in state_of.items() if is_at not in _GOOD})
    open_ones = {index for index, is_at in state_of.items() if is_at not in TERMINAL_STATES}
    last = {task.index for task in own.tasks if not task.downstream and state_of[task.index] is not TaskState.REMOVED}
    return own.only(open_ones or (set() if any(state_of[index] in FAILURE_STATES for index in last) else last))
