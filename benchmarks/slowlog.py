"""What Redis notes of calls: how long each took, by the name of the step where it was one of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import redis

from rqflow.broker import sources


@cache
def _steps() -> dict[str, str]:
    """Return {sha1 of the script, or name of the function: name} of the Lua steps."""
    names = [path.name.removesuffix(".lua") for path in (files("rqflow.broker") / "lua").iterdir() if path.name.endswith(".lua")]
    scripts = {hashlib.sha1(sources.script(name).encode()).hexdigest(): name for name in names if name not in sources.SHARED}
    return scripts | {sources.library(name)[0]: name for name in sources.IN_LIBRARIES}


def note(connection: redis.Redis, *, slower_than: int, most: int) -> None:
    """Let Redis note, from now on, up to `most` calls that take longer than so many microseconds (-1: none); what it had noted goes."""
    connection.config_set("slowlog-max-len", most)
    connection.config_set("slowlog-log-slower-than", slower_than)
    connection.slowlog_reset()


def noted(connection: redis.Redis) -> Iterator[tuple[str, int]]:
    """Give (command or `step NAME`, microseconds) of each call that was noted. Calls that a step makes are part of it."""
    for entry in connection.slowlog_get(connection.slowlog_len()):
        command, *arguments = entry["command"].decode(errors="replace").split(" ")
        name = command.lower()
        yield f"step {_steps().get(arguments[0], arguments[0][:8])}" if name in {"evalsha", "fcall"} else name, entry["duration"]
