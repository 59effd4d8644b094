"""Errors in the shape that clients of Airflow's API read: a problem document whose type is an address in Airflow's reference."""

from __future__ import annotations

from typing import Any

from rqflow.exceptions import DagNotFound, PoolNotFound, RqflowError, RunNotFound, TaskNotFound
from rqflow.web.airflow.models import AIRFLOW

PREFIX = "/airflow/api/v1"
_REFERENCE = f"https://airflow.apache.org/docs/apache-airflow/{AIRFLOW}/stable-rest-api-ref.html#section/Errors/"
#: Sections of that page, by status.
_SECTIONS = {400: "BadRequest", 401: "Unauthenticated", 403: "PermissionDenied", 404: "NotFound", 405: "MethodNotAllowed", 406: "NotAcceptable",
             409: "AlreadyExists"}
_TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
           409: "Conflict", 413: "Request Entity Too Large", 500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout"}
#: What was not found, as Airflow's titles call it.
_MISSING: tuple[tuple[type[RqflowError], str], ...] = (
    (DagNotFound, "DAG not found"), (RunNotFound, "DAGRun not found"), (TaskNotFound, "Task not found"), (PoolNotFound, "Pool not found"))


def is_airflows(path: str) -> bool:
    """Tell whether a path belongs to Airflow's API."""
    return path.startswith(f"{PREFIX}/")


def status(ours: int) -> int:
    """Return the status that Airflow has for what is answered with `ours` elsewhere: all bad input is a bad request there."""
    return 400 if ours == 422 else ours


def document(ours: int, detail: str, *, hint: str = "", error: RqflowError | None = None) -> dict[str, Any]:
    """Return the problem document for what is answered with the status `ours` elsewhere; a hint is a member more, which clients may have."""
    code = status(ours)
    missing = next((title for kind, title in _MISSING if isinstance(error, kind)), None)
    found = {"detail": detail, "status": code, "title": missing or _TITLES.get(code, "Refused"), "type": _REFERENCE + _SECTIONS.get(code, "Unknown")}
    return found | ({"hint": hint} if hint else {})
