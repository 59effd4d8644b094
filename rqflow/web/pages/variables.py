"""Variables: their values, but of secrets; making, changing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions import variables
from rqflow.api.operation import must_permit, perform
from rqflow.api.variables import (
    ImportVariables,
    OneVariable,
    SetVariable,
    delete_variable,
    export_variables,
    get_variable,
    import_variables,
    list_variables,
    set_variable,
)
from rqflow.exceptions import RqflowError, UsageError
from rqflow.security.keyring import Keyring
from rqflow.web import transfer
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.workers import counted
from rqflow.web.problems import status_of
from rqflow.web.rendering import page
from rqflow.web.transfer import Transfer

router = APIRouter(include_in_schema=False)
PLACE = "/variables"
transfer.add(router, Transfer(
    name="variable", what="Variables", place=PLACE, exporting=export_variables, importing=import_variables,
    example='{"city": "Bern", "api_key": {"value": "…", "secret": true}}',
    asked=lambda plain: ImportVariables(variables=plain),
    said=lambda stored: f"{counted(len(stored.names), 'Variable')} stored, {stored.new} new."))


@router.get("/variables")
def variables_page(request: Request, hub: TheHub, q: str = "") -> HTMLResponse:
    """Show the Variables; with `q` those with that in their name or description."""
    must_permit(hub, list_variables)
    found, wrong = variables.list_all(hub.engine, Keyring.of(hub.settings))
    wanted = q.strip().casefold()
    shown = [one for one in found if wanted in one.key.casefold() or wanted in one.description.casefold()]
    return page(request, "variables.html", variables=shown, total=len(found), q=q, wrong=wrong)


@router.get("/variable-new")
def new_page(request: Request, hub: TheHub) -> HTMLResponse:
    """Show the form that makes a Variable."""
    must_permit(hub, set_variable)
    return _form(request, "", {})


@router.post("/variables")
def make(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Make a Variable."""
    return _set(request, hub, filled.get("key", "").strip(), filled, is_new=True)


@router.get("/variables/{key}")
def variable_page(request: Request, hub: TheHub, key: str) -> HTMLResponse:
    """Show a Variable."""
    return page(request, "variable.html", variable=perform(hub, get_variable, OneVariable(key=key)))


@router.get("/variables/{key}/edit")
def edit_page(request: Request, hub: TheHub, key: str) -> HTMLResponse:
    """Show the form that changes a Variable."""
    must_permit(hub, set_variable)
    found = perform(hub, get_variable, OneVariable(key=key))
    return _form(request, key, {"value": "" if found.is_secret else found.value or "", "secret": "1" if found.is_secret else "",
                                "description": found.description}, is_secret=found.is_secret)


@router.post("/variables/{key}/edit")
def edit(request: Request, hub: TheHub, key: str, filled: Filled) -> Response:
    """Change a Variable."""
    return _set(request, hub, key, filled, is_new=False)


@router.get("/variables/{key}/delete")
def delete_page(request: Request, hub: TheHub, key: str) -> HTMLResponse:
    """Ask whether a Variable is to go."""
    must_permit(hub, delete_variable)
    return page(request, "secret_delete.html", what="Variable", name=perform(hub, get_variable, OneVariable(key=key)).key, place=PLACE)


@router.post("/variables/{key}/delete")
def delete(request: Request, hub: TheHub, key: str) -> Response:
    """Delete a Variable."""
    perform(hub, delete_variable, OneVariable(key=key))
    return done(request, PLACE, f"Variable {key} deleted.")


def _set(request: Request, hub: TheHub, key: str, filled: Filled, *, is_new: bool) -> Response:
    """Store what was filled in; a secret whose field was left empty keeps its value, and no answer shows what was typed for one."""
    must_permit(hub, set_variable)
    before = None if is_new else perform(hub, get_variable, OneVariable(key=key))
    was_secret = before is not None and before.is_secret
    is_secret = filled.get("secret") == "1"
    # Browsers send lines that end with CR LF.
    value = filled.get("value", "").replace("\r\n", "\n")
    try:
        if is_new and any(one.key == key for one in variables.list_all(hub.engine, Keyring.of(hub.settings))[0]):
            raise UsageError(f"there is a Variable {key} already", hint="Change that one.")
        kept = None if was_secret and not value else value
        stored = perform(hub, set_variable, SetVariable(key=key, value=kept, is_secret=is_secret, description=filled.get("description", "")))
    except RqflowError as error:
        if status_of(error) != 422:
            raise
        shown = {**filled, "value": "" if is_secret or was_secret else value}
        found = _form(request, "" if is_new else key, shown, is_secret=was_secret, problem=str(error))
        found.status_code = 422
        return found
    return done(request, PLACE, f"Variable {key} {'made' if stored.new else 'changed'}.")


def _form(request: Request, key: str, values: Mapping[str, str], *, is_secret: bool = False, problem: str = "") -> HTMLResponse:
    return page(request, "variable_form.html", key=key, values=values, is_secret=is_secret, problem=problem)
