"""What the hub confides to a worker that joined: secrets of tasks that it holds at that moment, sealed for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rqflow.broker import callbacks as calls
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.names import member_of
from rqflow.exceptions import Conflict, NotPermitted
from rqflow.security.entries import CONN, VAR, Entry, sealed_for
from rqflow.security.keyring import Keyring
from rqflow.security.sealing import BoxKey
from rqflow.store import connections, joined, variables
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.wire import encode


def secrets(broker: Broker, engine: Engine, keyring: Keyring, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `wanted` {kind: names} Variables and Connections, sealed as the `claim` says, and the proof that they are the hub's.

    Raises NotPermitted for who has not joined, or does not prove it; Conflict for one that does not hold what it asks for; WrongKey.
    """
    claim = asked["claim"]
    worker, public = str(claim["worker"]), str(claim["to"])

    def look(connection: Connection) -> tuple[joined.JoinedWorker | None, dict[str, dict[str, Entry]]]:
        return joined.get(connection, member_of(worker)), {kind: _stored(connection, kind, names) for kind, names in asked["wanted"].items()}

    member, entries = run_in_transaction(engine, look)
    if member is None:
        raise NotPermitted(f"the worker {worker} has not joined this hub", hint="There: `rqflow worker join`.")
    hub = next((one for one in map(_of_hub, keyring.keys.values()) if one.is_vouched(member.public_key, claim, str(asked["proof"]))), None)
    if hub is None:
        raise NotPermitted(f"who asks for secrets is not the worker {member.name} that joined this hub, or knew another key of the hub",
                           hint="There: `rqflow worker join` again.")
    if not holds(broker, claim):
        raise Conflict(f"the worker {worker} does not hold what it asks secrets for")
    found = {kind: {name: sealed_for(public, keyring, kind, name, entry) for name, entry in named.items()} for kind, named in entries.items()}
    text = encode(found).decode()
    return {"entries": text, "proof": hub.vouch(public, {"entries": text, "nonce": str(asked["nonce"])})}


def holds(broker: Broker, claim: Mapping[str, Any]) -> bool:
    """Tell whether the worker runs the try that it claims to, or has the order for the call of an author's function."""
    worker, execution = str(claim["worker"]), str(claim["execution"])
    if claim["run"]:
        return control.is_held(broker, worker, str(claim["run"]), int(claim["index"]), execution)
    return execution in calls.sent(broker, worker)


@lru_cache(maxsize=8)
def _of_hub(fernet_key: str) -> BoxKey:
    return BoxKey.of_hub(fernet_key)


def opened_for_hub(keyring: Keyring) -> Keyring:
    """Return a keyring that also opens what workers seal for the hub."""
    return Keyring(list(keyring.keys.values()), boxes=[_of_hub(key) for key in keyring.keys.values()])


def _stored(connection: Connection, kind: str, names: list[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for name in map(str, names):
        record = variables.get(connection, name) if kind == VAR else connections.get(connection, name) if kind == CONN else None
        if record:
            found[name] = record.entry
    return found
