"""What is where on this machine, and what is live, without starting or changing anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import redis

from rqflow.broker import protocol, unserved
from rqflow.broker.logstream import LogStream
from rqflow.deploy import embedded, live, statedir
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings, without_password


def places(settings: Settings) -> dict[str, str]:
    """Return paths and back ends by name, passwords left out; what cannot be told says why."""
    machine = statedir.this_machine()
    told = {"host": machine.host, "home": str(settings.home), "config": str(settings.file or "")}
    try:
        state = statedir.locate(settings, machine)
        found = live.resolved(settings, state, machine)
    except RqflowError as error:
        return told | {"state": error.message}
    return told | {
        "state": str(state), "redis": without_password(found.redis.url), "redis_server": "" if settings.redis.url else _server(),
        "database": without_password(found.database.url), "work_dir": found.worker.work_dir, "logs": found.logs.folder,
    }


def live_state(settings: Settings) -> dict[str, Any]:
    """Return what Redis tells of the archive of logs, queues that wait for a worker, and processes that live; empty when it does not answer."""
    try:
        with live.peek(settings) as connection:
            if connection is None:
                return {}
            held = LogStream(connection).held()
            waiting = [str(one) for one in unserved.standing(connection)]
            processes = [asdict(process) for process in protocol.processes(connection)]
    except (redis.exceptions.RedisError, RqflowError):
        return {}
    archive = f"takes no logs since {held.since:%Y-%m-%d %H:%M:%S} UTC: {held.reason}" if held else "takes logs"
    return {"log_archive": archive, "queues_unserved": waiting, "processes": processes}


def _server() -> str:
    try:
        found = embedded.find_server()
    except RqflowError as error:
        return error.message
    return f"{found.path} {found.version[0]}.{found.version[1]}"
