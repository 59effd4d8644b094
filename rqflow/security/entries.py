"""Variables and Connections as they are stored and mirrored: sealed, and what becomes of them when they are opened.

An entry is a JSON object. Of a Variable: `key` (the name of the key), `value` (sealed), `is_secret`. Of a Connection: its fields,
`password` and `extra` sealed, and `key`; without those two there is no key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rqflow.dag.outside import Connection
from rqflow.security.keyring import Keyring, WrongKey
from rqflow.security.masking import in_json, is_sensitive, secret_texts
from rqflow.security.sealing import name_of, seal

Entry = Mapping[str, Any]
#: As names of the environment have them, and messages.
VAR, CONN = "VAR", "CONN"
WORDS = {VAR: "Variable", CONN: "Connection"}
#: Fields of a Connection that are sealed.
SEALED = ("password", "extra")


def opened(keyring: Keyring, kind: str, name: str, entry: Entry) -> Any:
    """Return the text of a Variable, or the fields of a Connection; raises WrongKey."""
    what = f"the {WORDS[kind]} {name}"
    if kind == VAR:
        return keyring.open(str(entry["key"]), str(entry["value"]), what) if entry["key"] else entry["value"]
    fields = {field: value for field, value in entry.items() if field != "key" and value not in (None, "")}
    for field in SEALED:
        if field in fields and entry["key"]:
            fields[field] = keyring.open(str(entry["key"]), str(fields[field]), what)
    return fields


def sealed_for(public: str, keyring: Keyring, kind: str, name: str, entry: Entry) -> Entry:
    """Return an entry sealed for the owner of the public half of a key pair, in place of a key of `keyring`; raises WrongKey."""
    if not entry["key"]:
        return entry
    what, fields = f"the {WORDS[kind]} {name}", SEALED if kind == CONN else ("value",)
    sealed = {field: seal(public, keyring.open(str(entry["key"]), str(entry[field]), what)) for field in fields if entry.get(field)}
    return {**entry, **sealed, "key": name_of(public)}


def resealed(old: Keyring, new: Keyring, kind: str, name: str, entry: Entry) -> Entry:
    """Return an entry sealed with the first key of `new`, in place of one of `old`; one that `old` cannot open stays as it is."""
    if not entry["key"]:
        return entry
    fields = ("value",) if kind == VAR else [field for field in SEALED if entry.get(field) not in (None, "")]
    try:
        texts = {field: old.open(str(entry["key"]), str(entry[field]), name) for field in fields}
    except WrongKey:
        return entry
    sealed = {field: new.seal(text) for field, text in texts.items()}
    return {**entry, **{field: text for field, (_, text) in sealed.items()}, "key": next((key for key, _ in sealed.values()), entry["key"])}


def secrets_of(kind: str, name: str, value: Any, *, is_secret: bool = False) -> list[str]:
    """Return what must not be shown of a Variable's or Connection's opened `value`, which may also be text of the environment."""
    if kind == VAR:
        text = value if isinstance(value, str) else json.dumps(value)
        return in_json(text) if is_secret or is_sensitive(name) else []
    try:
        connection = Connection.read(name, value)
    except (ValueError, TypeError):
        return []
    return [*([connection.password] if connection.password else []), *secret_texts(connection.extra_dejson)]


def is_hidden(name: str, *, is_secret: bool) -> bool:
    """Tell whether a list shows no value of this Variable."""
    return is_secret or is_sensitive(name)


def names_of_keys(entries: Iterable[Entry]) -> set[str]:
    """Return the names of the keys that are needed to open these."""
    return {str(entry["key"]) for entry in entries if entry["key"]}
