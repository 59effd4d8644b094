"""The Lua of the steps: put together as a script or as a library of functions, and called as whichever of them Redis takes.

A script is compiled once but run whole at each call, all that the steps share included. A library (Redis 7) runs that once when it is
loaded, and keeps what it has read of versions, which never change. So the step that every task needs is in a library where Redis has them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from rqflow import logs
from rqflow.broker import keys
from rqflow.broker.faults import translated
from rqflow.broker.line import Line
from rqflow.broker.replies import text

logger = logging.getLogger(__name__)

SHARED = ("_core", "_events", "_others", "_rq", "_epoch", "_gates", "_write", "_past", "_runs", "_release", "_try")
#: Steps that are called for each task; the others are scripts.
IN_LIBRARIES = ("turn",)
_PREFIX = "rqflow_"
#: All files, read at the start: an upgrade may replace them while this process runs.
_TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (files("rqflow.broker") / "lua").iterdir() if path.name.endswith(".lua")}


@cache
def script(step: str) -> str:
    """Return the whole Lua source of a step: tables of states, what all steps share, and its own file."""
    return f"{_shared()}\nbegin_call()\n{_spelled(step)}"


@cache
def library(step: str) -> tuple[str, str]:
    """Return the name and the source of the library whose one function, of the same name, is this step. The name changes with the source."""
    body = f"function(KEYS, ARGV)\nbegin_call()\n{_spelled(step)}\nend"
    name = f"{_PREFIX}{step}_{hashlib.sha1((_shared() + body).encode(), usedforsecurity=False).hexdigest()[:12]}"
    return name, f"#!lua name={name}\n{_shared()}\nredis.register_function('{name}', {body})\n"


@cache
def _shared() -> str:
    return "\n".join([keys.lua_tables(), *(_spelled(name) for name in SHARED)])


def _spelled(name: str) -> str:
    """Return a file as it is sent: without what only people read, for a third of it is that, and a worker behind a narrow link sends it itself."""
    lines = (line.strip() for line in _TEXTS[f"{name}.lua"].splitlines())
    return keys.lua_spelled("\n".join(line for line in lines if line and not line.startswith("--")))


class Function:
    """A step as a function of Redis; a script where there are none."""

    def __init__(self, connection: redis.Redis, step: str) -> None:
        """Call `step` over `connection`."""
        self._connection, self._line, self._step = connection, Line(connection), step
        self._name, self._source = library(step)
        self._script: Any = None

    def __call__(self, *, args: Sequence[str | int]) -> Any:
        """Call it and return its reply; loads it when this Redis has it not. Raises redis-py's errors."""
        if self._script is None:
            try:
                return self._call(args)
            except redis.exceptions.ResponseError as error:
                if not _has_no_functions(error):
                    raise
                self._script = self._connection.register_script(script(self._step))
                logger.debug("steps are scripts here: %s", error, extra=logs.context("no_functions"))
        return self._script(args=args)

    def _call(self, args: Sequence[str | int]) -> Any:
        try:
            return self._line("FCALL", self._name, 0, *args)
        except redis.exceptions.ResponseError as error:
            if "function not found" not in str(error).lower():
                raise
        self._connection.function_load(self._source, replace=True)
        return self._line("FCALL", self._name, 0, *args)


def forget_libraries(connection: redis.Redis) -> None:
    """Remove the libraries of other releases, as far as Redis has any; one that is still used is loaded again by who uses it."""
    try:
        found = translated(connection.function_list, f"{_PREFIX}*")
    except redis.exceptions.ResponseError as error:
        if _has_no_functions(error):
            return
        raise
    ours = {library(step)[0] for step in IN_LIBRARIES}
    for name in sorted({_name_of(entry) for entry in found} - ours):
        connection.function_delete(name)
        # Seldom once, but every few seconds while workers of two releases work side by side.
        logger.debug("removed %s, of another release", name, extra=logs.context("library_removed", name=name))


def _name_of(entry: Any) -> str:
    """Return the name of a library in a list of them; the older protocol of Redis gives names and values in turn."""
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return next(text(value) for name, value in pairs if text(name) == "library_name")


def _has_no_functions(error: redis.exceptions.ResponseError) -> bool:
    """Tell whether Redis says that it has no functions, or none for this user."""
    return isinstance(error, redis.exceptions.NoPermissionError) or str(error).lower().startswith("unknown command")
