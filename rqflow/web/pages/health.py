"""How the hub stands, for admins."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.actions.verdict import Verdict
from rqflow.api.health import examine, get_overview
from rqflow.api.operation import Nothing, perform
from rqflow.web.deps import TheHub
from rqflow.web.rendering import page

router = APIRouter(include_in_schema=False)
_WORST_FIRST = (Verdict.PROBLEM, Verdict.WARNING, Verdict.OK)


@router.get("/health")
def health_page(request: Request, hub: TheHub, doctor: bool = False) -> HTMLResponse:
    """Show how all stands; with `doctor` what its checks find, too."""
    seen = perform(hub, get_overview, Nothing())
    findings = sorted(perform(hub, examine, Nothing()).items, key=lambda one: _WORST_FIRST.index(one.verdict)) if doctor else None
    return page(request, "health.html", seen=seen, now=clock.utcnow(), findings=findings, most=hub.settings.broker.max_unrecorded)
