"""What people did, as they read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rqflow.exceptions import UsageError
from rqflow.store import events
from rqflow.store.engine import Engine, reading
from rqflow.store.events import EventFilter, EventRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """Something that a person did."""

    at: datetime
    who: str
    #: What it was: login, user_added, run_started, paused …
    event: str
    #: To what, where it was to that; empty else.
    dag_id: str
    run_key: str
    task_id: str
    #: What was given for it.
    detail: Mapping[str, Any]
    #: What names it: what `after` takes to get those that were done before it.
    name: str = ""


def search(engine: Engine, wanted: EventFilter, *, limit: int | None = None, after: str | None = None) -> list[Deed]:
    """Return the deeds that pass, the last one first; with `after` those that were done before the one of this name. Raises UsageError."""
    place = None if after is None else _place(after)
    with reading(engine) as connection:
        return [_deed(one) for one in events.search(connection, replace(wanted, kinds={events.AUDIT}), limit=limit, after=place)]


def _place(name: str) -> tuple[int, str]:
    seq, _, source = name.partition("-")
    if not seq.isascii() or not seq.isdigit() or len(seq) > 18:
        raise UsageError(f"after: {name[:50]!r} names no deed", hint="Take `next` of the page before.")
    return int(seq), source


def _deed(record: EventRecord) -> Deed:
    try:
        detail = json.loads(record.detail) if record.detail else {}
    except ValueError:  # of an older release, which wrote words
        detail = {"text": record.detail}
    return Deed(at=record.at, who=record.who, event=record.event, dag_id=record.dag_id, run_key=record.run_key, task_id=record.task_id,
                detail=detail if isinstance(detail, dict) else {"text": detail}, name=f"{record.seq}-{record.source}")
