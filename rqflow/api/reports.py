"""Operations that tell what became of a run: as files to keep, and event by event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.actions import logs, query, report
from rqflow.api.dags import within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.api.runs import OneRun
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.store import events as store_events
from rqflow.store.engine import reading
from rqflow.store.events import EventFilter, EventRecord

#: Forms of a report: the ending of its file, and its media type.
FORMS = {"html": ("html", "text/html"), "trace": ("csv", "text/csv"), "timeline": ("svg", "image/svg+xml")}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRun(OneRun):
    """Of which run, in which form."""

    form: str = about("html: a page with all about it; trace: a line of CSV a try; timeline: a picture (SVG) of when the tries ran.", "html")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFile:
    """A report as a file."""

    #: What it may be called, and what it is.
    name: str
    media_type: str
    text: str


@operation("runs.report", "GET", "/runs/{run}/report", Role.VIEWER)
def report_run(hub: Hub, asked: ReportRun) -> ReportFile:
    """Tell what became of a run, as a file that needs nothing else. One that has not ended is reported as it stands."""
    if asked.form not in FORMS:
        raise UsageError(f"form: {asked.form!r} is none of {', '.join(FORMS)}")
    ending, media_type = FORMS[asked.form]
    record = hub.run(asked.run)
    found, now = query.show(hub.live, hub.engine, record.run_key), clock.utcnow()
    if asked.form == "trace":
        text = report.trace(found)
    elif asked.form == "timeline":
        text = report.picture(found, now)
    else:
        version = query.version_of(hub.live, hub.engine, found)
        text = report.page(found, version, now, lambda task, size: logs.tail(hub.settings, found, task, size))
    date = f"{record.logical_date:%Y-%m-%dT%H-%M-%S}" if record.logical_date else record.run_key
    name = "".join(one if one.isalnum() or one in "._-" else "_" for one in f"{record.dag_id}.{date}")
    return ReportFile(name=f"{name}.{ending}", media_type=media_type, text=text.encode(errors="replace").decode())


@dataclass(frozen=True, kw_only=True, slots=True)
class ListHappenings(OneRun):
    """What of it."""

    task_id: str | None = about("Only what happened to this task.", None)
    limit: int = about("At most so many.", 100)
    after: str | None = about("Only what was before this one: `next` of the page before.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """Something that happened in a run."""

    at: datetime
    #: ti: a task has a new state; run: the run has; late: a try ended that was given up; note; audit: somebody did something; callback.
    kind: str
    #: The new state, or what was done.
    event: str
    task_id: str
    try_number: int | None
    #: Whose deed it is; empty: nobody's.
    who: str
    detail: dict[str, Any]


@operation("runs.events", "GET", "/runs/{run}/events", Role.VIEWER)
def events(hub: Hub, asked: ListHappenings) -> Page[Happening]:
    """List what happened in a run, and what people did to it, the last first; what is not in the history yet is left out."""
    record, limit = hub.run(asked.run), within(asked.limit)
    wanted = EventFilter(run_key=record.run_key, task_id=asked.task_id)
    with reading(hub.engine) as connection:
        found = store_events.search(connection, wanted, limit=limit + 1, after=_place(asked.after) if asked.after else None)
    items = tuple(_happening(one) for one in found[:limit])
    return Page(items=items, next=f"{found[limit - 1].seq}-{found[limit - 1].source}" if len(found) > limit else None)


def _place(text: str) -> tuple[int, str]:
    """Return the place of an event that `next` names; raises UsageError."""
    seq, _, source = text.partition("-")
    if not seq.isdecimal() or not source.isalnum() or len(seq) > 18 or len(source) > 40:
        raise UsageError(f"after: {text[:50]!r} is no `next` of such a page")
    return int(seq), source


def _happening(record: EventRecord) -> Happening:
    try:
        detail = json.loads(record.detail) if record.detail else {}
    except ValueError:  # of an older release, which wrote words
        detail = {"text": record.detail}
    return Happening(at=record.at, kind=record.kind, event=record.event, task_id=record.task_id, try_number=record.try_number, who=record.who,
                     detail=detail if isinstance(detail, dict) else {"text": detail})
