"""The first page, until the real one is there."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from rqflow.broker import protocol

router = APIRouter()


@router.get("/")
async def start() -> PlainTextResponse:
    """Say what answers here."""
    return PlainTextResponse(f"rqflow {protocol.release()}\n\n"
                             "The page of DAGs and runs comes; until then: rqflow dag list, rqflow run list, rqflow top.\n"
                             "For programs: /healthz, /readyz, /metrics.\n")
