"""Variables and Connections: what DAG files and templates take from outside of the DAG.

Each is looked for in the environment first (RQFLOW_VAR_NAME, AIRFLOW_VAR_NAME, …_CONN_NAME), then in what rqflow was told with
`provide`, which is how a task's child gets those that are stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from rqflow import settings

_CONNECTION_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def _host(netloc: str) -> str | None:
    """Return the host in the middle of a URI as it is written: it may be a path, in which capital letters count."""
    place = netloc.rpartition("@")[2]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    return unquote(host) or None


#: Told of each Variable or Connection that the environment gave: kind, name, text.
Note = Callable[[str, str, str], None]
#: Stores a Variable: name, text (None: deletes it), description (None: stays as it is).
Write = Callable[[str, str | None, str | None], None]


class Stored(Mapping[str, Any]):
    """Variables or Connections by name: those of the environment laid over those that are stored."""

    def __init__(self, kind: str, stored: Mapping[str, Any] | None = None, note: Note | None = None) -> None:
        """Look for the `kind` VAR or CONN, and in `stored`; `note` is told of what the environment gave."""
        self._kind, self._note = kind, note
        #: The names that were asked for, whether there is anything under them or not.
        self.asked: dict[str, None] = {}
        self._noted: set[str] = set()
        self._stored: Mapping[str, Any] = {} if stored is None else stored
        #: What this process itself has stored since: None for what it deleted.
        self._written: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return what is given under `name`; raises KeyError."""
        self.asked[name] = None
        given = settings.given(f"{self._kind}_{name.upper()}")
        if given is not None:
            if self._note is not None and name not in self._noted:
                self._note(self._kind, name, given)
                self._noted.add(name)
            return given
        if name in self._written:
            if self._written[name] is None:
                raise KeyError(name)
            return self._written[name]
        return self._stored[name]

    def remember(self, name: str, value: Any) -> None:
        """Take note of what this process has stored; None: it was deleted."""
        self._written[name] = value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names that are stored; the environment can only be asked by name."""
        return iter(self._stored)

    def __len__(self) -> int:
        """Return how many are stored."""
        return len(self._stored)


class Later(Mapping[str, Any]):
    """What is looked for when somebody looks at it: to find it may take a while."""

    def __init__(self, find: Callable[[], Mapping[str, Any]]) -> None:
        """Look for it with `find`, once."""
        self._find = find

    @cached_property
    def _found(self) -> Mapping[str, Any]:
        return self._find()

    def __getitem__(self, name: str) -> Any:
        """Return what has this name; raises KeyError, and what is wrong with all of it."""
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._found)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)


#: Of this process: set once by whoever loads a DAG file, read by the airflow shim.
_given = {"VAR": Stored("VAR"), "CONN": Stored("CONN")}
_write: list[Write] = []


def provide(
    *, variables: Mapping[str, Any] | None = None, connections: Mapping[str, Any] | None = None, note: Note | None = None, write: Write | None = None
) -> None:
    """Tell the stored Variables {name: text} and Connections {name: URI, JSON or fields} to this process, which looks at what it needs.

    `note` is told of what the environment gave in their place; `write` stores Variables.
    """
    _given["VAR"], _given["CONN"] = Stored("VAR", variables, note), Stored("CONN", connections, note)
    _write[:] = [] if write is None else [write]


def store_variable(name: str, value: str | None, description: str | None = None) -> None:
    """Store a Variable, None: delete it. Raises NotImplementedError where that cannot be done, RqflowError with what the hub says."""
    if not _write:
        raise NotImplementedError(f"the Variable {name} cannot be changed here: only a task that a worker runs may do that")
    _write[0](name, value, description)
    _given["VAR"].remember(name, value)


def variables() -> Stored:
    """Return the Variables that this process knows."""
    return _given["VAR"]


def connections() -> Stored:
    """Return the Connections that this process knows."""
    return _given["CONN"]


def missing_variable(name: str) -> str:
    """Return what to say of a Variable that is not there."""
    return f"Variable {name} does not exist; `rqflow var set {name} VALUE`, set AIRFLOW_VAR_{name.upper()} in the environment, or give a default"


def parsed_variable(name: str, value: Any) -> Any:
    """Return a Variable that holds JSON, parsed; raises json.JSONDecodeError that names it when it does not."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        told = f"the Variable {name} is no JSON; `rqflow var set {name} VALUE --json` checks what it stores, var.value.{name} is its text"
        raise json.JSONDecodeError(f"{told}: {error.msg}", error.doc, error.pos) from None


