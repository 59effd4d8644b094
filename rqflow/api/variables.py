"""Operations on Variables. A secret is written, and shown to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rqflow.actions import variables
from rqflow.actions.variables import Given, Variable
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.security.keyring import Keyring
from rqflow.security.roles import Role


@operation("variables.list", "GET", "/variables", Role.OPERATOR)
def list_variables(hub: Hub, _: Nothing) -> Page[Variable]:
    """List the Variables; the values of secrets are ***, those that no key at hand opens are null."""
    return Page(items=tuple(variables.list_all(hub.engine, Keyring.of(hub.settings))[0]))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneVariable:
    """Which Variable."""

    key: str = about("Its name.")


@operation("variables.get", "GET", "/variables/{key}", Role.OPERATOR)
def get_variable(hub: Hub, asked: OneVariable) -> Variable:
    """Show a Variable; the value of a secret is ***."""
    return variables.get(hub.engine, Keyring.of(hub.settings), asked.key)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetVariable(OneVariable):
    """What it is to be; what is not given stays."""

    value: str | None = about("Its value.", None)
    is_secret: bool | None = about("Never show it, and blot it out in logs. What is called password, token and the like is one in any case.", None)
    description: str | None = about("What it is for.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What was stored: of these so many are new."""

    names: tuple[str, ...]
    new: int


@operation("variables.set", "PUT", "/variables/{key}", Role.ADMIN)
def set_variable(hub: Hub, asked: SetVariable) -> Stored:
    """Make a Variable, or change it."""
    return _put(hub, {asked.key: Given(value=asked.value, is_secret=asked.is_secret, description=asked.description)})


@operation("variables.delete", "DELETE", "/variables/{key}", Role.ADMIN)
def delete_variable(hub: Hub, asked: OneVariable) -> None:
    """Delete a Variable."""
    variables.remove(hub.broker, hub.engine, [asked.key], by=hub.person.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportVariables:
    """Variables as `rqflow var export` and Airflow write them."""

    variables: dict[str, Any] = about("{name: value}, or {name: {\"value\": …, \"secret\": true, \"description\": text}}.")


@operation("variables.import", "POST", "/variables/import", Role.ADMIN)
def import_variables(hub: Hub, asked: ImportVariables) -> Stored:
    """Store many Variables, all of them or none."""
    return _put(hub, variables.of_export(asked.variables))


@operation("variables.export", "GET", "/variables-export", Role.ADMIN)
def export_variables(hub: Hub, _: Nothing) -> dict[str, Any]:
    """Give all Variables that are no secrets, as `variables.import` takes them."""
    return variables.exported(hub.engine, Keyring.of(hub.settings), with_secrets=False)


def _put(hub: Hub, wanted: dict[str, Given]) -> Stored:
    new = variables.put(hub.broker, hub.engine, Keyring.of(hub.settings), wanted, by=hub.person.name)
    return Stored(names=tuple(wanted), new=new)
