"""Edges as authors write them: `a >> [b, c]`, `[a, b] << c`, `set_upstream`, chain, cross_downstream, and labels on edges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from rqflow.dag.problems import report


class Linkable(ABC):
    """Anything that stands at the end of an edge: a task, a group of tasks, the output of a task, a label."""

    @abstractmethod
    def heads(self) -> Sequence[Node]:
        """Return the tasks that an edge into this thing leads to."""

    @abstractmethod
    def tails(self) -> Sequence[Node]:
        """Return the tasks from which an edge out of this thing starts."""

    def set_downstream(self, task_or_task_list: Any, edge_modifier: Label | None = None) -> None:
        """Let `task_or_task_list` run after this."""
        for other in flat(task_or_task_list):
            connect(self, other, edge_modifier)

    def set_upstream(self, task_or_task_list: Any, edge_modifier: Label | None = None) -> None:
        """Let this run after `task_or_task_list`."""
        for other in flat(task_or_task_list):
            connect(other, self, edge_modifier)

    def __rshift__(self, other: Any) -> Any:
        """Let `other` run after this; return it."""
        self.set_downstream(other)
        return other

    def __lshift__(self, other: Any) -> Any:
        """Let this run after `other`; return that."""
        self.set_upstream(other)
        return other

    def __rrshift__(self, other: Any) -> Linkable:
        """Let this run after the tasks of a list; return this."""
        self.set_upstream(other)
        return self

    def __rlshift__(self, other: Any) -> Linkable:
        """Let the tasks of a list run after this; return this."""
        self.set_downstream(other)
        return self


class Node(Linkable):
    """A task as a node: its id and the ids of its direct neighbours, in the order in which they were linked."""

    task_id: str

    def __init__(self) -> None:
        self.upstream_ids: dict[str, None] = {}
        self.downstream_ids: dict[str, None] = {}

    def heads(self) -> Sequence[Node]:
        """Return the task itself."""
        return [self]

    def tails(self) -> Sequence[Node]:
        """Return the task itself."""
        return [self]

    @property
    def upstream_task_ids(self) -> set[str]:
        """The same as a set, under Airflow's name."""
        return set(self.upstream_ids)

    @property
    def downstream_task_ids(self) -> set[str]:
        """The same as a set, under Airflow's name."""
        return set(self.downstream_ids)

    @abstractmethod
    def share_dag(self, other: Node) -> bool:
        """Bring both tasks into one DAG when only one of them has one; report, and return False, when that cannot be."""

    @abstractmethod
    def note_label(self, downstream: Node, label: str) -> None:
        """Keep the label of the edge to `downstream`."""

    def link(self, downstream: Node, label: str = "") -> None:
        """Add the edge to `downstream`."""
        if self.share_dag(downstream):
            self.downstream_ids[downstream.task_id] = None
            downstream.upstream_ids[self.task_id] = None
            if label:
                self.note_label(downstream, label)


class Label(Linkable):
    """A text on an edge: `a >> Label("when it failed") >> b`."""

    def __init__(self, label: str) -> None:
        """Make a label with this text."""
        self.label = str(label)
        self._from: list[Linkable] = []
        self._to: list[Linkable] = []

    def heads(self) -> Sequence[Node]:
        """Return nothing: edges pass through a label."""
        return []

    def tails(self) -> Sequence[Node]:
        """Return nothing: edges pass through a label."""
        return []

    def come_from(self, upstream: Linkable) -> None:
        """Take `upstream` as the beginning of this label's edges."""
        self._from.append(upstream)
        for downstream in self._to:
            connect(upstream, downstream, self)

    def go_to(self, downstream: Linkable) -> None:
        """Take `downstream` as the end of this label's edges."""
        self._to.append(downstream)
        for upstream in self._from:
            connect(upstream, downstream, self)


def flat(value: Any) -> Iterator[Any]:
    """Give the single things of a thing or of a list (of lists) of things."""
    if isinstance(value, Iterable) and not isinstance(value, str | Linkable):
        for item in value:
            yield from flat(item)
    else:
        yield value


def connect(upstream: Any, downstream: Any, label: Label | None = None) -> None:
    """Add the edges from `upstream` to `downstream`; reports what is no task, group or label."""
    for end in (upstream, downstream):
        if not isinstance(end, Linkable):
            report(f"only tasks, groups and lists of them can be linked, not {end!r}")
            return
    if isinstance(upstream, Label):
        upstream.go_to(downstream)
    elif isinstance(downstream, Label):
        downstream.come_from(upstream)
    else:
        for tail in upstream.tails():
            for head in downstream.heads():
                tail.link(head, label.label if label else "")


def chain(*tasks: Any) -> None:
    """Link each argument to the next one; two lists that follow one another are linked item by item and must be equally long."""
    for left, right in pairwise(tasks):
        if isinstance(left, Sequence) and isinstance(right, Sequence):
            if len(left) != len(right):
                report(f"chain: two lists in a row must be equally long, not {len(left)} and {len(right)}")
            for one, other in zip(left, right, strict=False):
                connect(one, other)
        else:
            for one in flat(left):
                for other in flat(right):
                    connect(one, other)


def cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    """Link every task of `from_tasks` to every task of `to_tasks`."""
    for one in flat(from_tasks):
        for other in flat(to_tasks):
            connect(one, other)
