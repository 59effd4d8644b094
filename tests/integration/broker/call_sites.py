"""Every place in rqflow that speaks to Redis, found in the code.

A place in the room `broker` is a public function or method that takes a connection or speaks over one; elsewhere it is any function
that itself calls redis-py, or what RQ and rq-scheduler do with a connection. Whoever calls those of `broker` is no such place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import redis

ROOT = Path(__file__).parents[3] / "rqflow"

#: Modules of `broker` that its public ones are made of.
INNER = {f"broker/{name}.py" for name in ("creation", "faults", "keys", "line", "messages", "rows", "signed", "status", "steps")}
#: Names of what speaks to Redis, and what of it does not.
SPEAKERS = {"connection", "_connection", "pipe", "pipeline", "pubsub"}
STEPS, SENDING = {"steps", "_steps"}, {"call", "call_believed", "call_lastingly", "command", "plain", "send", "together"}
SILENT_PARTS = {"close", "connection_pool", "get_connection_kwargs", "pipeline", "retry"}
#: What RQ and rq-scheduler do with our connection.
INHERITED = {"register_birth", "register_death", "_set_ip_address", "set_state"}
#: Places that need no row, and why.
EXEMPT = {
    "broker/reading.py:LiveState.forget_cached": "speaks to nobody",
    "broker/reading.py:LiveState.learn": "speaks to nobody",
    "broker/broker.py:Broker.hint_channel": "names a channel",
    "broker/broker.py:Broker.lease": "a setting",
    "broker/connection.py:block": "reads an option of the connection",
    "broker/connection.py:longest_wait": "reads an option of the connection",
    "broker/lock.py:leader": "names a lock",
    "deploy/embedded.py:is_ready": "looks whether the private Redis is there, on its own socket",
    "deploy/embedded.py:process_id": "the same",
    "broker/exposure.py:refuse_open_server": "a part of what `connect` asks at the start, and repeats: its row, and test_exposure.py",
    "broker/exposure.py:why_open": "a part of what `connect` asks at the start, and repeats: its row, and test_exposure.py",
    "deploy/lasting.py:Lasting._ask_once": "pings once, and a Redis that is away is what it says: tests/integration/web/test_away.py",
    "deploy/lasting.py:Lasting.broker": "pings before it lends, and a Redis that is away is what it says: tests/integration/web/test_away.py",
    "deploy/standing.py:look": "looks once, and a Redis that is away is what it tells: tests/integration/web/test_metrics.py",
    "deploy/doctor.py:_memory": "looks once, and an error is what it finds: tests/integration/cli/test_doctor.py",
    "deploy/doctor.py:_server": "looks once, and an error is what it finds: tests/integration/cli/test_doctor.py",
    "deploy/doctor.py:_stranger": "looks once, and an error is what it finds: tests/integration/cli/test_doctor.py",
    "deploy/doctor.py:_unreachable": "looks once, and an error is what it finds: tests/integration/cli/test_doctor.py",
    "deploy/health.py:_in_redis": "looks once, and an error is what it finds: tests/integration/cli/test_doctor.py",
    "deploy/embedded.py:open_port": "at a person's command, on the socket of the private Redis: tests/e2e/test_joining.py",
    "scheduler/hub.py:Hub.run": "a loop: tests/e2e/test_away.py",
    "scheduler/scheduler.py:Scheduler.run": "a loop: tests/e2e/test_away.py",
    "worker/listening.py:Subscription._hear": "a loop: tests/integration/worker/test_links.py",
    "worker/listening.py:Subscription._listen": "a loop: tests/integration/worker/test_links.py",
    "worker/vitals.py:Vitals.compare": "a part of Worker.record and Worker._register, which have rows",
    "worker/worker.py:Worker._tell_vitals": "the same",
    "worker/worker.py:Worker._set_ip_address": "a part of Worker._register, which has a row",
    "worker/stock.py:run": "waits as long as it takes: tests/integration/worker/test_links.py",
    "worker/stock.py:_place": "the same",
    "worker/stock.py:Horse.work": "the same",
    "worker/stock.py:Horse._tell": "the same",
    "worker/stock.py:Horse._stay_until_recorded": "the same",
    "worker/stock.py:Horse._is_recorded": "the same",
}


def found_in_the_code() -> set[str]:
    """Return `module:Class.method` of each place, exempt ones too."""
    return {f"{module}:{name}" for module, tree in _modules() for name, function in _functions(tree) if _is_place(module, name, function)}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in ROOT.rglob("*.py"):
        module = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if module not in INNER and (module.startswith("broker/") or {"redis", "rq", "redis.exceptions"} & imported):
            yield module, tree


def _functions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node


def _is_place(module: str, name: str, function: ast.FunctionDef) -> bool:
    if not module.startswith("broker/"):
        return _speaks(function)
    holder, _, own = name.rpartition(".")
    if own.startswith("_") or holder.startswith("_"):
        return False
    takes = any(argument.arg == "connection" for argument in function.args.args)
    return takes or _speaks(function) or holder in {"Broker", "LiveState", "EventStream", "LogStream", "RequestDesk", "Lock"}


def _speaks(function: ast.FunctionDef) -> bool:
    """Tell whether a function itself calls redis-py."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            of = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id if isinstance(node.value, ast.Name) else ""
            command = node.attr not in SILENT_PARTS and (hasattr(redis.Redis, node.attr) or hasattr(redis.client.PubSub, node.attr))
            if (of in SPEAKERS and command) or (of in STEPS and node.attr in SENDING) or node.attr in INHERITED:
                return True
        if isinstance(node, ast.Name) and node.id in {"lastingly", "patiently"}:
            return True
    return False
