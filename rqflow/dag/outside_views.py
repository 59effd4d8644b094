"""What templates and callables see of Variables, Connections and Airflow's settings: `var`, `conn`, `conf`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from rqflow import settings
from rqflow.dag.frame import Frame
from rqflow.dag.outside import Connection

_ABSENT: Final = object()


class VariablesView:
    """Variables by attribute, by `get` with a default: `var.value`, `var.json`."""

    def __init__(self, frame: Frame, kind: str, read: Callable[[Any], Any]) -> None:
        """Show the Variables of `frame` through `read`."""
        self._frame, self._kind, self._read = frame, kind, read

    def get(self, name: str, default: Any = _ABSENT) -> Any:
        """Return a Variable, else `default`; raises KeyError without one."""
        try:
            text = self._frame.variables[name]
        except KeyError:
            if default is not _ABSENT:
                return default
            raise KeyError(f"Variable {name} does not exist; set AIRFLOW_VAR_{name.upper()} or give a default") from None
        return self._frame.outside(self._read(text), f"var.{self._kind}.{name}")

    def __getattr__(self, name: str) -> Any:
        """Return a Variable; raises KeyError, as Airflow does, so that no `default` filter hides a missing one."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)

    def outside_values(self) -> tuple[Any, ...]:
        """Give nothing: the view itself prints nothing of its Variables."""
        return ()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Variables as {self._kind}>"


class ByName(dict[str, Any]):
    """A dictionary, as callables know `var`, whose entries are attributes too, as templates write them."""

    def __getattr__(self, name: str) -> Any:
        """Return an entry; raises AttributeError."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def variables_view(frame: Frame) -> ByName:
    """Return `var`."""
    as_json = VariablesView(frame, "json", lambda text: json.loads(text) if isinstance(text, str) else text)
    as_text = VariablesView(frame, "value", lambda text: text if isinstance(text, str) else json.dumps(text))
    return ByName(value=as_text, json=as_json)


class ConnectionsView:
    """Connections by attribute, by `get` with a default: `conn`."""

    def __init__(self, frame: Frame) -> None:
        """Show the Connections of `frame`."""
        self._frame = frame

    def get(self, name: str, default: Any = _ABSENT) -> Any:
        """Return a Connection, else `default`; raises KeyError without one."""
        try:
            given = self._frame.connections[name]
        except KeyError:
            if default is not _ABSENT:
                return default
            raise KeyError(f"Connection {name} does not exist; set AIRFLOW_CONN_{name.upper()}") from None
        return ConnectionView(self._frame, Connection.read(str(name), given))

    def __getattr__(self, name: str) -> Any:
        """Return a Connection; raises KeyError."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)

    def outside_values(self) -> tuple[Any, ...]:
        """Give nothing: the view itself prints nothing of its Connections."""
        return ()


class ConnectionView:
    """One Connection with its values marked."""

    def __init__(self, frame: Frame, connection: Connection) -> None:
        """Show `connection`."""
        self._frame, self._connection = frame, connection

    def __getattr__(self, name: str) -> Any:
        """Return a field, or what a method returns, marked."""
        if name.startswith("_"):
            raise AttributeError(name)
        origin = f"conn.{self._connection.conn_id}.{name}"
        value = getattr(self._connection, name)
        return (lambda: self._frame.outside(value(), origin)) if callable(value) else self._frame.outside(value, origin)

    def outside_values(self) -> tuple[Any, ...]:
        """Give nothing: the view itself prints only the id."""
        return ()

    def __str__(self) -> str:
        """Return the id."""
        return self._connection.conn_id

    __repr__ = __str__


class ConfView:
    """Airflow's settings as far as DAG files ask for them: `conf.get(section, key)`, from AIRFLOW__SECTION__KEY or a default of Airflow's."""

    _DEFAULTS = {  # noqa: RUF012 (never changed)
        ("core", "dags_folder"): "dags", ("core", "executor"): "LocalExecutor", ("core", "default_timezone"): "utc",
        ("core", "parallelism"): "32", ("core", "load_examples"): "False", ("webserver", "base_url"): "http://localhost:8080",
        ("email", "email_backend"): "airflow.utils.email.send_email_smtp", ("smtp", "smtp_host"): "localhost", ("smtp", "smtp_port"): "25",
        ("smtp", "smtp_mail_from"): "airflow@example.com", ("logging", "base_log_folder"): "logs", ("kubernetes", "namespace"): "default",
    }  # fmt: skip

    def get(self, section: str, key: str, fallback: Any = _ABSENT, **_: Any) -> Any:
        """Return a setting as text; raises KeyError for one that is neither given nor known, without a `fallback`."""
        value = settings.given(f"_{section.upper()}__{key.upper()}")
        if value is None:
            value = self._DEFAULTS.get((section.lower(), key.lower()))
        if value is None and fallback is _ABSENT:
            raise KeyError(f"section/key [{section}/{key}] is not set; set AIRFLOW__{section.upper()}__{key.upper()}")
        return fallback if value is None else value

    def getint(self, section: str, key: str, **options: Any) -> int:
        """Return a setting as a whole number."""
        return int(self.get(section, key, **options))

    def getfloat(self, section: str, key: str, **options: Any) -> float:
        """Return a setting as a number."""
        return float(self.get(section, key, **options))

    def getboolean(self, section: str, key: str, **options: Any) -> bool:
        """Return a setting as true or false."""
        return str(self.get(section, key, **options)).strip().lower() in {"true", "t", "1", "yes", "on"}

    def has_option(self, section: str, key: str) -> bool:
        """Tell whether a setting is given or known."""
        return self.get(section, key, fallback=None) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the known sections."""
        return iter(dict.fromkeys(section for section, _ in self._DEFAULTS))
