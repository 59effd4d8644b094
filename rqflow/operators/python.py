"""Python callables, run in a process of their own from the DAG source that travels with the version."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from rqflow.dag.plain import plain
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, child, from_result, python_child


class PythonOperator(BaseOperator):
    """Call `python_callable` with `op_args` and `op_kwargs`; what it returns becomes the XCom.

    Of the template context it gets the variables that its signature names, all of them for `**context`. With `python=` an interpreter of
    another environment runs the source of the function alone, with arguments that JSON can hold.
    """

    kind: ClassVar[str] = "python"
    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    field_names: ClassVar[Sequence[str]] = ("python_callable", "op_args", "op_kwargs", "templates_dict")

    def __init__(
        self,
        *,
        python_callable: Any,
        op_args: Sequence[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: Mapping[str, Any] | None = None,
        provide_context: bool = True,
        **kwargs: Any,
    ) -> None:
        """Make the task; `provide_context` is taken and ignored, since the signature tells what is wanted."""
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_args, self.op_kwargs, self.templates_dict = op_args, op_kwargs, templates_dict
        self.provide_context = provide_context
        if not callable(python_callable):
            report(f"task {self.task_id}: python_callable must be a function, not {python_callable!r}: was it called?", self.origin)

    @property
    def is_alone(self) -> bool:
        """Whether the function runs under an interpreter of another environment, without the rest of its file."""
        return self.argument("python") is not None and not self.is_authored

    def needs_source(self, wanted: bool) -> bool:  # noqa: ARG002 (the callable is in the source)
        """Tell whether the callable is run from the DAG's source."""
        return not self.is_alone

    def more_fields(self) -> dict[str, Any]:
        """Return the source of the function when it runs alone."""
        if not self.is_alone:
            return {}
        for name in ("op_args", "op_kwargs", "templates_dict"):
            if not plain(getattr(self, name))[1]:
                report(f"task {self.task_id}: {name} must be JSON values to be given to another Python", self.origin)
        return {"source": _source(self), "function": getattr(self.python_callable, "__name__", "")}

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child."""
        if job.task.needs_source or not job.task.python:
            return python_child(job, fields)
        return child(job, job.task.python, function_spec(fields, job), fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Call the function."""
        known = {**context, "templates_dict": self.templates_dict}
        args, kwargs = list(self.op_args or ()), dict(self.op_kwargs or {})
        return self.python_callable(*args, **keyword_arguments(self.python_callable, args, kwargs, known))


def function_spec(fields: Mapping[str, Any], job: TryJob) -> dict[str, Any]:
    """Return the instructions for the runner under an interpreter of another environment: the source of one function, and its arguments."""
    return {
        "mode": "function", "source": fields["source"], "function": fields["function"], "args": fields.get("op_args") or [],
        "kwargs": fields.get("op_kwargs") or {}, "context": {**_json_values(job.context), "templates_dict": fields.get("templates_dict")},
    }  # fmt: skip


def keyword_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `kwargs` with those variables of `context` added that `function` takes by name and `args` do not fill."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # Some built-in functions have no signature.
        return dict(kwargs)
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    filled = {p.name for p in by_position[: len(args)]} | {p.name for p in parameters if p.kind is p.POSITIONAL_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        wanted = set(context) - filled
    else:
        wanted = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - filled
    return {**{name: context[name] for name in wanted if name in context}, **kwargs}


def _source(task: PythonOperator) -> str:
    function: Any = task.python_callable
    while isinstance(function, partial):
        function = function.func
    if getattr(function, "__name__", "<lambda>") == "<lambda>" or not inspect.isfunction(function):
        report(f"task {task.task_id}: only a function defined by def can be given to another Python", task.origin)
        return ""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except OSError:
        report(f"task {task.task_id}: the source of {function.__name__} is not to be found", task.origin)
        return ""


def _json_values(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return those variables of the context that JSON can hold."""
    found = {}
    for name, value in context.items():
        if isinstance(value, str | int | float | bool | list | dict | None):
            try:
                found[name] = json.loads(json.dumps(value))
            except (TypeError, ValueError):
                continue
    return found
