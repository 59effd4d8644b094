"""Waiting for a Python callable to say yes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rqflow.dag.problems import report
from rqflow.operators.python import keyword_arguments
from rqflow.operators.sensors.base import BaseSensorOperator, PokeReturnValue


class PythonSensor(BaseSensorOperator):
    """Call `python_callable` with `op_args` and `op_kwargs` until it returns a true value, or a PokeReturnValue that is done.

    Of the template context it gets the variables that its signature names, all of them for `**context`.
    """

    kind: ClassVar[str] = "python_sensor"
    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    field_names: ClassVar[tuple[str, ...]] = ("python_callable", "op_args", "op_kwargs", "templates_dict", *BaseSensorOperator.field_names)

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

    def poke(self, context: Mapping[str, Any]) -> Any:
        """Call the function."""
        known = {**context, "templates_dict": self.templates_dict}
        args, kwargs = list(self.op_args or ()), dict(self.op_kwargs or {})
        self.log.info("asking %s", getattr(self.python_callable, "__name__", self.python_callable))
        answer = self.python_callable(*args, **keyword_arguments(self.python_callable, args, kwargs, known))
        return answer if isinstance(answer, PokeReturnValue) else bool(answer)
