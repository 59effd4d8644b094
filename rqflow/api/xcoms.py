"""Operations on XComs: what the tasks of a run told each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rqflow.actions import xcoms
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.api.runs import OneRun
from rqflow.security.roles import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class ListXComs(OneRun):
    """Whose."""

    task_id: str | None = about("Only those of this task.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class XComValue:
    """A value that a task told under a key."""

    task_id: str
    key: str
    value: Any


@operation("xcoms.list", "GET", "/runs/{run}/xcoms", Role.VIEWER)
def list_xcoms(hub: Hub, asked: ListXComs) -> Page[XComValue]:
    """List what the tasks of a run told others, by task and key."""
    record = hub.run(asked.run)
    found = xcoms.of_run(hub.live, hub.engine, record.run_key, None if asked.task_id is None else [asked.task_id])
    return Page(items=tuple(XComValue(task_id=task_id, key=key, value=json.loads(text))
                            for task_id, values in sorted(found.items()) for key, text in sorted(values.items())))
