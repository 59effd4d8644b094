"""TaskFlow, as far as a graph needs it: @dag, @task_group and @task.sensor work, any other @task makes a task that stands in for one to come."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rqflow.dag import scope
from rqflow.dag.airflow.mapping import Partial
from rqflow.dag.airflow.standin import operator_class
from rqflow.dag.links import Linkable, flat
from rqflow.dag.model import DAG
from rqflow.dag.params import Param
from rqflow.dag.taskgroup import TaskGroup
from rqflow.dag.xcomarg import XComArg

Function = Callable[..., Any]
#: {kind of @task: what it makes}; as text, because operators/ is a room that dag/ may not import.
_MADE = {"sensor": "rqflow.operators.sensors.python:PythonSensor"}


def _decorator(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that works bare and with arguments: `@x`, `@x()`, `@x(a=1)`."""

    @functools.wraps(apply)
    def decorator(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and inspect.isroutine(args[0]):
            return apply(args[0])
        return lambda function: apply(function, *args, **kwargs)

    return decorator


@_decorator
def dag(function: Function, dag_id: str = "", **options: Any) -> Callable[..., DAG]:
    """Make a function that builds a DAG when it is called; the parameters of the function are params of the DAG."""

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> DAG:
        bound = inspect.signature(function).bind_partial(*args, **kwargs).arguments
        named = inspect.signature(function).parameters
        defaults = {name: bound.get(name, parameter.default) for name, parameter in named.items()}
        own = {name: Param() if value is inspect.Parameter.empty else value for name, value in defaults.items()}
        params = {**(options.get("params") or {}), **own}
        made = DAG(dag_id or function.__name__, **{"doc_md": function.__doc__, **options, "params": params})
        with made:
            function(**{name: f"{{{{ params.{name} }}}}" for name in named})
        return made

    return build


@_decorator
def task_group(function: Function, group_id: str = "", **options: Any) -> Callable[..., Any]:
    """Make a function that puts what it makes into a group of its own."""

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Any:
        about = {"tooltip": function.__doc__ or "", **options}
        with TaskGroup(group_id or function.__name__, add_suffix_on_collision=True, **about) as made:
            result = function(*args, **kwargs)
        return made if result is None else result

    build.expand = lambda **kwargs: build(**kwargs)  # type: ignore[attr-defined]
    build.partial = lambda **kwargs: Partial(build, kwargs)  # type: ignore[attr-defined]
    build.override = lambda **changes: task_group(**{"group_id": group_id, **options, **changes})(function)  # type: ignore[attr-defined]
    return build


class Result(XComArg):
    """What a call of a @task function returns while the file loads: its output, which also is linked like the task."""

    def __getattr__(self, name: str) -> Any:
        """Return what the task has: task_id, set_upstream, as_teardown …"""
        if name.startswith("__") or name == "operator":
            raise AttributeError(name)
        return getattr(self.operator, name)

    def as_setup(self) -> Result:
        """Bear it."""
        return self

    def as_teardown(self, *, setups: Any = (), **_: Any) -> Result:
        """Let it run after its setups."""
        for one in flat(setups):
            self.set_upstream(one)
        return self

    def as_it_is(self, *_: Any) -> Result:
        """Return the output itself."""
        return self

    map = zip = concat = as_it_is

    def __enter__(self) -> Result:
        """Begin the block between a setup and its teardown."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""


class TaskFunction:
    """A function decorated with @task: each call makes a task."""

    def __init__(self, function: Function, path: str, options: Mapping[str, Any]) -> None:
        """Keep the function, the decorator's path and arguments."""
        functools.update_wrapper(self, function)
        self.function, self._path, self._options = function, path, dict(options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make a task that runs after those whose output it is given; outside of a DAG call the function itself."""
        current = scope.current_dag()
        if current is None and "dag" not in self._options:
            return self.function(*args, **kwargs)
        options = {"doc_md": self.function.__doc__, **self._options, "op_args": list(args), "op_kwargs": kwargs}
        task_id = _free_id(str(options.pop("task_id", self.function.__name__)), options.get("dag") or current)
        made = _class_of(self._path)(task_id=task_id, python_callable=self.function, **options)
        for given in (*flat(list(args)), *_values(kwargs)):
            if isinstance(given, Linkable) and not isinstance(given, XComArg):
                made.set_upstream(given)
        return Result(made)

    def override(self, **options: Any) -> TaskFunction:
        """Return the same with other arguments of the decorator."""
        return TaskFunction(self.function, self._path, {**self._options, **options})

    def partial(self, **kwargs: Any) -> Partial:
        """Begin a mapped task."""
        return Partial(self, kwargs)

    def expand(self, **kwargs: Any) -> Any:
        """Make one task that stands in for the mapped ones."""
        return self(**kwargs)

    def expand_kwargs(self, kwargs: Any, **_: Any) -> Any:
        """Make one task that stands in for the mapped ones."""
        return self(expand_kwargs=kwargs)


class TaskDecorator:
    """@task, @task(…), @task.branch, @task.virtualenv(…) and all others."""

    def __init__(self, path: str) -> None:
        """Stand for the decorator `path`."""
        self._path = path

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Decorate a function, bare or with arguments."""
        if len(args) == 1 and not options and callable(args[0]):
            return TaskFunction(args[0], self._path, {})
        return lambda function: TaskFunction(function, self._path, options)

    def __getattr__(self, name: str) -> TaskDecorator:
        """Return a kind of it."""
        if name.startswith("_"):
            raise AttributeError(name)
        return TaskDecorator(f"{self._path}.{name}")


task = TaskDecorator("airflow.decorators.task")
sdk_task = TaskDecorator("airflow.sdk.task")


def _class_of(path: str) -> Callable[..., Any]:
    """Return the class of the tasks that the decorator `path` makes."""
    module, _, name = _MADE.get(path.rpartition(".task.")[2], "").partition(":")
    return getattr(importlib.import_module(module), name) if module else _stand_in(path)


def _stand_in(path: str) -> Callable[..., Any]:
    return lambda python_callable, **options: operator_class(path)(**options)  # noqa: ARG005 (a stand-in calls nothing)


def _free_id(wished: str, dag: DAG | None) -> str:
    """Return `wished`, or the first of wished__1, wished__2 … that is free in the open group."""
    group = scope.current_group(dag)
    number, free = 0, wished
    while dag is not None and group is not None and dag.has_task(group.child_id(free)):
        number += 1
        free = f"{wished}__{number}"
    return free


def _values(kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for value in kwargs.values():
        yield from flat(list(value.values()) if isinstance(value, Mapping) else value)
