"""The output of a task as an argument of another one: `op.output` renders to its XCom and makes the other run after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rqflow.dag.links import Linkable, Node
from rqflow.dag.xcom_view import RETURN_VALUE


class XComArg(Linkable):
    """What `operator` leaves under `key`. As text it is the template that pulls it; `resolve` pulls the value itself."""

    def __init__(self, operator: Node, key: str = RETURN_VALUE) -> None:
        """Make the argument for the XCom `key` of `operator`."""
        self.operator = operator
        self.key = key

    def heads(self) -> Sequence[Node]:
        """Return the task itself."""
        return [self.operator]

    def tails(self) -> Sequence[Node]:
        """Return the task itself."""
        return [self.operator]

    def __getitem__(self, key: str) -> XComArg:
        """Return the argument for another XCom of the same task."""
        return XComArg(self.operator, str(key))

    def __iter__(self) -> Iterator[Any]:
        """Refuse: how many values there will be is not known while the file loads."""
        raise TypeError("the output of a task cannot be iterated while the file loads")

    def __str__(self) -> str:
        """Return the template that renders to the value."""
        return f"{{{{ task_instance.xcom_pull(task_ids={self.operator.task_id!r}, key={self.key!r}) }}}}"

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the value in a run, by the template context of the task that uses it."""
        return context["ti"].xcom_pull(task_ids=self.operator.task_id, key=self.key)


def xcom_args(value: Any) -> Iterator[XComArg]:
    """Give every XComArg in `value`, which may be lists and mappings of values."""
    if isinstance(value, XComArg):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from xcom_args(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from xcom_args(item)
