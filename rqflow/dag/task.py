"""BaseOperator: what every task is, whatever it does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rqflow.dag import scope
from rqflow.dag.arguments import OWN_ARGUMENTS, TASK_ALIASES, TASK_ARGUMENTS, renamed
from rqflow.dag.construction import OperatorMeta
from rqflow.dag.links import Node
from rqflow.dag.params import values_of
from rqflow.dag.problems import Place, check_id, nearest, report, warn
from rqflow.dag.program import Program, Surroundings
from rqflow.dag.readers import shown
from rqflow.dag.xcomarg import XComArg, xcom_args

if TYPE_CHECKING:
    from rqflow.dag.model import DAG
    from rqflow.dag.taskgroup import TaskGroup

#: Methods that an argument of the same name replaces on one object.
_HOOKS = frozenset({"pre_execute", "post_execute"})
_DEFAULTS = {name: argument.default for name, argument in TASK_ARGUMENTS.items() if name not in _HOOKS}


class BaseOperator(Node, metaclass=OperatorMeta):
    """A task of a DAG. Subclasses say what it does; all of them take the arguments of arguments.py.

    A class of an author's own has `execute(context)`, and `template_fields` that name the attributes to be rendered before.
    """

    #: The name in operators/registry.py under which workers know how to run this; "python": in a Python child, by `execute`.
    kind: ClassVar[str] = "python"
    #: Attributes that go into the version besides `template_fields`.
    field_names: ClassVar[Sequence[str]] = ()
    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()
    #: Not empty: the class stands in for one that rqflow does not have, and this is what to say about it.
    unsupported: ClassVar[str] = ""
    init_takes: ClassVar[Sequence[str]] = (*TASK_ARGUMENTS, *TASK_ALIASES)

    #: What the programs that `execute` starts are given, where a Python child runs it.
    child_surroundings: Surroundings | None = None
    #: The author's line that made the task.
    origin: Place
    params: dict[str, Any]
    #: The SubDag that it was made in, when that became a group of the DAG around it.
    own_dag: DAG | None = None

    def __init__(self, task_id: str, *, dag: DAG | None = None, task_group: TaskGroup | None = None, **kwargs: Any) -> None:
        """Make the task and put it into `dag` (or the open one) and `task_group` (or the open one).

        A bad value is reported with its line; an unknown argument is ignored with a warning, as Airflow 1.x did.
        """
        super().__init__()
        self.__dict__.update(_DEFAULTS)
        self._dag: DAG | None = None
        dag = dag or (task_group.dag if task_group is not None else scope.current_dag())
        group = task_group or scope.current_group(dag)
        self.label = task_id
        self.task_id = group.child_id(task_id) if group is not None else task_id
        check_id("task_id", self.task_id, self.origin)
        self._take(kwargs)
        self.params = self._read["params"] = values_of(self.params or {})
        self.task_group: TaskGroup | None = None
        if dag is not None and isinstance(task_id, str):
            dag.add_task(self, group)

    def _take(self, kwargs: dict[str, Any]) -> None:
        """Read and check the arguments; `_read` keeps them apart from the attributes, which subclasses may use for something else."""
        self._read: dict[str, Any] = {}
        for name, value in renamed(kwargs, TASK_ALIASES).items():
            if name not in TASK_ARGUMENTS:
                warn(f"{type(self).__name__} takes no argument {name}; it is ignored{nearest(name, TASK_ARGUMENTS)}", self.origin)
            elif name not in _HOOKS or value is not None:
                self._read[name] = self._checked(name, value)
        self.__dict__.update(self._read)

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return TASK_ARGUMENTS[name].read(value)
        except ValueError as error:
            report(f"task {self.task_id}: {name}={shown(name, value)} {error}", self.origin)
            return TASK_ARGUMENTS[name].default

    def argument(self, name: str) -> Any:
        """Return the value of an argument as it is now; one that was assigned after the constructor is checked here.

        A class of an author's own may use the names of rqflow's arguments for attributes of its own.
        """
        value, read = self.__dict__[name], self._read.get(name, TASK_ARGUMENTS[name].default)
        if value is read or (self.is_authored and name in OWN_ARGUMENTS):
            return read
        return self._checked(name, value)

    def needs_source(self, wanted: bool) -> bool:  # noqa: ARG002 (subclasses use it)
        """Tell whether a try needs the DAG's source; `wanted` says that something outside of the class, such as macros, does."""
        return True

    def more_fields(self) -> dict[str, Any]:
        """Return what goes into the version's fields and is no attribute."""
        return {}

    def source_files(self) -> tuple[str, ...]:
        """Return the files that must travel with the version: below the DAG file's folder, in template_searchpath, or absolute.

        An env_file travels when its path is relative; an absolute one is the worker's.
        """
        env_file = self.argument("env_file")
        travels = env_file and not env_file.startswith(("/", "~", "{"))
        return (*self.argument("files"), *((env_file,) if travels else ()))

    @property
    def is_authored(self) -> bool:
        """Whether the class is an author's own, so that only the DAG's source knows what it does."""
        return "kind" not in type(self).__dict__

    def made(self) -> None:
        """Finish the object after its constructor: let it run after the tasks whose output it uses."""
        if "task_id" not in self.__dict__:
            report(f"{type(self).__name__}.__init__ does not call super().__init__(**kwargs)", self.origin)
            return
        for name in self.template_names():
            for output in xcom_args(getattr(self, name, None)):
                self.set_upstream(output)

    @classmethod
    def template_names(cls) -> tuple[str, ...]:
        """Return `template_fields`, also when an author wrote a single name."""
        return (cls.template_fields,) if isinstance(cls.template_fields, str) else tuple(cls.template_fields)

    def template_endings(self) -> tuple[str, ...] | None:
        """Return by which endings values of its template fields name files; None: by those that template_files.py has for each field."""
        return tuple(self.template_ext) if self.is_authored else None

    @property
    def dag(self) -> DAG:
        """The DAG of this task; raises AttributeError while it has none."""
        if self._dag is None:
            raise AttributeError(f"task {self.task_id} has no DAG yet")
        return self._dag

    @dag.setter
    def dag(self, dag: DAG) -> None:
        if self._dag is not dag:
            dag.add_task(self)

    def has_dag(self) -> bool:
        """Tell whether the task is in a DAG."""
        return self._dag is not None

    def join(self, dag: DAG, group: TaskGroup) -> None:
        """Note the DAG and the group that this task is in; DAG.add_task calls this."""
        self._dag, self.task_group = dag, group

    def share_dag(self, other: Node) -> bool:
        """Bring both tasks into one DAG; reports two tasks of two DAGs, or of none."""
        assert isinstance(other, BaseOperator)
        mine, others = self._dag, (other.dag if other.has_dag() else None)
        if mine is not None and others is None:
            mine.add_task(other)
        elif others is not None and mine is None:
            others.add_task(self)
        elif mine is None or mine is not others:
            what = "have no DAG yet" if mine is None else "are in two DAGs"
            report(f"tasks {self.task_id} and {other.task_id} cannot be linked: they {what}")
            return False
        return True

    def note_label(self, downstream: Node, label: str) -> None:
        """Keep the label of the edge to `downstream`."""
        self.dag.edge_labels[self.task_id, downstream.task_id] = label

    @property
    def upstream_list(self) -> list[BaseOperator]:
        """The direct upstream tasks."""
        return [self.dag.get_task(task_id) for task_id in self.upstream_ids]

    @property
    def downstream_list(self) -> list[BaseOperator]:
        """The direct downstream tasks."""
        return [self.dag.get_task(task_id) for task_id in self.downstream_ids]

    def get_direct_relatives(self, upstream: bool = False) -> list[BaseOperator]:
        """Return the direct downstream tasks, or the upstream ones."""
        return self.upstream_list if upstream else self.downstream_list

    @property
    def output(self) -> XComArg:
        """What this task returns, to be given to another task as an argument."""
        return XComArg(self)

    @property
    def task_type(self) -> str:
        """The name of the class."""
        return type(self).__name__

    @property
    def log(self) -> logging.Logger:
        """The logger for authors' own operators; its lines are in the task's log."""
        return logging.getLogger(f"rqflow.task.{type(self).__name__}")

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Do the task's work in a Python child, and return what goes into its XCom."""
        raise NotImplementedError(f"{type(self).__name__} has no execute()")

    def as_program(self) -> Program | None:
        """Return, once the fields are rendered, the program that does all of the task's work in place of `execute`; None when there is none."""
        return None

    def pre_execute(self, context: Mapping[str, Any]) -> None:
        """Called before `execute`."""

    def post_execute(self, context: Mapping[str, Any], result: Any = None) -> None:
        """Called after `execute` with what it returned."""

    def on_kill(self) -> None:
        """Called when the task is stopped while `execute` runs."""

    def xcom_push(self, context: Mapping[str, Any], key: str, value: Any) -> None:
        """Leave `value` under `key` for later tasks."""
        context["ti"].xcom_push(key=key, value=value)

    def xcom_pull(self, context: Mapping[str, Any], **kwargs: Any) -> Any:
        """Return what an earlier task left."""
        return context["ti"].xcom_pull(**kwargs)

    def __repr__(self) -> str:
        """Return the class and the task id."""
        return f"<Task({type(self).__name__}): {self.__dict__.get('task_id', '?')}>"
