"""TaskGroup: tasks under a common name, which can be linked as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rqflow.dag import scope
from rqflow.dag.links import Linkable, Node
from rqflow.dag.problems import author_place, check_id, report, warn

if TYPE_CHECKING:
    from rqflow.dag.model import DAG
    from rqflow.dag.task import BaseOperator

_DECORATION = frozenset({"ui_color", "ui_fgcolor", "group_display_name"})


class TaskGroup(Linkable):
    """A group of tasks and groups. The root group of each DAG has the id ""."""

    def __init__(
        self,
        group_id: str,
        prefix_group_id: bool = True,
        parent_group: TaskGroup | None = None,
        dag: DAG | None = None,
        default_args: Mapping[str, Any] | None = None,
        tooltip: str = "",
        **kwargs: Any,
    ) -> None:
        """Make a group in `parent_group`, in the open group, or in `dag`; its tasks' ids begin with the group's unless told otherwise."""
        self.origin = author_place()
        self.prefix_group_id = prefix_group_id
        self.default_args = dict(default_args or {})
        self.tooltip = tooltip
        self.children: dict[str, BaseOperator | TaskGroup] = {}
        #: The dag_id of the SubDag that became this group.
        self.subdag_id = ""
        self.label = group_id
        dag = dag or (parent_group.dag if parent_group is not None else scope.current_dag())
        self.parent_group = parent = parent_group or scope.current_group(dag)
        self.dag: DAG | None = dag
        self.group_id = parent.child_id(group_id) if parent is not None else group_id
        suffixed = bool(kwargs.pop("add_suffix_on_collision", False))
        for name in kwargs.keys() - _DECORATION:
            warn(f"TaskGroup takes no argument {name}; it is ignored", self.origin)
        if dag is None or parent is None:
            report(f"task group {group_id!r} is outside of any DAG", self.origin)
        else:
            self._register(dag, parent, suffixed)

    @classmethod
    def root(cls, dag: DAG) -> TaskGroup:
        """Return the group that holds everything of `dag`."""
        group = cls.__new__(cls)
        group.origin, group.prefix_group_id, group.default_args, group.tooltip = dag.origin, True, {}, ""
        group.children, group.label, group.group_id, group.parent_group, group.dag, group.subdag_id = {}, "", "", None, dag, ""
        return group

    def _register(self, dag: DAG, parent: TaskGroup, suffixed: bool) -> None:
        """Find a free id and enter the group into its parent and its DAG."""
        if suffixed:
            wished, number = self.group_id, 0
            while self.group_id in dag.task_groups or dag.has_task(self.group_id):
                number += 1
                self.group_id = f"{wished}__{number}"
        check_id("group_id", self.group_id, self.origin)
        if self.group_id in dag.task_groups or dag.has_task(self.group_id):
            report(f"DAG {dag.dag_id} has {self.group_id!r} twice: the id of a group must not be that of a group or task", self.origin)
            return
        dag.task_groups[self.group_id] = parent.children[self.group_id] = self

    def child_id(self, label: str) -> str:
        """Return the id that a task or group named `label` has in this group."""
        return f"{self.group_id}.{label}" if self.prefix_group_id and self.group_id else label

    def all_default_args(self) -> dict[str, Any]:
        """Return the default_args of the groups around this one with its own laid over them."""
        outer = self.parent_group.all_default_args() if self.parent_group is not None else {}
        return {**outer, **self.default_args}

    def tasks(self) -> Iterator[BaseOperator]:
        """Give the tasks of this group and of the groups in it."""
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield from child.tasks()
            else:
                yield child

    __iter__ = tasks

    def get_child_by_label(self, label: str) -> BaseOperator | TaskGroup:
        """Return the task or group that was named `label` in this group; raises KeyError."""
        return self.children[self.child_id(label)]

    def heads(self) -> Sequence[Node]:
        """Return the tasks that have no upstream task in the group."""
        inside = {task.task_id: task for task in self.tasks()}
        return [task for task in inside.values() if inside.keys().isdisjoint(task.upstream_ids)]

    def tails(self) -> Sequence[Node]:
        """Return the tasks that have no downstream task in the group."""
        inside = {task.task_id: task for task in self.tasks()}
        return [task for task in inside.values() if inside.keys().isdisjoint(task.downstream_ids)]

    def __enter__(self) -> TaskGroup:
        """Let what is made in the block belong to this group."""
        scope.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the block."""
        scope.leave(self)
