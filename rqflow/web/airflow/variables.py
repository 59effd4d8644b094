"""Variables. The value of a secret is never given: *** stands for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from rqflow.actions.variables import Variable as Ours
from rqflow.api import variables as operations
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, must_permit, perform
from rqflow.api.variables import OneVariable, SetVariable
from rqflow.exceptions import UsageError
from rqflow.security.masking import STARS
from rqflow.web.airflow.asking import ThePart, masked, words
from rqflow.web.airflow.hub_models import Variable, VariableGiven, VariableList
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

#: By what Variables may be ordered.
_ORDERS: dict[str, Callable[[Ours], Any]] = {"id": lambda one: one.key, "key": lambda one: one.key}


@router.get("/variables")
def list_variables(hub: TheHub, part: ThePart) -> VariableList:
    """List the Variables."""
    name, descends = part.order(_ORDERS, "id")
    found = sorted(perform(hub, operations.list_variables, Nothing()).items, key=_ORDERS[name], reverse=descends)
    return VariableList(variables=[_variable(one) for one in part.of(found)], total_entries=len(found))


@router.post("/variables")
def set_variable(hub: TheHub, body: VariableGiven) -> Variable:
    """Make a Variable, or change the one that there is, as Airflow does."""
    if body.key is None or body.value is None:
        raise UsageError(f"Missing required property(ies): {[name for name in ('key', 'value') if getattr(body, name) is None]}")
    perform(hub, operations.set_variable, SetVariable(key=body.key, value=body.value, description=body.description))
    return _get(hub, body.key)


@router.get("/variables/{variable_key:path}")
def get_variable(hub: TheHub, variable_key: str) -> Variable:
    """Show a Variable."""
    return _get(hub, variable_key)


@router.patch("/variables/{variable_key:path}")
def change_variable(hub: TheHub, variable_key: str, body: VariableGiven, update_mask: Annotated[list[str] | None, Query()] = None) -> Variable:
    """Change a Variable."""
    must_permit(hub, operations.set_variable)
    change = masked(body, words(update_mask), {"key", "value", "description"})
    if body.key is not None and body.key != variable_key:
        raise UsageError("key from request body doesn't match uri parameter")
    now = perform(hub, operations.get_variable, OneVariable(key=variable_key))
    value = change.get("value")
    # Whoever sends back what they were shown means the secret that is there.
    value = None if now.is_secret and value == STARS else value
    text = (change["description"] or "") if "description" in change else None
    if value is not None or text is not None:
        perform(hub, operations.set_variable, SetVariable(key=variable_key, value=value, description=text))
    return _get(hub, variable_key)


@router.delete("/variables/{variable_key:path}", status_code=204)
def delete_variable(hub: TheHub, variable_key: str) -> None:
    """Delete a Variable."""
    perform(hub, operations.delete_variable, OneVariable(key=variable_key))


def _get(hub: Hub, key: str) -> Variable:
    return _variable(perform(hub, operations.get_variable, OneVariable(key=key)))


def _variable(one: Ours) -> Variable:
    return Variable(key=one.key, value=STARS if one.value is None else one.value, description=one.description or None)
