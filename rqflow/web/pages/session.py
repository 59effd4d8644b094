"""Logging in and out, and the one-time link that makes the first admin, or lets a person choose a password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from rqflow.actions.people import setup, signing_in
from rqflow.actions.people import users as people
from rqflow.actions.people.sessions import NewSession
from rqflow.exceptions import NotPermitted, RqflowError, TooMany
from rqflow.web import signin
from rqflow.web.deps import Parts, ThePart
from rqflow.web.rendering import flash, page

router = APIRouter(include_in_schema=False)
#: Characters of a field of the login.
MOST = 1000


def inside(target: str) -> str:
    """Return a path of this page to go on to: of what came from outside only a path is believed, for a URL could lead anywhere."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() and "\\" not in target else "/"


@router.get("/login")
def login_page(request: Request, parts: ThePart, next: str = "/", expired: bool = False) -> Response:
    """Show the login; where there is no user yet, how to make one."""
    engine = parts.lasting.engine()
    if signin.who(request, parts.lasting.settings, engine) is not None:
        return RedirectResponse(inside(next), status_code=303)
    return page(request, "login.html", next=inside(next), expired=expired, username="", problem="", has_users=people.count_users(engine) > 0,
                provider=provider(parts))


@router.post("/login")
def login(request: Request, parts: ThePart, username: Annotated[str, Form(max_length=MOST)] = "",
          password: Annotated[str, Form(max_length=MOST)] = "", next: Annotated[str, Form(max_length=4000)] = "/") -> Response:
    """Log a person in by password."""
    engine, settings = parts.lasting.engine(), parts.lasting.settings
    ip = address(request)
    try:
        parts.throttle.must_wait(username, ip)
        made = signing_in.by_password(engine, username, password, ip=ip, agent=agent(request), lifetime=settings.webserver.session_lifetime)
    except NotPermitted as error:
        found = page(request, "login.html", next=inside(next), expired=False, username=username, problem=error.message, has_users=True,
                     provider=provider(parts))
        found.status_code = 429 if isinstance(error, TooMany) else 401
        return found
    return entered(request, parts, made, inside(next))


def provider(parts: Parts) -> str:
    """Return what the provider of logins is called; empty: there is none."""
    settings = parts.lasting.settings.webserver
    return settings.oidc_name if settings.oidc_issuer else ""


def entered(request: Request, parts: Parts, made: NewSession, target: str) -> Response:
    """Lead a person who has logged in on to `target`, with the new session in their browser."""
    old = signin.secret_of(request)
    if old:  # a new login gets a new session, and the old one ends
        signing_in.log_out(parts.lasting.engine(), old)
    response = RedirectResponse(target, status_code=303)
    signin.keep(request, response, made.secret, int(parts.lasting.settings.webserver.session_lifetime.total_seconds()))
    return response


@router.post("/logout")
def logout(request: Request, parts: ThePart) -> Response:
    """End the session."""
    if secret := signin.secret_of(request):
        signing_in.log_out(parts.lasting.engine(), secret)
    response = RedirectResponse("/login", status_code=303)
    signin.forget(request, response)
    return response


@router.get("/setup/{secret}")
def setup_page(request: Request, parts: ThePart, secret: str) -> HTMLResponse:
    """Show what a one-time link is for."""
    return page(request, "setup.html", link=setup.look(parts.lasting.engine(), secret), secret=secret, username="", problem="")


@router.post("/setup/{secret}")
def set_up(request: Request, parts: ThePart, secret: str, username: Annotated[str, Form(max_length=MOST)] = "",
           password: Annotated[str, Form(max_length=MOST)] = "", again: Annotated[str, Form(max_length=MOST)] = "") -> Response:
    """Use a one-time link: the person chooses name and password, and is logged in."""
    engine = parts.lasting.engine()
    try:
        if password != again:
            raise NotPermitted("the two passwords differ")
        made = setup.use_link(engine, secret, username, password, ip=address(request), agent=agent(request),
                              lifetime=parts.lasting.settings.webserver.session_lifetime)
    except RqflowError as error:
        found = page(request, "setup.html", link=setup.look(engine, secret), secret=secret, username=username, problem=error.message)
        found.status_code = 422
        return found
    response = entered(request, parts, made, "/")
    flash(response, f"Welcome, {made.username}.")
    return response


def address(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else ""


def agent(request: Request) -> str:
    """Return what the browser calls itself, shortened."""
    return request.headers.get("user-agent", "")[:200]
