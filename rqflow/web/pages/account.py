"""What is one's own: account and password, tokens, sessions; an admin sees everybody's tokens and sessions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.api.account import ChangePassword, EditAccount, change_password, edit_account, get_account
from rqflow.api.operation import Nothing, perform
from rqflow.api.sessions import EndSessions, OneSession, list_sessions, revoke_session, revoke_sessions
from rqflow.api.tokens import CreateToken, ListTokens, OfWhom, OneToken, create_token, list_tokens, revoke_token
from rqflow.exceptions import NotFound, RqflowError, UsageError
from rqflow.security import bearer
from rqflow.security.roles import Role
from rqflow.store.sessions import name_of
from rqflow.web import signin
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.users import ROLES
from rqflow.web.pages.workers import counted
from rqflow.web.problems import status_of
from rqflow.web.rendering import page

router = APIRouter(include_in_schema=False)
#: For how many days a token may be made on the page; 0: until it is revoked.
LASTS = ((7, "a week"), (30, "30 days"), (90, "90 days"), (365, "a year"), (0, "until it is revoked"))


@router.get("/account")
def account_page(request: Request, hub: TheHub) -> HTMLResponse:
    """Show who one is, and what one may."""
    return _account(request, hub)


def _account(request: Request, hub: TheHub, problem: str = "", about: str = "") -> HTMLResponse:
    return page(request, "account.html", account=perform(hub, get_account, Nothing()), may=ROLES[hub.person.role], problem=problem, about=about)


@router.post("/account")
def change(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Change one's name or mail address."""
    try:
        perform(hub, edit_account, EditAccount(full_name=filled.get("full_name", ""), email=filled.get("email", "").strip()))
    except UsageError as error:
        return _refused(_account(request, hub, str(error), "person"), error)
    return done(request, "/account", "Saved.")


@router.post("/account/password")
def password(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Change one's password."""
    try:
        if filled.get("password", "") != filled.get("again", ""):
            raise UsageError("the two new passwords differ")
        ended = perform(hub, change_password, ChangePassword(current=filled.get("current", ""), password=filled.get("password", ""),
                                                             keep=_own(request) or None))
    except UsageError as error:
        return _refused(_account(request, hub, str(error), "password"), error)
    return done(request, "/account", f"Your password is changed. {counted(ended.sessions_ended, 'other session')} ended.")


def _refused(found: HTMLResponse, error: RqflowError) -> HTMLResponse:
    found.status_code = status_of(error)
    return found


@router.get("/tokens")
def tokens_page(request: Request, hub: TheHub, whose: str = "mine", over: bool = False) -> HTMLResponse:
    """Show tokens: one's own, or with whose=all everybody's."""
    found = perform(hub, list_tokens, ListTokens(everybody=whose == "all", over=over)).items
    return page(request, "tokens.html", tokens=found, whose=whose, over=over)


@router.get("/token-new")
def token_form(request: Request, hub: TheHub) -> HTMLResponse:
    """Show the form that makes a token."""
    return _token_form(request, hub, {}, "")


@router.post("/tokens")
def make_token(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Make a token, and show it, once."""
    try:
        days = filled.get("days", "90")
        if not (days.isascii() and days.isdigit() and len(days) < 7):
            raise UsageError(f"days: {days[:20]!r} is no number of days")
        role = filled.get("role", "")
        if role and role not in {one.value for one in Role}:
            raise UsageError(f"role: {role[:20]!r} is no role")
        made = perform(hub, create_token, CreateToken(name=filled.get("name", ""), role=Role(role) if role else None, days=int(days)))
    except UsageError as error:
        return _refused(_token_form(request, hub, filled, str(error)), error)
    return page(request, "once.html", title=f"Token {made.record.name}", place="/tokens", back="API tokens", text=made.token,
                what=f"Programs send it as `Authorization: Bearer TOKEN`. It may what {made.record.role}s may.", until=made.record.expires_at)


def _token_form(request: Request, hub: TheHub, values: Filled, problem: str) -> HTMLResponse:
    roles = [(role.value, f"{role.value}: {said}") for role, said in ROLES.items() if hub.person.role.allows(role)]
    return page(request, "token_form.html", values=values, problem=problem, roles=roles, lasts=LASTS)


@router.get("/tokens/{number}/revoke")
def revoke_token_page(request: Request, hub: TheHub, number: int) -> HTMLResponse:
    """Ask whether a token is to be revoked."""
    found = [one for one in perform(hub, list_tokens, ListTokens(everybody=hub.person.is_admin, over=True)).items if one.id == number]
    if not found:
        raise NotFound(f"there is no token {number}")
    return page(request, "token_revoke.html", token=found[0])


@router.post("/tokens/{number}/revoke")
def revoke(request: Request, hub: TheHub, number: int) -> Response:
    """Let a token let in nobody any more."""
    found = perform(hub, revoke_token, OneToken(number=number))
    target = "/tokens" if found.username == hub.person.name else "/tokens?whose=all"
    return done(request, target, f"Token {found.name} of {found.username} is revoked.")


@router.get("/sessions")
def sessions_page(request: Request, hub: TheHub, whose: str = "mine") -> HTMLResponse:
    """Show the browsers that are logged in: one's own, or with whose=all everybody's."""
    found = perform(hub, list_sessions, OfWhom(everybody=whose == "all")).items
    return page(request, "sessions.html", sessions=found, whose=whose, own=_own(request))


@router.post("/sessions/{session}/revoke")
def end_session(request: Request, hub: TheHub, session: str) -> Response:
    """End a session."""
    found = perform(hub, revoke_session, OneSession(session=session))
    return done(request, "/sessions" if found.username == hub.person.name else "/sessions?whose=all", f"A session of {found.username} is ended.")


@router.post("/sessions/others")
def end_others(request: Request, hub: TheHub) -> Response:
    """End one's other sessions."""
    found = perform(hub, revoke_sessions, EndSessions(keep=_own(request) or None))
    return done(request, "/sessions", f"{counted(found.sessions_ended, 'other session')} ended.")


def _own(request: Request) -> str:
    """Return the name of the session that a request belongs to; empty: none."""
    secret = signin.secret_of(request)
    return name_of(bearer.digest(secret)) if secret and "authorization" not in request.headers else ""
