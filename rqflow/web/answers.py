"""Answers to forms: to another page, which says what was done."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from rqflow.web.rendering import OK, flash


def done(request: Request, target: str, message: str, kind: str = OK) -> Response:
    """Lead on to the page `target`, which shows `message` once: by a redirect, or by a word to htmx when that sent the form.

    A switch that changes where it stands (toggles.js) gets the message alone.
    """
    if request.headers.get("rqflow-in-place"):
        return Response(status_code=204, headers={"Rqflow-Said": quote(message[:1000], errors="replace"), "Rqflow-Kind": kind})
    answer: Response = RedirectResponse(target, status_code=303)
    if request.headers.get("hx-request"):
        # Escaped as for browsers: no header has what is beyond Latin-1.
        answer = Response(status_code=204, headers={"HX-Redirect": answer.headers["location"]})
    return flash(answer, message, kind)
