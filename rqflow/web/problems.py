"""Errors as answers: a problem document (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import redis
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rqflow import clock, logs
from rqflow.broker.faults import unreachable
from rqflow.exceptions import (
    BrokerError,
    ConfigError,
    Conflict,
    DagLoadError,
    NotFinished,
    NotFound,
    NotPermitted,
    RqflowError,
    ServiceUnreachable,
    StoreError,
    TimedOut,
    TooMany,
    UsageError,
)
from rqflow.web import signin
from rqflow.web.airflow import errors as airflow
from rqflow.web.deps import NotLoggedIn, parts_of
from rqflow.web.guard import SAFE, is_near
from rqflow.web.rendering import page
from rqflow.web.rest import PREFIX

logger = logging.getLogger(__name__)

#: The status of an answer for each kind of error; the first that fits.
STATUS: tuple[tuple[type[RqflowError], int], ...] = (
    (NotLoggedIn, 401), (TooMany, 429), (NotPermitted, 403), (NotFound, 404), (Conflict, 409), (NotFinished, 409), (UsageError, 422),
    (ConfigError, 422), (DagLoadError, 422), (ServiceUnreachable, 503), (TimedOut, 504), (RqflowError, 400))
_TITLES = {400: "Not possible", 401: "Not logged in", 403: "Not permitted", 404: "Not found", 405: "Not allowed", 409: "Conflict", 413: "Too large",
           422: "Bad input", 429: "Too many", 500: "A fault of rqflow", 503: "Not reached", 504: "Not in time"}
#: Seconds after which somebody who was told so may ask again.
RETRY_AFTER = {429: 60, 503: 5}


def install(app: FastAPI) -> None:
    """Let `app` answer errors."""
    app.add_exception_handler(RqflowError, _of_ours)  # type: ignore[arg-type]  # starlette types handlers by the base of all errors
    app.add_exception_handler(RequestValidationError, _of_input)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _of_http)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(redis.exceptions.RedisError, _of_redis)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(Exception, _of_nobody)


def status_of(error: RqflowError) -> int:
    """Return the status of the answer for an error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def document(status: int, detail: str, *, hint: str = "", exit_code: int = 1, **more: Any) -> dict[str, Any]:
    """Return a problem document: the members of RFC 9457, what to do, and the exit code that the command line has for it."""
    return {"type": "about:blank", "title": _TITLES.get(status, "Refused"), "status": status, "detail": detail, "hint": hint,
            "exit_code": exit_code, **more}


def is_for_programs(request: Request) -> bool:
    """Tell whether an answer is read by a program: all of the API but the page that tells people of it."""
    return request.url.path != f"{PREFIX}/reference" and request.url.path.startswith(("/api/", "/airflow/api/", "/metrics"))


def _answer(request: Request, status: int, detail: str, *, hint: str = "", exit_code: int = 1, headers: dict[str, str] | None = None,
            error: RqflowError | None = None) -> Response:
    headers = {**(headers or {}), **({"Retry-After": str(RETRY_AFTER[status])} if status in RETRY_AFTER else {}),
               **({"WWW-Authenticate": f'{"Basic" if airflow.is_airflows(request.url.path) else "Bearer"} realm="rqflow"'} if status == 401 else {})}
    if airflow.is_airflows(request.url.path):
        return JSONResponse(airflow.document(status, detail, hint=hint, error=error), airflow.status(status), media_type="application/problem+json",
                            headers=headers)
    if is_for_programs(request):
        return JSONResponse(document(status, detail, hint=hint, exit_code=exit_code), status, media_type="application/problem+json", headers=headers)
    found = page(request, "problem.html", status=status, code=status, title=_TITLES.get(status, "Refused"), detail=detail, hint=hint,
                 may_repeat=request.method in SAFE)
    found.headers.update(headers)
    return found


async def _of_ours(request: Request, error: RqflowError) -> Response:
    if isinstance(error, NotLoggedIn) and not is_for_programs(request) and "authorization" not in request.headers:
        return _to_login(request)
    if isinstance(error, StoreError | BrokerError) and not (is_near(request) or getattr(request.state, "person", None)):
        # Its own words name hosts and accounts.
        away = "the database" if isinstance(error, StoreError) else "Redis"
        return _answer(request, status_of(error), f"{away} does not answer", hint="Nothing is lost. The web server's log says more.",
                       exit_code=error.exit_code, error=error)
    return _answer(request, status_of(error), error.message, hint=error.hint, exit_code=error.exit_code, error=error)


def _to_login(request: Request) -> Response:
    """Send somebody to the login, and after it back to where they were: where a form was sent, or a part of a page asked for, to the page that it
    stood on.
    """
    is_part = bool(request.headers.get("hx-request"))
    had_page = request.method not in SAFE or (is_part and "referer" in request.headers)
    back = _page_of(request) if had_page else request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/login?next={quote(back)}" + ("&expired=1" if had_page else "")
    if is_part:  # the whole page goes there
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


def _page_of(request: Request) -> str:
    """Return the path of our page from which a form was sent."""
    path = request.headers.get("referer", "").partition("://")[2].partition("/")[2]
    return f"/{path}"


async def _of_input(request: Request, error: RequestValidationError) -> Response:
    said = "; ".join(f"{'.'.join(str(part) for part in one['loc'] if part not in {'query', 'body', 'path'}) or 'the request'}: {one['msg']}"
                     for one in error.errors()[:20])
    return _answer(request, 422, said, exit_code=2)


async def _of_http(request: Request, error: HTTPException) -> Response:
    if not is_for_programs(request) and not hasattr(request.state, "person"):
        await run_in_threadpool(_meet, request)
    hint = "The menu leads on." if error.status_code == 404 else ""
    detail = "there is no page at this address" if hint and error.detail == "Not Found" and not is_for_programs(request) else str(error.detail)
    return _answer(request, error.status_code, detail, hint="" if is_for_programs(request) else hint,
                   exit_code=3 if error.status_code == 404 else 1, headers=dict(error.headers or {}))


def _meet(request: Request) -> None:
    """Find out who asks for what no route is for: the page that says so has their menu."""
    parts = parts_of(request)
    try:
        request.state.person = signin.who(request, parts.lasting.settings, parts.lasting.engine())
    except RqflowError:
        request.state.person = None  # the page has no menu then


async def _of_redis(request: Request, error: redis.exceptions.RedisError) -> Response:
    found = unreachable(error, clock.utcnow(), noticed=True)
    return _answer(request, 503, found.message, hint=found.hint, exit_code=found.exit_code)


async def _of_nobody(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=logs.context("web_fault"))
    said, hint = "something went wrong that nobody thought of; the web server's log has it", "Please report it."
    try:
        return _answer(request, 500, said, hint=hint)
    except Exception:
        logger.exception("no page can be made", extra=logs.context("web_fault"))
        return PlainTextResponse(f"{said}\n{hint}\n", 500)
