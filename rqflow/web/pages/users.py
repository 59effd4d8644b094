"""People: adding them, changing what they may, letting them in no more, set-up links, and who the owners of DAG files are. For admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions.people import users as people
from rqflow.actions.people.users import Departure, Source
from rqflow.api.operation import Nothing, must_permit, perform
from rqflow.api.owners import DeleteOwner, SetOwner, delete_owner, list_owners, set_owner
from rqflow.api.users import (
    AddUser,
    EditUser,
    Leave,
    MakeLink,
    OneUser,
    add_user,
    delete_user,
    disable_user,
    edit_user,
    enable_user,
    get_user,
    list_users,
    setup_link,
)
from rqflow.exceptions import RqflowError, UsageError
from rqflow.security.roles import Role
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.workers import counted
from rqflow.web.problems import status_of
from rqflow.web.rendering import page

router = APIRouter(include_in_schema=False)
PLACE = "/users"
Chosen = TypeVar("Chosen", Role, Source)
#: What each role may, in words.
ROLES = {
    Role.VIEWER: "sees DAGs, runs and logs",
    Role.OPERATOR: "starts runs too, and changes what is theirs; sees Variables and Connections without secrets",
    Role.ADMIN: "may do everything",
}
#: Who may vouch for somebody, in words.
SOURCES = {
    Source.PASSWORD: "they log in with a password here",
    Source.PROXY: "the proxy before this page names them",
    Source.OIDC: "the provider logs them in, also where they have a password here",
}


@router.get("/users")
def users_page(request: Request, hub: TheHub, q: str = "") -> HTMLResponse:
    """Show the people, and who the owners of DAG files are."""
    found = perform(hub, list_users, Nothing()).items
    wanted = q.strip().casefold()
    shown = [one for one in found if any(wanted in text.casefold() for text in (one.username, one.full_name, one.email, one.role))]
    return page(request, "users.html", users=shown, everybody=found, q=q, roles=ROLES, owners=perform(hub, list_owners, Nothing()).items)


@router.get("/user-new")
def new_page(request: Request, hub: TheHub) -> HTMLResponse:
    """Show the form that adds a person."""
    must_permit(hub, add_user)
    return _form(request, "", {"role": Role.VIEWER.value})


@router.post("/users")
def add(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Add a person; without a password a set-up link is shown, once."""
    must_permit(hub, add_user)
    name, password = filled.get("username", "").strip(), filled.get("password", "")
    try:
        perform(hub, add_user, AddUser(username=name, role=_role(filled), full_name=filled.get("full_name", ""),
                                       email=filled.get("email", "").strip(), password=password or None))
    except RqflowError as error:
        return _again(request, "", filled, error)
    if not password and filled.get("link") == "1":
        return _link(request, hub, name)
    return done(request, PLACE, f"User {name} added.")


@router.get("/users/{username}/edit")
def edit_page(request: Request, hub: TheHub, username: str) -> HTMLResponse:
    """Show the form that changes a person."""
    found = perform(hub, get_user, OneUser(username=username))
    return _form(request, username, {"role": found.role, "source": found.source, "full_name": found.full_name, "email": found.email})


@router.post("/users/{username}/edit")
def edit(request: Request, hub: TheHub, username: str, filled: Filled) -> Response:
    """Change a person."""
    must_permit(hub, edit_user)
    try:
        perform(hub, edit_user, EditUser(username=username, role=_role(filled), source=_one_of(Source, "source", filled.get("source", "")),
                                         full_name=filled.get("full_name", ""), email=filled.get("email", "").strip()))
    except RqflowError as error:
        return _again(request, username, filled, error)
    return done(request, PLACE, f"User {username} changed. It holds from their next request on.")


@router.get("/users/{username}/disable")
def disable_page(request: Request, hub: TheHub, username: str) -> HTMLResponse:
    """Show what becomes of what a person has who is to be let in no more."""
    return _leaving(request, hub, username, "disable")


