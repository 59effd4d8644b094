"""For probes and Prometheus: /healthz, /readyz, /metrics."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rqflow.deploy.asking import NoAnswer
from rqflow.deploy.health import DB, REDIS
from rqflow.web.deps import ThePart, person_of
from rqflow.web.guard import is_near

router = APIRouter(include_in_schema=False)
#: Seconds within which a part must answer to count as ready.
PATIENCE = 3.0


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Say that this process lives; asks nobody."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def readyz(request: Request, parts: ThePart) -> JSONResponse:
    """Say whether database and Redis can be worked with, and which cannot (503); why not, which names hosts and accounts, to who is near alone."""
    found: dict[str, dict[str, object]] = {}
    for name in (DB, REDIS):
        try:
            seen = parts.probe(name, PATIENCE)
            found[name] = {"is_healthy": seen.is_healthy, "detail": seen.detail}
        except NoAnswer as error:
            found[name] = {"is_healthy": False, "detail": error.message}
    if not is_near(request):
        found = {name: {"is_healthy": one["is_healthy"]} for name, one in found.items()}
    is_ready = all(one["is_healthy"] for one in found.values())
    return JSONResponse({"status": "ready" if is_ready else "not ready", "components": found}, status_code=200 if is_ready else 503)


def must_be_known(request: Request, parts: ThePart) -> None:
    """Raise NotLoggedIn for who comes from another machine without a login or a token: names of DAGs are theirs who may see them."""
    if not is_near(request):
        person_of(request, parts)


@router.get("/metrics", dependencies=[Depends(must_be_known)])
def metrics(parts: ThePart) -> Response:
    """Give all metrics in the text format of Prometheus; what cannot be asked is left out, and rqflow_up says so."""
    return Response(parts.metrics.text() + generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)
