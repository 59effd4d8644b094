"""Stand-ins for the names of airflow that rqflow does not have.

While a file loads, a stand-in bears whatever one does with such a name and keeps a note of its use; an operator becomes a task that
keeps its place in the graph. Once a task runs, every use is an error that names it.
"""

from __future__ import annotations

import re
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar

from rqflow.dag.airflow.exceptions import AirflowException
from rqflow.dag.airflow.mapping import Partial
from rqflow.dag.airflow.uses import USES, message
from rqflow.dag.arguments import TASK_ALIASES, TASK_ARGUMENTS
from rqflow.dag.construction import OperatorMeta
from rqflow.dag.links import Linkable, Node
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.dag.xcomarg import xcom_args
from rqflow.exceptions import FailTask

_CAMEL_CASE = re.compile(r"[A-Z].*[a-z]")
_OPERATOR = re.compile(r"(Operator|Sensor|Transfer)(Async)?$")
_ERROR = re.compile(r"(Exception|Error)$|\.exceptions\.")
_TASK = {*TASK_ARGUMENTS, *TASK_ALIASES, "task_id", "dag", "task_group"}
_MAX_DEPTH = 5
_PLAIN = frozenset({str, int, float, bool, type(None)})


def make(path: str) -> Any:
    """Return the stand-in for `path`: a class for CamelCase (an operator or an exception by its name), an object for the rest."""
    USES.made = True
    module, _, name = path.rpartition(".")
    if not _CAMEL_CASE.match(name):
        return stand_in(path)
    if _OPERATOR.search(name):
        return operator_class(path)
    if _ERROR.search(path):
        return type(name, (AirflowException,), {"__module__": module})
    return StandInType(name, (StandIn,), {"__module__": module, "airflow_path": path})


def stand_in(path: str) -> StandIn:
    """Return an object that stands in for `path`, without noting a use."""
    made: StandIn = StandIn.__new__(StandIn)
    module, _, name = path.rpartition(".")
    made.__dict__.update(airflow_path=path, __module__=module, __qualname__=name, __name__=name)
    return made


def operator_class(path: str) -> type[UnsupportedOperator]:
    """Return the class that stands in for the operator `path`."""
    module, _, name = path.rpartition(".")
    namespace = {"__module__": module, "kind": "unsupported", "airflow_path": path, "unsupported": message(path)}
    made: Any = OperatorMeta(name, (UnsupportedOperator,), namespace)
    return made  # type: ignore[no-any-return]


def held_by(value: Any, depth: int = 0) -> Iterator[str]:
    """Give the paths of the stand-ins in the arguments of a task: values, and lists and mappings of them."""
    if type(value) in _PLAIN:
        return
    if isinstance(value, StandIn):
        yield value.airflow_path
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for item in value.values():
            yield from held_by(item, depth + 1)
    elif isinstance(value, list | tuple | set) and depth < _MAX_DEPTH:
        for item in value:
            yield from held_by(item, depth + 1)


class StandInType(ABCMeta):
    """The class of stand-in classes: what one does with the class itself is borne too."""

    airflow_path: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an object; with a task_id, an unknown operator whatever its name."""
        if isinstance(kwargs.get("task_id"), str) and "__init__" not in _own_names(cls):
            return operator_class(cls.airflow_path)(*args, **kwargs)
        USES.note(cls.airflow_path)
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        """Return a stand-in for an attribute of the class."""
        if name.startswith("__") or name == "airflow_path":
            raise AttributeError(name)
        USES.note(f"{cls.airflow_path}.{name}")
        return stand_in(f"{cls.airflow_path}.{name}")

    def __iter__(cls) -> Iterator[Any]:
        """Iterate over nothing, as over an enum without members."""
        return iter(())

    def __getitem__(cls, item: Any) -> Any:
        """Return the class itself, as a generic one is written."""
        return cls


def _own_names(cls: type) -> set[str]:
    """Return the names that an author's subclasses of a stand-in define."""
    return {name for base in cls.__mro__[: cls.__mro__.index(StandIn)] for name in base.__dict__}


