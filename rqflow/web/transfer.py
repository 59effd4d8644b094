"""Pools, Variables and Connections as files: a page gives them to be kept, and takes them from a form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.api.operation import I, Nothing, O, Operation, must_permit, perform
from rqflow.exceptions import UsageError
from rqflow.web.answers import done
from rqflow.web.deps import TheHub
from rqflow.web.downloads import json_file
from rqflow.web.rendering import page
from rqflow.web.uploads import Uploaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer(Generic[I, O]):
    """Of what, and by which operations."""

    #: What addresses and files are called after: variable, for /variable-import and variables.json.
    name: str
    #: What people call all of it, and the page that lists it.
    what: str
    place: str
    #: What such a file may look like.
    example: str
    exporting: Operation[Nothing, dict[str, Any]]
    importing: Operation[I, O]
    #: Makes the input of `importing` of what a file holds, and says what was done.
    asked: Callable[[dict[str, Any]], I]
    said: Callable[[O], str]


def add(router: APIRouter, of: Transfer[Any, Any]) -> None:
    """Give a router the pages for it."""

    def form(request: Request, problem: str = "") -> HTMLResponse:
        return page(request, "import.html", what=of.what, place=of.place, action=f"/{of.name}-import", example=of.example, problem=problem,
                    status=422 if problem else 200)

    @router.get(f"/{of.name}-export")
    def export(hub: TheHub) -> Response:
        """Give all of it as a file."""
        return json_file(f"{of.name}s.json", perform(hub, of.exporting, Nothing()))

    @router.get(f"/{of.name}-import")
    def import_page(request: Request, hub: TheHub) -> HTMLResponse:
        """Show the form that takes a file."""
        must_permit(hub, of.importing)
        return form(request)

    @router.post(f"/{of.name}-import")
    def import_(request: Request, hub: TheHub, brought: Uploaded) -> Response:
        """Store what a file holds, or show the form again with what is wrong."""
        must_permit(hub, of.importing)
        try:
            stored = perform(hub, of.importing, of.asked(brought.json_object(of.what)))
        except UsageError as error:
            return form(request, str(error))
        return done(request, of.place, of.said(stored))
