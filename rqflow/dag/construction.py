"""How operators are made: default_args are laid under the arguments, each constructor in the chain takes those that it names."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, cast

from rqflow.dag import scope
from rqflow.dag.problems import author_place
from rqflow.exceptions import DagLoadError

Init = Callable[..., None]


def apply_defaults(function: Any) -> Any:
    """Return the function: what Airflow 1.x's decorator of this name did happens for every operator by itself."""
    return function


class OperatorMeta(ABCMeta):
    """Makes each class's own constructor take default_args, and notes where in the author's file an object was made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> OperatorMeta:
        """Make the class with its constructor wrapped; `init_takes` are names that it reads from **kwargs."""
        if "__init__" in namespace:
            namespace["__init__"] = _taking_defaults(namespace["__init__"], namespace.get("init_takes", ()))
        return super().__new__(mcs, name, bases, namespace, **kwargs)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an object, knowing its place before its constructor runs."""
        made: Any = cast("Any", cls).__new__(cls, *args, **kwargs)
        made.origin = author_place()
        made.__init__(*args, **kwargs)
        made.made()
        return made


def _taking_defaults(init: Init, more: Iterable[str]) -> Init:
    """Return the constructor `init` with the arguments that it names, and nobody gave, filled in from default_args."""
    parameters = list(inspect.signature(init).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in named if p.default is p.empty]
    names = [p.name for p in named] + list(more)

    @wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        positional = {p.name: value for p, value in zip(named, args, strict=False)}
        defaults = scope.defaults({**kwargs, **positional})
        kwargs.update({name: defaults[name] for name in names if name in defaults and name not in kwargs and name not in positional})
        missing = [name for name in needed if name not in kwargs and name not in positional]
        if missing:
            where, what = self.origin, f"{type(self).__name__} needs {', '.join(missing)}"
            raise DagLoadError([f"{where.file}:{where.line}: {what}"])
        init(self, *args, **kwargs)

    return wrapped
