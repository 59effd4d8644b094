"""DAG: what an author makes in a file. It only lives while the file loads; what travels is the version made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rqflow.dag import scope, zones
from rqflow.dag.arguments import ABSENT, DAG_ALIASES, DAG_ARGUMENTS, renamed
from rqflow.dag.graph import topological_order
from rqflow.dag.params import specs_of, values_of
from rqflow.dag.problems import Notes, author_place, check_id, nearest, noting, report, warn
from rqflow.dag.readers import shown
from rqflow.dag.task import BaseOperator
from rqflow.dag.taskgroup import TaskGroup
from rqflow.dag.timetable import Rhythm, zone_name
from rqflow.exceptions import TaskNotFound


class Collected(list["DAG"]):
    """The DAGs whose `with` block was opened while a file loaded, in that order, and what was found on the way."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self.notes = notes


_collecting: list[Collected] = []
#: Other names of the argument `schedule`.
_SCHEDULES = ("schedule_interval", "timetable")


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect DAGs, problems and warnings while the block loads a file."""
    with noting() as notes, scope.fresh():
        collected = Collected(notes)
        _collecting.append(collected)
        try:
            yield collected
        finally:
            _collecting.pop()


def authored(collected: Collected, namespace: Mapping[str, Any]) -> list[DAG]:
    """Return the DAGs that count: those with a `with` block, and those that are globals of the file's `namespace`, each once.

    Reports two DAGs of one id.
    """
    found: dict[str, DAG] = {}
    for dag in [*collected, *(value for value in namespace.values() if isinstance(value, DAG))]:
        first = found.setdefault(dag.dag_id, dag)
        if first is not dag:
            report(f"dag_id {dag.dag_id!r} is already that of the DAG in line {first.origin.line}", dag.origin)
    return list(found.values())


class DAG:
    """Tasks with edges between them, and when they run. Takes the arguments of all generations of Airflow; arguments.py has the list."""

    schedule: Any
    default_args: dict[str, Any]
    params: dict[str, Any]
    doc_md: Any
    catchup: bool | None
    max_active_tasks: int | None
    template_searchpath: tuple[str, ...]
    user_defined_macros: dict[str, Any] | None
    user_defined_filters: dict[str, Any] | None
    jinja_environment_kwargs: dict[str, Any] | None
    #: It stands in the place of a task of another DAG.
    is_subdag: bool = False

    def __init__(
        self, dag_id: str, description: str | None = None, schedule: Any = ABSENT, start_date: Any = None, end_date: Any = None, **kwargs: Any
    ) -> None:
        """Make an empty DAG; a bad value is reported with its line, an unknown argument ignored with a warning."""
        self.origin = author_place()
        self.dag_id = dag_id
        self.description = description
        check_id("dag_id", dag_id, self.origin)
        self.schedule = self._one_schedule({"schedule": schedule, **{name: kwargs.pop(name) for name in _SCHEDULES if name in kwargs}})
        self.__dict__.update({name: argument.default for name, argument in DAG_ARGUMENTS.items()})
        self._take(renamed({"start_date": start_date, "end_date": end_date, **kwargs}, DAG_ALIASES))
        self._settle_defaults()
        self.task_dict: dict[str, BaseOperator] = {}
        self.task_groups: dict[str, TaskGroup] = {}
        self.edge_labels: dict[tuple[str, str], str] = {}
        self.task_group = TaskGroup.root(self)

    def _one_schedule(self, given: dict[str, Any]) -> Any:
        said = {name: value for name, value in given.items() if value is not ABSENT}
        told = {name: value for name, value in said.items() if value is not None}
        if len(told) > 1:
            report(f"DAG {self.dag_id}: {' and '.join(told)} are given; give one of them", self.origin)
        return next(iter(told.values())) if told else None if said else ABSENT

    def _take(self, named: dict[str, Any]) -> None:
        for name, value in named.items():
            if name in DAG_ARGUMENTS:
                setattr(self, name, self._checked(name, value))
            else:
                warn(f"DAG takes no argument {name}; it is ignored{nearest(name, DAG_ARGUMENTS)}", self.origin)

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return DAG_ARGUMENTS[name].read(value)
        except ValueError as error:
            report(f"DAG {self.dag_id}: {name}={shown(name, value)} {error}", self.origin)
            return DAG_ARGUMENTS[name].default

    def _settle_defaults(self) -> None:
        """Take params, start_date and end_date out of default_args as Airflow does."""
        self.default_args = dict(self.__dict__["default_args"] or {})
        params = {**(self.default_args.pop("params", None) or {}), **(self.__dict__["params"] or {})}
        self.written_params = params
        self.param_specs = specs_of(params)
        self.params = values_of(params)
        for name in ("start_date", "end_date"):
            if self.__dict__[name] is None and self.default_args.get(name) is not None:
                self.__dict__[name] = self._checked(name, self.default_args[name])

    def argument(self, name: str) -> Any:
        """Return the value of an argument as it is now; one that was assigned after the constructor is checked here."""
        return self._checked(name, self.__dict__[name])

    @property
    def schedule_interval(self) -> Any:
        """The schedule, under its name until Airflow 2.4."""
        return self.schedule

    @schedule_interval.setter
    def schedule_interval(self, schedule: Any) -> None:
        self.schedule = schedule

    @property
    def concurrency(self) -> int | None:
        """How many of its tasks may run together, under its name until Airflow 2.2."""
        return self.max_active_tasks

    @concurrency.setter
    def concurrency(self, tasks: int | None) -> None:
        self.max_active_tasks = tasks

    @property
    def timezone(self) -> str:
        """The name of the time zone in which the schedule is meant: its own, else that of start_date, else core.default_timezone."""
        if isinstance(self.schedule, Rhythm) and self.schedule.timezone:
            return self.schedule.timezone
        start = self.argument("start_date")
        return zone_name(start.tzinfo if start else zones.assumed())

    @property
    def fileloc(self) -> str:
        """The file that made the DAG."""
        return self.origin.file

    @property
    def folder(self) -> str:
        """The folder of that file."""
        return str(Path(self.origin.file).parent)

    @property
    def tasks(self) -> list[BaseOperator]:
        """The tasks in the order in which they were made."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        """Their ids."""
        return list(self.task_dict)

    @property
    def task_count(self) -> int:
        """Their number."""
        return len(self.task_dict)

    @property
    def roots(self) -> list[BaseOperator]:
        """The tasks without upstream tasks."""
        return [task for task in self.tasks if not task.upstream_ids]

    @property
    def leaves(self) -> list[BaseOperator]:
        """The tasks without downstream tasks."""
        return [task for task in self.tasks if not task.downstream_ids]

    def add_task(self, task: BaseOperator, group: TaskGroup | None = None) -> None:
        """Put a task into the DAG, and into `group` when one is given; reports a task_id that is taken."""
        other = self.task_dict.get(task.task_id)
        if other is task:
            return
        if other is not None or task.task_id in self.task_groups:
            where = f"by the task in line {other.origin.line}" if other is not None else "by a task group"
            report(f"DAG {self.dag_id}: task_id {task.task_id!r} is already used {where}", task.origin)
        else:
            self.task_dict[task.task_id] = task
            (group or self.task_group).children[task.task_id] = task
        task.join(self, group or self.task_group)

    def add_tasks(self, tasks: list[BaseOperator]) -> None:
        """Put several tasks into the DAG."""
        for task in tasks:
            self.add_task(task)

    def has_task(self, task_id: str) -> bool:
        """Tell whether the DAG has a task of this id."""
        return task_id in self.task_dict

    def get_task(self, task_id: str, include_subdags: bool = False) -> BaseOperator:  # noqa: ARG002 (Airflow's signature)
        """Return the task of this id; raises TaskNotFound."""
        if task_id not in self.task_dict:
            raise TaskNotFound(f"DAG {self.dag_id} has no task {task_id!r}{nearest(task_id, self.task_dict)}")
        return self.task_dict[task_id]

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """Link two tasks by their ids."""
        self.get_task(upstream_task_id).set_downstream(self.get_task(downstream_task_id))

    def topological_sort(self) -> tuple[BaseOperator, ...]:
        """Return the tasks, each after its upstream tasks; raises graphlib.CycleError."""
        order = topological_order({task.task_id: task.upstream_ids for task in self.tasks})
        return tuple(self.task_dict[task_id] for task_id in order)

    def cli(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: files call this under `if __name__ == "__main__"`."""

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: files call this under `if __name__ == "__main__"`."""

    def test(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: files call this under `if __name__ == "__main__"`; `rqflow dag test FILE` runs a DAG."""

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: files call this under `if __name__ == "__main__"`."""

    def __enter__(self) -> DAG:
        """Let what is made in the block belong to this DAG."""
        scope.enter(self.task_group)
        if _collecting and not any(dag is self for dag in _collecting[-1]):
            _collecting[-1].append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the block."""
        scope.leave(self.task_group)

    def __repr__(self) -> str:
        """Return the DAG's id."""
        return f"<DAG: {self.dag_id}>"
