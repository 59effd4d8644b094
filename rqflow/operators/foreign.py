"""What operators share that are about runs and tasks of other DAGs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from rqflow.dag.problems import nearest, report
from rqflow.dag.task import BaseOperator


def read_states(task: BaseOperator, name: str, given: Any, known: type[Enum], default: Sequence[str]) -> list[str]:
    """Return the names of states, given as one or several texts or members of enums, or the default for None; reports what is none."""
    if given is None:
        return list(default)
    words: list[str] = [str(getattr(one, "value", one)) for one in ([given] if isinstance(given, str) else list(given))]
    states: list[str] = [str(state.value) for state in known]
    for word in words:
        if word not in states:
            report(f"task {task.task_id}: {name} has {word!r}, which is no {known.__name__}{nearest(word, states)}", task.origin)
    return words