@router.post("/users/{username}/disable")
def disable(request: Request, hub: TheHub, username: str, filled: Filled) -> Response:
    """Let a person in no more."""
    left = perform(hub, disable_user, Leave(username=username, hand_over=filled.get("hand_over") or None))
    return done(request, PLACE, _said(left, "disabled"))


@router.get("/users/{username}/delete")
def delete_page(request: Request, hub: TheHub, username: str) -> HTMLResponse:
    """Show what becomes of what a person has who is to be deleted."""
    return _leaving(request, hub, username, "delete")


@router.post("/users/{username}/delete")
def delete(request: Request, hub: TheHub, username: str, filled: Filled) -> Response:
    """Delete a person."""
    left = perform(hub, delete_user, Leave(username=username, hand_over=filled.get("hand_over") or None))
    return done(request, PLACE, _said(left, "deleted"))


@router.post("/users/{username}/enable")
def enable(request: Request, hub: TheHub, username: str) -> Response:
    """Let a disabled person in again."""
    perform(hub, enable_user, OneUser(username=username))
    return done(request, PLACE, f"User {username} may log in again. Their tokens stay revoked, and their DAGs paused.")


@router.post("/users/{username}/setup-link")
def make_link(request: Request, hub: TheHub, username: str) -> Response:
    """Make a set-up link for a person, and show it, once."""
    perform(hub, get_user, OneUser(username=username))
    return _link(request, hub, username)


@router.post("/owners")
def map_owner(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Say who an owner is."""
    owner, username = filled.get("owner", "").strip(), filled.get("username", "").strip()
    news = perform(hub, set_owner, SetOwner(owner=owner, username=username))
    return done(request, PLACE, f"The owner {owner} is {'now' if news.changed else 'already'} {username}.")


@router.post("/owners/delete")
def unmap_owner(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Say that an owner is a person no more."""
    owner, username = filled.get("owner", ""), filled.get("username", "")
    perform(hub, delete_owner, DeleteOwner(owner=owner, username=username or None))
    return done(request, PLACE, f"The owner {owner} is not {username or 'anybody'} any more.")


def _role(filled: Filled) -> Role:
    return _one_of(Role, "role", filled.get("role", ""))


def _one_of(kind: type[Chosen], name: str, given: str) -> Chosen:
    try:
        return kind(given)
    except ValueError as error:
        raise UsageError(f"{name}: {given[:50]!r} is none of {', '.join(one.value for one in kind)}") from error


def _form(request: Request, username: str, values: Mapping[str, str], problem: str = "") -> HTMLResponse:
    return page(request, "user_form.html", username=username, values=values, problem=problem, roles=ROLES, sources=SOURCES)


def _again(request: Request, username: str, filled: Filled, error: RqflowError) -> Response:
    """Show the form again with what is wrong; an error that is no answer to what was filled in goes on."""
    if status_of(error) not in {409, 422}:
        raise error
    found = _form(request, username, {name: value for name, value in filled.items() if name != "password"}, str(error))
    found.status_code = status_of(error)
    return found


def _leaving(request: Request, hub: TheHub, username: str, deed: str) -> HTMLResponse:
    found = perform(hub, get_user, OneUser(username=username))
    heirs = [one.username for one in people.list_all(hub.engine) if one.is_active and one.username != username]
    return page(request, "user_leave.html", user=found, heirs=heirs, deed=deed)


def _said(left: Departure, word: str) -> str:
    """Return what became of what a person had."""
    said = f"User {left.username} {word}: {counted(left.sessions, 'session')} ended, {counted(left.tokens, 'token')} revoked."
    if left.heir and left.handed_over:
        return f"{said} {left.heir} got {', '.join(left.handed_over[:20])}."
    return f"{said} Paused: {', '.join(left.scheduled[:20])}." if left.scheduled and not left.heir else said


def _link(request: Request, hub: TheHub, username: str) -> HTMLResponse:
    made = perform(hub, setup_link, MakeLink(username=username))
    url = f"{str(request.base_url).rstrip('/')}{made.path}"
    return page(request, "once.html", title=f"Set-up link for {username}", place=PLACE, back="Users", text=url,
                what="Send it to them: it is good once, for an hour, and lets them choose a password.", until=made.expires_at)
