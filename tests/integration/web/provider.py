"""A provider of OpenID Connect, as far as a login by code and PKCE goes, behind a socket: no machine here has one."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse


class Provider:
    """Says of whoever comes that they are `claims`."""

    def __init__(self, **claims: Any) -> None:
        self.claims = claims
        self.app = FastAPI()
        self.app.state.parts = self
        self.newsroom = self
        self._challenge = ""
        self.app.get("/.well-known/openid-configuration")(self.discovery)
        self.app.get("/authorize")(self.authorize)
        self.app.post("/token")(self.token)
        self.app.get("/userinfo")(self.userinfo)

    def close(self) -> None:
        """Has nothing to end."""

    def discovery(self, request: Request) -> dict[str, str]:
        base = str(request.base_url).rstrip("/")
        return {"issuer": base, "authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/token", "userinfo_endpoint": f"{base}/userinfo"}

    def authorize(self, redirect_uri: str, state: str, code_challenge: str, code_challenge_method: str) -> RedirectResponse:
        assert code_challenge_method == "S256"
        self._challenge = code_challenge
        return RedirectResponse(f"{redirect_uri}?code=c1&state={state}")

    def token(self, code: Annotated[str, Form()], code_verifier: Annotated[str, Form()]) -> JSONResponse:
        made = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
        if code != "c1" or made != self._challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "t1", "token_type": "Bearer"})

    def userinfo(self, request: Request) -> JSONResponse:
        return JSONResponse(self.claims if request.headers.get("authorization") == "Bearer t1" else {"error": "no"})
