"""States of all task instances of many runs, put together by the database: a driver takes longer to read 25,000 rows than all else about them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import String, cast, func, select

from rqflow.states import TaskState
from rqflow.store.engine import Connection
from rqflow.store.tables import task_instance


@dataclass(slots=True)
class Recorded:
    """What the history has of the tasks of a run, by their index in the run's version; a task to which nothing happened is not there."""

    states: dict[int, TaskState] = field(default_factory=dict)
    #: Of those that had more than one try.
    tries: dict[int, int] = field(default_factory=dict)


def of_runs(connection: Connection, run_keys: Collection[str]) -> dict[str, Recorded]:
    """Return {run_key: its task instances} in one question, a row a run, state and number of tries."""
    found = {key: Recorded() for key in run_keys}
    if not found:
        return found
    column = task_instance.c
    indices = func.aggregate_strings(cast(column.task_index, String(11)), ",")
    query = select(column.run_key, column.state, column.try_number, indices).where(column.run_key.in_(list(run_keys)))
    for key, state, number, text in connection.execute(query.group_by(column.run_key, column.state, column.try_number)):
        of_row, run = list(map(int, text.split(","))), found[key]
        run.states.update(dict.fromkeys(of_row, TaskState(state)))
        if number > 1:
            run.tries.update(dict.fromkeys(of_row, number))
    return found


class TaskLine(NamedTuple):
    """A task instance in one line; columns of table task_instance. A tuple: a run may have 10,000."""

    task_index: int
    state: str
    try_number: int
    max_tries: int
    reason: str
    worker: str
    started_at: datetime | None
    ended_at: datetime | None
    version: str | None


_LINE = [task_instance.c[name] for name in TaskLine._fields]


def of_run(connection: Connection, run_key: str) -> dict[int, TaskLine]:
    """Return {index: task instance} of a run; a task to which nothing happened is not there."""
    return {row[0]: TaskLine(*row) for row in connection.execute(select(*_LINE).where(task_instance.c.run_key == run_key))}