class StandIn(Linkable, metaclass=StandInType):
    """An object of a class that rqflow does not have, or a function, or a variable of a module."""

    airflow_path: str = "airflow"

    def __init__(self, *_: Any, **kwargs: Any) -> None:
        """Take anything; named arguments become attributes."""
        self.__dict__.update(kwargs)

    def _used(self, suffix: str = "") -> StandIn:
        USES.note(self.airflow_path)
        return stand_in(f"{self.airflow_path}{suffix}")

    def heads(self) -> Sequence[Node]:
        """Return nothing: an edge to a stand-in leads nowhere."""
        return ()

    def tails(self) -> Sequence[Node]:
        """Return nothing: an edge from a stand-in starts nowhere."""
        return ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return a function that was decorated as it is, a task when there is a task_id, else a stand-in."""
        if len(args) == 1 and not kwargs and isinstance(args[0], FunctionType | type):
            return args[0]
        if isinstance(kwargs.get("task_id"), str):
            return operator_class(self.airflow_path)(*args, **kwargs)
        return self._used("()")

    def __getattr__(self, name: str) -> Any:
        """Return a stand-in for an attribute; a CamelCase one is a class."""
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self.airflow_path}.{name}"
        if _CAMEL_CASE.match(name):
            return make(path)
        USES.note(path)
        return stand_in(path)

    def __getitem__(self, key: Any) -> Any:
        """Return a stand-in."""
        return self._used("[…]")

    def __setitem__(self, key: Any, value: Any) -> None:
        """Bear it."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over nothing."""
        self._used()
        return iter(())

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def __contains__(self, item: object) -> bool:
        """Return False."""
        return False

    def __bool__(self) -> bool:
        """Return True."""
        return True

    def __enter__(self) -> StandIn:
        """Begin a block."""
        return self._used()

    def __exit__(self, *error: object) -> None:
        """End a block."""

    def __repr__(self) -> str:
        """Return the path."""
        return f"<{self.airflow_path}>"

    def __str__(self) -> str:
        """Return the path; as text it may become part of a command, so it counts as a use."""
        self._used()
        return f"<{self.airflow_path}>"

    __fspath__ = __str__


def _bearing(name: str) -> Callable[..., Any]:
    def bear(self: StandIn, *_: Any) -> Any:
        return self._used()

    bear.__name__, bear.__doc__ = name, "Return a stand-in."
    return bear


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "mod", "rmod", "and", "rand", "or", "ror", "neg", "invert"):
    setattr(StandIn, f"__{_name}__", _bearing(f"__{_name}__"))


class UnsupportedOperator(BaseOperator):
    """The task that an operator becomes which rqflow does not have: it keeps what it was given, shows it, and fails when it is run."""

    kind: ClassVar[str] = "unsupported"
    airflow_path: ClassVar[str] = "airflow"

    def __init__(self, *args: Any, task_id: str | None = None, **kwargs: Any) -> None:
        """Take anything; what every task takes is carried out, the rest is kept to be shown."""
        if task_id is None and args and isinstance(args[0], str):
            task_id = args[0]
        if task_id is None:
            report(f"{type(self).__name__} needs task_id", self.origin)
        super().__init__(task_id=task_id or type(self).__name__, **{name: value for name, value in kwargs.items() if name in _TASK})
        USES.note(self.airflow_path, self.origin)
        self.given = {name: value for name, value in kwargs.items() if name not in _TASK}
        self.__dict__.update({name: value for name, value in self.given.items() if not hasattr(type(self), name)})
        for output in xcom_args(self.given):
            self.set_upstream(output)
        if "subdag" in kwargs:
            kwargs["subdag"].is_subdag = True

    def template_names(self) -> tuple[str, ...]:  # type: ignore[override] # The values tell, not the class, which arguments are templates.
        """Return the arguments that hold a template."""
        own = super().template_names()
        return (*own, *(name for name, value in self.given.items() if name not in own and _holds_template(value)))

    def more_fields(self) -> dict[str, Any]:
        """Return what was given."""
        return self.given

    def needs_source(self, wanted: bool) -> bool:  # noqa: ARG002 (it fails before)
        """Return False."""
        return False

    def execute(self, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 (every operator takes the same)
        """Fail: an operator of an author's own calls this."""
        raise FailTask(self.unsupported)

    def __getattr__(self, name: str) -> Any:
        """Return a stand-in for what the operator may have."""
        if name.startswith("_") or "given" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return stand_in(f"{self.airflow_path}.{name}")

    @classmethod
    def partial(cls, **kwargs: Any) -> Partial:
        """Begin a mapped task: `.partial(…).expand(…)`."""
        return Partial(cls, kwargs)


def _holds_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(map(_holds_template, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_template, value))
