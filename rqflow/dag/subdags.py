"""SubDags: a DAG in the place of a task becomes a group of the DAG around it, before the version is made and before a task is run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from rqflow.dag.model import DAG
from rqflow.dag.params import values_of
from rqflow.dag.problems import report, warn
from rqflow.dag.task import BaseOperator
from rqflow.dag.taskgroup import TaskGroup

#: The kind of the operator that stands for a DAG.
KIND = "subdag"


def expand(dag: DAG) -> None:
    """Put the tasks of its SubDags into `dag`, each `child.task` in a group `child`; those within them first. Done again, it changes nothing."""
    for task in dag.tasks:
        inner = getattr(task, "subdag", None)
        if task.kind == KIND and isinstance(inner, DAG) and inner is not dag:
            expand(inner)
            _replace(dag, task, inner)


def _replace(dag: DAG, operator: BaseOperator, inner: DAG) -> None:
    prefix, around = operator.task_id, operator.task_group or dag.task_group
    del dag.task_dict[prefix]
    around.children.pop(prefix, None)
    group = TaskGroup(operator.label, parent_group=around, dag=dag, tooltip=str(inner.description or ""))
    group.subdag_id = inner.dag_id
    inside = inner.tasks
    names = {task.task_id for task in inside}
    roots = [f"{prefix}.{task.task_id}" for task in inside if names.isdisjoint(task.upstream_ids)]
    leaves = [f"{prefix}.{task.task_id}" for task in inside if names.isdisjoint(task.downstream_ids)]
    _move_groups(dag, group, inner)
    for task in inside:
        _move(dag, group, inner, task)
    _link(dag, operator, roots, leaves)
    _take_over(dag, group, inner)
    if not inside:
        warn(f"the SubDag {inner.dag_id} has no tasks", operator.origin)


def _move_groups(dag: DAG, group: TaskGroup, inner: DAG) -> None:
    for found in inner.task_groups.values():
        found.group_id, found.dag = f"{group.group_id}.{found.group_id}", dag
        if found.parent_group is inner.task_group:
            found.parent_group = group
            group.children[found.group_id] = found
        dag.task_groups[found.group_id] = found
    for found in inner.task_groups.values():
        found.children = {f"{group.group_id}.{name}": child for name, child in found.children.items()}


def _move(dag: DAG, group: TaskGroup, inner: DAG, task: BaseOperator) -> None:
    """Give a task its longer id and its place in `dag`; what the SubDag says for all of its tasks is said for it."""
    prefix, was_root = group.group_id, task.task_group is inner.task_group
    task.task_id = f"{prefix}.{task.task_id}"
    task.upstream_ids = {f"{prefix}.{name}": None for name in task.upstream_ids}
    task.downstream_ids = {f"{prefix}.{name}": None for name in task.downstream_ids}
    if other := dag.task_dict.get(task.task_id):
        report(f"DAG {dag.dag_id}: task_id {task.task_id!r} is already used by the task in line {other.origin.line}", task.origin)
    dag.task_dict[task.task_id] = task
    if was_root:
        group.children[task.task_id] = task
    task.join(dag, group if was_root else task.task_group or group)
    task.own_dag = task.own_dag or inner
    task.params = {**values_of(inner.params), **(task.params or {})}
    for name, later in (("start_date", max), ("end_date", min)):
        dates = [date for date in (task.argument(name), inner.argument(name)) if date is not None]
        setattr(task, name, later(dates, default=None))


def _link(dag: DAG, operator: BaseOperator, roots: Collection[str], leaves: Collection[str]) -> None:
    """Lead the edges into the operator to the roots, and those out of it from the leaves; past it when there are none."""
    name, before, after = operator.task_id, list(operator.upstream_ids), list(operator.downstream_ids)
    for other in before:
        dag.task_dict[other].downstream_ids = _put(dag.task_dict[other].downstream_ids, name, roots or after)
    for other in after:
        dag.task_dict[other].upstream_ids = _put(dag.task_dict[other].upstream_ids, name, leaves or before)
    for root in roots:
        dag.task_dict[root].upstream_ids = dict.fromkeys(before)
        if before:
            dag.task_dict[root].__dict__["trigger_rule"] = operator.argument("trigger_rule")
    for leaf in leaves:
        dag.task_dict[leaf].downstream_ids = dict.fromkeys(after)
    for (upstream, downstream), label in list(dag.edge_labels.items()):
        if name in (upstream, downstream):
            del dag.edge_labels[upstream, downstream]
            starts, ends = (leaves if upstream == name else [upstream]), (roots if downstream == name else [downstream])
            dag.edge_labels.update({(start, end): label for start in starts for end in ends})


def _put(ids: Iterable[str], name: str, others: Iterable[str]) -> dict[str, None]:
    """Return the ids with those of `others` in the place of `name`."""
    return dict.fromkeys(one for known in ids for one in (others if known == name else [known]))


def _take_over(dag: DAG, group: TaskGroup, inner: DAG) -> None:
    """Let templates of the SubDag find what it has; where both have something of one name, the DAG around it wins."""
    for name in ("user_defined_macros", "user_defined_filters"):
        own: dict[str, Any] = {**(getattr(inner, name) or {}), **(getattr(dag, name) or {})}
        if own:
            setattr(dag, name, own)
    dag.template_searchpath = tuple(dict.fromkeys((*dag.argument("template_searchpath"), *inner.argument("template_searchpath"))))
    for (upstream, downstream), label in inner.edge_labels.items():
        dag.edge_labels[f"{group.group_id}.{upstream}", f"{group.group_id}.{downstream}"] = label
