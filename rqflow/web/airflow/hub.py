"""The hub itself: its health and version, files that cannot be loaded, what people did."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from rqflow import clock
from rqflow.api import audit
from rqflow.api.hub import Hub
from rqflow.api.operation import must_permit
from rqflow.broker import protocol
from rqflow.deploy.asking import NoAnswer
from rqflow.deploy.health import DB, REDIS, SCHEDULER, look
from rqflow.exceptions import NotFound
from rqflow.store import dag_files, event_pages
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import reading
from rqflow.store.event_pages import EventPage, Placed
from rqflow.web.airflow.asking import ThePart, When, between, words
from rqflow.web.airflow.hub_models import BrokenFile, BrokenFileList, EventLog, EventLogList, Health, Status, VersionInfo
from rqflow.web.airflow.models import AIRFLOW
from rqflow.web.deps import Parts, TheHub
from rqflow.web.deps import ThePart as TheParts
from rqflow.web.monitoring import PATIENCE

router = APIRouter(include_in_schema=False)

Text = Annotated[str | None, Query()]
#: By what deeds may be ordered, in Airflow's words and in ours.
_ORDERS = {"event_log_id": event_pages.SEQ, "when": event_pages.SEQ, "dag_id": event_pages.DAG_ID, "task_id": event_pages.TASK_ID,
           "event": event_pages.EVENT, "owner": event_pages.WHO}
#: Larger than every id of a deed.
_LAST = 1 << 63


@router.get("/health")
def health(parts: TheParts) -> Health:
    """Say whether database and scheduler live; asks for no login. There is neither a triggerer nor a process for DAG files."""
    # Of a scheduler that leads it is known that it lives, and not when it said so last.
    lives = _answers(parts, REDIS) and look(parts.settings, [SCHEDULER])[0].is_healthy
    return Health(metadatabase=Status(status=_word(_answers(parts, DB))),
                  scheduler={"status": _word(lives), "latest_scheduler_heartbeat": clock.utcnow().isoformat() if lives else None},
                  triggerer={"status": None, "latest_triggerer_heartbeat": None},
                  dag_processor={"status": None, "latest_dag_processor_heartbeat": None})


@router.get("/version")
def version() -> VersionInfo:
    """Say whose API this is, and in `git_version` which release of rqflow answers."""
    return VersionInfo(version=AIRFLOW, git_version=f"rqflow {protocol.release()}")


@router.get("/importErrors")
def list_import_errors(hub: TheHub, part: ThePart) -> BrokenFileList:
    """List the files of the folder of DAGs that were not taken over as they are now."""
    name, descends = part.order({"import_error_id", "timestamp", "filename"}, "import_error_id")
    found = sorted(_broken(hub), key=lambda one: getattr(one, name), reverse=descends)
    return BrokenFileList(import_errors=part.of(found), total_entries=len(found))


@router.get("/importErrors/{import_error_id}")
def get_import_error(hub: TheHub, import_error_id: int) -> BrokenFile:
    """Show one of them."""
    for one in _broken(hub):
        if one.import_error_id == import_error_id:
            return one
    raise NotFound("Import error not found")


@router.get("/eventLogs")
def list_events(hub: TheHub, part: ThePart, dag_id: Text = None, task_id: Text = None, run_id: Text = None, map_index: int | None = None,
                try_number: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None, event: Text = None, owner: Text = None, before: When = None,
                after: When = None, included_events: Text = None, excluded_events: Text = None) -> EventLogList:
    """List what people did."""
    must_permit(hub, audit.list_deeds)
    name, descends = part.order(_ORDERS, "event_log_id")
    if map_index not in {None, -1}:
        return EventLogList(event_logs=[], total_entries=0)
    when = between(after, before)
    wanted = EventPage(
        dag_id=dag_id, run_id=run_id, task_id=task_id, try_number=try_number, event=event, who=owner, before=when.until, after=when.since,
        included=words([included_events or ""]), excluded=words([excluded_events or ""]), order=_ORDERS[name], descends=descends,
        offset=part.offset, limit=part.limit)
    with reading(hub.engine) as connection:
        found, total = event_pages.page(connection, wanted)
    return EventLogList(event_logs=[_event(one) for one in found], total_entries=total)


@router.get("/eventLogs/{event_log_id}")
def get_event(hub: TheHub, event_log_id: int) -> EventLog:
    """Show one deed."""
    must_permit(hub, audit.list_deeds)
    found: list[Placed] = []
    if 0 <= event_log_id < _LAST:
        with reading(hub.engine) as connection:
            found, _ = event_pages.page(connection, EventPage(seq=event_log_id, limit=1))
    if not found:
        raise NotFound("Event Log not found")
    return _event(found[0])


def _answers(parts: Parts, component: str) -> bool:
    try:
        return parts.probe(component, PATIENCE).is_healthy
    except NoAnswer:
        return False


def _word(is_healthy: bool) -> str:
    return "healthy" if is_healthy else "unhealthy"


def _broken(hub: Hub) -> list[BrokenFile]:
    """Return the files that cannot be loaded. Of whose DAGs these are nobody can say: they are shown to those who see all."""
    if hub.visible_dag_ids() is not None:
        return []
    with reading(hub.engine) as connection:
        return [_import_error(one) for one in dag_files.broken(connection) if one.is_present]


def _import_error(one: DagFileRecord) -> BrokenFile:
    # A number that other languages' floats hold too.
    return BrokenFile(import_error_id=int(one.key[:13], 16), timestamp=one.loaded_at, filename=one.path, stack_trace="\n".join(one.errors))


def _event(one: Placed) -> EventLog:
    record = one.record
    return EventLog(
        event_log_id=record.seq, when=record.at, dag_id=record.dag_id or None, task_id=record.task_id or None, run_id=one.run_id,
        try_number=record.try_number, event=record.event, execution_date=one.logical_date, owner=record.who or None, extra=record.detail or None)
