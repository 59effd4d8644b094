"""Logging in by a provider of OpenID Connect (OpenID Connect Core 1.0, authorization code flow with PKCE, RFC 7636); `pip install rqflow[oidc]`.

What the provider says of a person comes from its userinfo endpoint, over a connection that this server opens itself.
"""

from __future__ import annotations

import json
import logging
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from rqflow import logs
from rqflow.actions.people import signing_in
from rqflow.actions.people.users import Source
from rqflow.exceptions import ConfigError, NotPermitted, ServiceUnreachable
from rqflow.security.roles import Role
from rqflow.settings import Webserver
from rqflow.web.deps import ThePart
from rqflow.web.pages.session import address, agent, entered, inside

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)
#: The cookie that ties the answer of the provider to the browser that asked, and seconds that a person has to log in there.
COOKIE, SECONDS = "rqflow_oidc", 600
#: Seconds in which the provider must answer.
PATIENCE = 10.0


@lru_cache(maxsize=4)
def _known(issuer: str) -> dict[str, Any]:
    """Return the endpoints of a provider (OpenID Connect Discovery 1.0). Raises ServiceUnreachable."""
    import requests  # here: only who has a provider needs its 5 MB

    found = _json(requests.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", timeout=PATIENCE))
    if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise ConfigError(f"webserver.oidc_issuer: {issuer} calls itself {found.get('issuer')}", hint="Write it as the provider does.")
    return found


def _json(answer: requests.Response) -> dict[str, Any]:
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError("it gives no object")
    return found


def _session(request: Request, settings: Webserver) -> Any:
    """Return a client of the provider, to be closed. Raises NotPermitted, ConfigError."""
    if not settings.oidc_issuer:
        raise NotPermitted("no provider is set up here", hint="webserver.oidc_issuer names one.")
    try:
        from authlib.integrations.requests_client import OAuth2Session  # here: an extra
    except ImportError as error:
        raise ConfigError("webserver.oidc_issuer is set, and authlib is not installed", hint='Install it: pip install "rqflow[oidc]".') from error
    return OAuth2Session(settings.oidc_client_id, settings.oidc_client_secret or None, scope=settings.oidc_scope,
                         redirect_uri=str(request.url_for("back")), code_challenge_method="S256", default_timeout=PATIENCE)


@router.get("/oidc/login")
def away(request: Request, parts: ThePart, next: str = "/") -> Response:
    """Send a person to the provider."""
    settings = parts.lasting.settings.webserver
    verifier = secrets.token_urlsafe(48)
    with _session(request, settings) as client:
        try:
            url, state = client.create_authorization_url(_known(settings.oidc_issuer)["authorization_endpoint"], code_verifier=verifier)
        except (OSError, ValueError, KeyError) as error:
            raise _lost(error) from error
    response = RedirectResponse(url, status_code=303)
    kept = json.dumps({"state": state, "verifier": verifier, "next": inside(next)}).encode().hex()
    response.set_cookie(COOKIE, kept, max_age=SECONDS, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/oidc")
    return response


@router.get("/oidc/back")
def back(request: Request, parts: ThePart) -> Response:
    """Log a person in whom the provider has sent back. Raises NotPermitted when it did not, or for another browser."""
    settings, engine = parts.lasting.settings.webserver, parts.lasting.engine()
    if said := request.query_params.get("error"):
        raise NotPermitted(f"the provider says: {request.query_params.get('error_description', said)[:300]}", hint="Try to log in again.")
    verifier, target = _begun(request)
    claims = _claims(request, settings, verifier)
    name = claims.get(settings.oidc_user_claim)
    if not isinstance(name, str) or not name:
        raise NotPermitted(f"the provider does not say {settings.oidc_user_claim} of you",
                           hint="webserver.oidc_user_claim names the claim with the user name.")
    about = {to: str(claims.get(claim) or "") for to, claim in (("full_name", "name"), ("email", "email"))}
    role = Role(settings.proxy_role) if settings.proxy_role else None
    person = signing_in.by_voucher(engine, name, source=Source.OIDC, role=role, ip=address(request), **about)
    made = signing_in.begin(engine, person, ip=address(request), agent=agent(request), lifetime=settings.session_lifetime, how="oidc")
    response = entered(request, parts, made, inside(target))
    response.delete_cookie(COOKIE, path="/oidc")
    return response


def _begun(request: Request) -> tuple[str, str]:
    """Return the verifier of the login that this browser began, and where it leads. Raises NotPermitted when it began none, or another one."""
    try:
        kept = json.loads(bytes.fromhex(request.cookies.get(COOKIE, "")))
        state, verifier, target = (str(kept[name]) for name in ("state", "verifier", "next"))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise NotPermitted("this login was not begun in this browser, or too long ago", hint="Log in again.") from error
    given = request.query_params.get("state", "")
    if not secrets.compare_digest(*(one.encode("utf-8", "surrogatepass") for one in (state, given))):
        raise NotPermitted("this login was not begun in this browser", hint="Log in again.")
    return verifier, target


def _claims(request: Request, settings: Webserver, verifier: str) -> dict[str, Any]:
    """Return what the provider says of the person. Raises NotPermitted, ServiceUnreachable."""
    from authlib.common.errors import AuthlibBaseError  # here: an extra

    with _session(request, settings) as client:
        try:
            known = _known(settings.oidc_issuer)
            client.fetch_token(known["token_endpoint"], authorization_response=str(request.url), code_verifier=verifier)
            return _json(client.get(known["userinfo_endpoint"]))
        except AuthlibBaseError as error:
            logger.warning("the provider refuses a login: %s", error, extra=logs.context("oidc_refused"))
            raise NotPermitted(f"the provider refuses: {error}", hint="Log in again.") from error
        except (OSError, ValueError, KeyError) as error:
            raise _lost(error) from error


def _lost(error: Exception) -> ServiceUnreachable:
    """Say it to somebody who is not known yet; what names hosts goes to the log."""
    logger.warning("the provider of logins does not answer as it should: %s", error, extra=logs.context("oidc_unreachable"))
    return ServiceUnreachable("the provider of logins does not answer as it should",
                              hint="Log in with a password, where you have one. The web server's log says more.")
