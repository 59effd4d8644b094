"""Logs of tries: whole as text, or in parts as JSON with a token that names the next one."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from rqflow.actions import logs, query
from rqflow.actions.logview.view import Place, place
from rqflow.api.hub import Hub
from rqflow.exceptions import TaskNotFound, UsageError
from rqflow.web.airflow.asking import Answer
from rqflow.web.airflow.runs import the_run
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

#: Bytes of a part, and of one that was to be all of a log: the token goes on after it.
PART, WHOLE = 1 << 20, 16 << 20


@router.get("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{task_try_number}")
def get_log(request: Request, hub: TheHub, dag_id: str, dag_run_id: str, task_id: str, task_try_number: int, full_content: bool = False,
            map_index: int = -1, token: str | None = None) -> Response:
    """Give the log of a try."""
    if map_index != -1:
        raise TaskNotFound(f"task {task_id} of run {dag_run_id} is not mapped")
    seen = _read(token)
    run = query.show(hub.live, hub.engine, the_run(hub, dag_id, dag_run_id).run_key)
    where = place(hub.settings, run, task_id, task_try_number)
    host = where.one.host if where.one else ""
    if _wants_text(request):
        return StreamingResponse(_as_text(host, _bytes(hub, where, 0)), media_type="text/plain")
    is_whole = full_content or seen["download_logs"]
    at = 0 if full_content else seen["log_pos"]
    data = _part(_bytes(hub, where, at), WHOLE if is_whole else PART)
    upto = at + len(data)
    is_over = not (where.may_grow or where.is_arriving()) and upto >= _size(where)
    after = {"download_logs": is_whole, "end_of_log": is_over, "log_pos": upto}
    # Airflow gives pairs of host and text, written as Python writes a list.
    return Answer({"content": str([(host, data.decode("utf-8", "replace"))]), "continuation_token": _token(after)})


def _wants_text(request: Request) -> bool:
    """Tell whether an answer is to be plain text: where it may be, as in Airflow, and JSON where nothing is said."""
    accepted = {one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "").split(",")} - {""}
    if "application/json" in accepted and "text/plain" not in accepted:
        return False
    return bool(accepted & {"text/plain", "text/*", "*/*"})


def _bytes(hub: Hub, where: Place, start: int) -> Iterator[bytes]:
    """Give a log from a byte on; nothing of one that has not begun. Raises NotFound for one that there will never be."""
    if where.may_grow and not where.path.exists():
        return iter(())
    return logs.read(hub.settings, where.run, where.task.task_id, where.try_number, start=start)


def _as_text(host: str, found: Iterator[bytes]) -> Iterator[bytes]:
    yield f"{host}\n".encode()
    yield from found


def _part(found: Iterator[bytes], most: int) -> bytes:
    """Return up to so many bytes, in whole lines where there are any."""
    data = b""
    for each in found:
        data += each
        if len(data) >= most:
            cut = data.rfind(b"\n", 0, most) + 1
            return data[:cut or most]
    return data


def _size(where: Place) -> int:
    return where.path.stat().st_size if where.path.exists() else 0


def _token(seen: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(seen, separators=(",", ":")).encode()).decode("ascii").rstrip("=")


def _read(token: str | None) -> dict[str, Any]:
    """Return what a token says; raises UsageError for one that nobody was given."""
    if not token:
        return {"download_logs": False, "log_pos": 0}
    try:
        found = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        return {"download_logs": bool(found["download_logs"]), "log_pos": min(max(int(found["log_pos"]), 0), 1 << 60)}
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError("Bad token", hint="Use only those that were given as continuation_token.") from error
