"""The reference of the REST API: the OpenAPI document, and a page made of it that loads nothing from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from rqflow.web.deps import ThePerson
from rqflow.web.rendering import page
from rqflow.web.rest import PREFIX, PROBLEM

router = APIRouter(include_in_schema=False)


def document(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document of the application, made once, with the ways to log in."""
    found: dict[str, Any] = request.app.openapi()
    found.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes |= {"token": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
    found["security"] = [{"token": []}, {"basic": []}]
    return found


@router.get(f"{PREFIX}/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """Give the OpenAPI document."""
    return JSONResponse(document(request))


@router.get(f"{PREFIX}/reference")
def reference(request: Request, _: ThePerson) -> HTMLResponse:
    """Show the reference."""
    return page(request, "reference.html", api=document(request))
