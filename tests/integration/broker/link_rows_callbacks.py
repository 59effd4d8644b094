"""The rows of the places by which calls of authors' functions travel."""

from __future__ import annotations

import json

from rqflow.broker import callbacks, keys
from rqflow.dag.version import Version
from tests.integration.broker.link_world import LOOKS, READ, STEP, Case, World, row, same, true
from tests.unit.builders import a_run, a_version

MACHINE = "host.dir"
ORDER = {"kind": "failure", "task_id": "a", "version": "v", "run": json.loads(a_run(a_version({"a": []})).to_json())}


def a_sent_one(w: World) -> None:
    callbacks.send(w.near, f"{MACHINE}.1", "c1", ORDER, w.version)


def a_version_of(w: World) -> Version | None:
    found = callbacks.version(w.near, w.version.sha)
    return found.parse() if found else None


@row("broker/callbacks.py:send", STEP)
def _(w: World) -> Case:
    return Case(call=lambda: callbacks.send(w.far, f"{MACHINE}.1", "c1", ORDER, w.version), check=true(
        lambda: callbacks.orders(w.near, MACHINE) == {"c1": ORDER}, lambda: a_version_of(w) == w.version,
        lambda: w.db.ttl(keys.CALLBACK_VERSION + w.version.sha) > 0))


@row("broker/callbacks.py:withdraw", STEP)
def _(w: World) -> Case:
    a_sent_one(w)
    return Case(call=lambda: callbacks.withdraw(w.far, MACHINE, "c1"), check=true(lambda: callbacks.sent(w.near, MACHINE) == set()))


@row("broker/callbacks.py:sent", READ)
def _(w: World) -> Case:
    a_sent_one(w)
    return Case(call=lambda: callbacks.sent(w.far, MACHINE), check=same({"c1"}))


@row("broker/callbacks.py:orders", READ)
def _(w: World) -> Case:
    a_sent_one(w)
    return Case(call=lambda: callbacks.orders(w.far, MACHINE), check=same({"c1": ORDER}))


@row("broker/callbacks.py:version", READ)
def _(w: World) -> Case:
    a_sent_one(w)
    return Case(call=lambda: callbacks.version(w.far, w.version.sha), check=true(lambda: a_version_of(w) == w.version))


@row("broker/callbacks.py:tell", LOOKS)
def _(w: World) -> Case:
    a_sent_one(w)

    def told() -> set[str]:
        return {event["id"] for _, fields in w.db.xrange(keys.EVENTS) for event in json.loads(fields[b"e"]) if event["kind"] == "callback"}

    return Case(call=lambda: callbacks.tell(w.far, MACHINE, "c1", w.run, {"state": "success"}), check=true(
        lambda: callbacks.sent(w.near, MACHINE) == set(), lambda: told() == {"c1"}))
