"""Variables: kept sealed in SQL, mirrored sealed into Redis, opened for whoever has the key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow.broker.broker import Broker
from rqflow.exceptions import NotFound, UsageError
from rqflow.recorder import mirroring
from rqflow.security.entries import VAR, is_hidden, opened
from rqflow.security.keyring import Keyring, WrongKey
from rqflow.security.masking import STARS
from rqflow.store import connections, events, variables
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.types import clean
from rqflow.store.variables import VariableRecord

#: Longest name, and most bytes of a value: each worker keeps a copy.
MAX_NAME, MAX_BYTES = 250, 1 << 20
#: What one is made of in an exported file, where there is more than its text.
_PARTS = frozenset({"value", "description", "secret"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A Variable as it is shown."""

    key: str
    #: `***` for a secret that is not to be shown; None when no key at hand opens it.
    value: str | None
    is_secret: bool
    description: str
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A Variable as somebody wants it; what is None stays as it is."""

    value: str | None
    is_secret: bool | None = None
    description: str | None = None


def list_all(engine: Engine, keyring: Keyring) -> tuple[list[Variable], str]:
    """Return all Variables, secrets hidden, and in words why values are missing; empty when none is."""
    with reading(engine) as connection:
        records = variables.list_all(connection)
    wrong = ""
    found = []
    for record in records:
        value: str | None = STARS
        if not is_hidden(record.key, is_secret=bool(record.is_secret)):
            try:
                value = opened(keyring, VAR, record.key, record.entry)
            except WrongKey as error:
                value, wrong = None, str(error)
        found.append(_shown(record, value))
    return found, wrong


def get(engine: Engine, keyring: Keyring, key: str, *, show_secret: bool = False) -> Variable:
    """Return a Variable, its value hidden when it is a secret, unless `show_secret`. Raises NotFound, WrongKey."""
    with reading(engine) as connection:
        record = variables.get(connection, key)
    if record is None:
        raise NotFound(f"there is no Variable {key}", hint="`rqflow var list` shows them.")
    if is_hidden(key, is_secret=bool(record.is_secret)) and not show_secret:
        return _shown(record, STARS)
    return _shown(record, opened(keyring, VAR, key, record.entry))


def put(broker: Broker, engine: Engine, keyring: Keyring, wanted: Mapping[str, Given], *, by: str) -> int:
    """Make or change Variables, all or none; return how many are new.

    Raises UsageError for a name or value that cannot be, WrongKey when what is stored was sealed with a key that is not at hand.
    """
    for key, given in wanted.items():
        check(key, given.value or "")

    def write(connection: Connection) -> int:
        check_keys(connection, keyring)
        new = 0
        for key, given in wanted.items():
            name, sealed = _kept(connection, key, given) if given.value is None else keyring.seal(given.value)
            new += variables.put(connection, key, sealed, secret_key=name, is_secret=given.is_secret,
                                 description=None if given.description is None else clean(given.description))
            events.add(connection, "variable_set", who=by, key=key)
        return new

    new = run_in_transaction(engine, write)
    mirroring.send(broker, engine)
    return new


def _kept(connection: Connection, key: str, given: Given) -> tuple[str | None, str]:
    """Return the key and the value of a Variable that keeps what it has; a secret does so as a secret alone, for else it could be read then."""
    record = variables.get(connection, key)
    if record is None:
        raise UsageError(f"the Variable {key} needs a value")
    if record.is_secret and given.is_secret is False:
        raise UsageError(f"{key} is a secret, and is shown to nobody", hint="Give it a new value with that, or leave it a secret.")
    return record.secret_key, record.value


def remove(broker: Broker, engine: Engine, keys: Sequence[str], *, by: str) -> None:
    """Delete Variables, which needs no key; raises NotFound, and deletes none, when one does not exist."""
    def write(connection: Connection) -> None:
        for key in keys:
            if variables.get(connection, key) is None:
                raise NotFound(f"there is no Variable {key}", hint="`rqflow var list` shows them.")
            events.add(connection, "variable_deleted", who=by, key=key)
        variables.remove(connection, keys)

    run_in_transaction(engine, write)
    mirroring.send(broker, engine)


def exported(engine: Engine, keyring: Keyring, *, with_secrets: bool = True) -> dict[str, Any]:
    """Return all Variables in clear, or those alone that are no secrets, as `read_file` understands it; raises WrongKey."""
    with reading(engine) as connection:
        records = [one for one in variables.list_all(connection) if with_secrets or not is_hidden(one.key, is_secret=bool(one.is_secret))]
    values = {record.key: opened(keyring, VAR, record.key, record.entry) for record in records}
    return {
        record.key: as_exported(Given(value=values[record.key], is_secret=record.is_secret, description=record.description)) for record in records
    }


def read_file(text: str, name: str) -> dict[str, Given]:
    """Return the Variables that the text of an exported file holds, rqflow's or Airflow's; raises UsageError naming it."""
    return of_export(json_object(text, name, "Variables"))


def of_export(plain: Mapping[str, Any]) -> dict[str, Given]:
    """Return the Variables of what an exported file holds."""
    found = {}
    for key, value in plain.items():
        parts = value if isinstance(value, dict) and "value" in value and value.keys() <= _PARTS else {"value": value}
        found[key] = Given(value=as_text(parts["value"]), is_secret=bool(parts["secret"]) if "secret" in parts else None,
                           description=None if parts.get("description") is None else str(parts["description"]))
    return found


def json_object(text: str, name: str, what: str) -> dict[str, Any]:
    """Return the JSON object in the text of the file `name`, which tells `what`; raises UsageError."""
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{name} is no JSON: {error}") from error
    if not isinstance(plain, dict):
        raise UsageError(f"{name} must hold one JSON object, {{name: …}}, of {what}")
    return plain


def as_text(value: Any) -> str:
    """Return a value as it is stored: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check(name: str, value: str = "") -> None:
    """Raise UsageError for a name or value that cannot be stored."""
    if not name.strip() or name != name.strip() or len(name) > MAX_NAME or any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise UsageError(f"a name has 1 to {MAX_NAME} characters, no blank at either end and no control character, not {name[:40]!r}")
    if len(value.encode("utf-8", "replace")) > MAX_BYTES:
        raise UsageError(f"the value of {name} is larger than {MAX_BYTES >> 20} MB", hint="Keep it in a file that the workers see.")


def check_keys(connection: Connection, keyring: Keyring) -> None:
    """Raise WrongKey unless all that is stored can be opened: nobody shall seal with a key that the others do not have."""
    keyring.check({*variables.keys_in_use(connection), *connections.keys_in_use(connection)})



def _shown(record: VariableRecord, value: str | None) -> Variable:
    return Variable(key=record.key, value=value, is_secret=is_hidden(record.key, is_secret=bool(record.is_secret)), description=record.description,
                    updated_at=record.updated_at)


def as_exported(one: Given) -> Any:
    """Return a Variable as an exported file has it: its text, or an object where there is more to say."""
    if not one.is_secret and not one.description:
        return one.value
    more = ({"secret": True} if one.is_secret else {}) | ({"description": one.description} if one.description else {})
    return {"value": one.value, **more}