def missing_connection(name: str) -> str:
    """Return what to say of a Connection that is not there."""
    return f"Connection {name} does not exist; `rqflow conn set {name} URI`, or set AIRFLOW_CONN_{name.upper()} in the environment"


class Connection:
    """How to reach something: host, login and so on, under an id; Airflow's class of this name."""

    def __init__(
        self, conn_id: str = "", conn_type: str | None = None, *, uri: str | None = None, extra: Any = None, port: Any = None, **fields: Any
    ) -> None:
        """Take the fields (description, host, login, password, schema), or a `uri` that tells them."""
        self.conn_id = conn_id
        self.conn_type = conn_type
        self.port = int(port) if port else None
        self.extra = json.dumps(extra) if isinstance(extra, dict | list) else extra
        self.description: str | None = fields.get("description")
        self.host: str | None = fields.get("host")
        self.login: str | None = fields.get("login")
        self.password: str | None = fields.get("password")
        self.schema: str | None = fields.get("schema")
        if uri is not None:
            self._read_uri(uri)

    @classmethod
    def read(cls, conn_id: str, given: Any) -> Connection:
        """Return the Connection written as a URI, as JSON, or as a mapping of fields; raises ValueError for anything else."""
        try:
            if isinstance(given, str) and not given.lstrip().startswith("{"):
                return cls(conn_id, uri=given)
            fields = json.loads(given) if isinstance(given, str) else given
        except ValueError as error:
            raise ValueError(f"the Connection {conn_id} is neither a URI nor JSON: {error}") from None
        if not isinstance(fields, Mapping):
            raise ValueError(f"the Connection {conn_id} must be a URI or a JSON object")
        return cls(conn_id, **{name: fields[name] for name in _CONNECTION_FIELDS if name in fields})

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The field `extra`, parsed; empty when it is no JSON object."""
        try:
            value = json.loads(self.extra) if self.extra else {}
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def get_password(self) -> str | None:
        """Return the password."""
        return self.password

    def get_extra_dejson(self) -> dict[str, Any]:
        """Return `extra`, parsed."""
        return self.extra_dejson

    def get_uri(self) -> str:
        """Return all of it as a URI."""
        login = quote(self.login or "", safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        place = quote(self.host or "", safe="") + (f":{self.port}" if self.port else "")
        extra = self.extra_dejson
        flat = all(isinstance(value, str) for value in extra.values())
        query = "" if not self.extra else f"?{urlencode(extra if extra and flat else {'__extra__': self.extra})}"
        kind = (self.conn_type or "").replace("_", "-")
        return f"{kind}://{login + '@' if login else ''}{place}/{quote(self.schema or '', safe='')}{query}"

    def __repr__(self) -> str:
        """Return the id; never what is secret."""
        return str(self.conn_id)

    def _read_uri(self, uri: str) -> None:
        parts = urlsplit(uri)
        kind = parts.scheme.replace("-", "_")
        self.conn_type = "postgres" if kind == "postgresql" else kind
        self.host = _host(parts.netloc)
        self.login = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.schema = unquote(parts.path.removeprefix("/")) or None
        self.port = parts.port
        extra = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.extra = extra.pop("__extra__", None) or (json.dumps(extra) if extra else None)
