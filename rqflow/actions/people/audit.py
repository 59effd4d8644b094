"""What people did, as they read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

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


def search(engine: Engine, wanted: EventFilter, *, limit: int | None = None) -> list[Deed]:
    """Return the deeds that pass, the last one first."""
    with reading(engine) as connection:
        return [_deed(one) for one in events.search(connection, replace(wanted, kinds={events.AUDIT}), limit=limit)]


def _deed(record: EventRecord) -> Deed:
    try:
        detail = json.loads(record.detail) if record.detail else {}
    except ValueError:  # of an older release, which wrote words
        detail = {"text": record.detail}
    return Deed(at=record.at, who=record.who, event=record.event, dag_id=record.dag_id, run_key=record.run_key, task_id=record.task_id,
                detail=detail if isinstance(detail, dict) else {"text": detail})
