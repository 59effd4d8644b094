"""What templates and callables see of Variables, Connections and Airflow's settings: `var`, `conn`, `conf`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rqflow import settings
from rqflow.dag.frame import Frame
from rqflow.dag.outside import Connection, missing_connection, missing_variable, parsed_variable

_ABSENT: Final = object()


class OutsideView:
    """What is given from outside of the DAG under names: by attribute, or by `get` with a default."""

    def __init__(self, called: str, given: Mapping[str, Any], missing: Callable[[str], str], show: Callable[[str, Any], Any]) -> None:
        """Show what is `given`, each as `show` makes it of its name and value; `missing` says what is wrong with a name that is not."""
        self._called, self._given, self._missing, self._show = called, given, missing, show

    def get(self, name: str, default: Any = _ABSENT) -> Any:
        """Return what has this name, else `default`; raises KeyError without one."""
        try:
            given = self._given[name]
        except KeyError:
            if default is not _ABSENT:
                return default
            raise KeyError(self._missing(name)) from None
        return self._show(name, given)

    def __getattr__(self, name: str) -> Any:
        """Return what has this name; raises KeyError, as Airflow does, so that no `default` filter hides a missing one."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)

    def outside_values(self) -> tuple[Any, ...]:
        """Give nothing: the view itself prints nothing of what it shows."""
        return ()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<{self._called}>"


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

    def view(kind: str, read: Callable[[str, Any], Any]) -> OutsideView:
        return OutsideView(
            f"Variables as {kind}", frame.variables, missing_variable, lambda name, given: frame.outside(read(name, given), f"var.{kind}.{name}")
        )

    as_json = view("json", parsed_variable)
    as_text = view("value", lambda _, text: text if isinstance(text, str) else json.dumps(text))
    return ByName(value=as_text, json=as_json)


def connections_view(frame: Frame) -> OutsideView:
    """Return `conn`."""
    return OutsideView(
        "Connections", frame.connections, missing_connection, lambda name, given: ConnectionView(frame, Connection.read(str(name), given))
    )


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
