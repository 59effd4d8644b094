"""Runs of some tasks of a DAG only, and of tasks in another pool than their own: what a RunOptions makes of a version. Pure."""

from __future__ import annotations

from dataclasses import replace

from rqflow.dag import patterns
from rqflow.dag.run import RunInfo, RunOptions
from rqflow.dag.version import TaskSpec, Version


def chosen(version: Version, options: RunOptions) -> frozenset[int]:
    """Return the indices of the tasks that a run with these options has.

    Raises UsageError for a regular expression that is none, or takes too long.
    """
    if not options.task_regex:
        return frozenset(range(len(version.tasks)))
    found = {version.tasks[place].index for place in patterns.found_in(options.task_regex, [task.task_id for task in version.tasks])}
    rest = [] if options.alone else list(found)
    while rest:
        for index in version.tasks[rest.pop()].upstream:
            if index not in found:
                found.add(index)
                rest.append(index)
    return frozenset(found)


def left_out(version: Version, options: RunOptions) -> frozenset[int]:
    """Return the indices of the tasks that a run with these options has not."""
    return frozenset(range(len(version.tasks))) - chosen(version, options) if options.task_regex else frozenset()


def as_in(run: RunInfo | None, task: TaskSpec) -> TaskSpec:
    """Return a task as it is in this run: in the run's pool, where that has one."""
    return replace(task, pool=run.options.pool) if run and run.options.pool else task
