"""A DAG run as plain data: what it stands for and what was given at its trigger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

MANUAL, SCHEDULED, BACKFILL = "manual", "scheduled", "backfill"


@lru_cache(maxsize=1024)
def run_key(dag_id: str, run_id: str) -> str:
    """Return the short name, 16 hex digits, that keys and jobs use for a run."""
    return hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousRun:
    """The last run of the same DAG before this one that ended in success. All times are aware and UTC."""

    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """In what a run differs from others of its version: what a person asked for."""

    #: Only the tasks in whose id this regular expression is found, and those that they depend on; empty: all.
    task_regex: str = ""
    #: Of those only the ones in whose id it is found.
    alone: bool = False
    #: The pool of all its tasks, whatever their own is; empty: their own.
    pool: str = ""


#: A run like all others of its version.
AS_IT_IS = RunOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """What a run is, from its creation on; its state is elsewhere. All times are aware and UTC."""

    dag_id: str
    run_id: str
    run_type: str
    version: str
    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    conf: Mapping[str, Any] = field(default_factory=dict)
    #: DAG params with the values given at the trigger laid over them.
    params: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    #: Added to the weight of each of its tasks.
    priority: int = 0
    note: str = ""
    #: Its tasks wait for nothing of the run before it.
    ignores_past: bool = False
    #: The last successful run before it, as it was when this one was created; for the prev_…_success variables of templates.
    previous: PreviousRun | None = None
    options: RunOptions = AS_IT_IS
    #: The backfill that made it, if one did.
    backfill_id: int | None = None

    @property
    def key(self) -> str:
        """The short name of this run in keys and jobs."""
        return run_key(self.dag_id, self.run_id)

    def to_json(self) -> str:
        """Return this run as JSON, times as ISO 8601."""
        plain = _plain(self)
        # What most runs have not is left out: the release before does not know it.
        if self.options == AS_IT_IS:
            del plain["options"]
        if self.backfill_id is None:
            del plain["backfill_id"]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunInfo:
        """Return the run that to_json wrote; raises ValueError for what is none."""
        plain = json.loads(text)
        try:
            before, options = plain.get("previous"), plain.pop("options", {})
            return cls(**_with_times(plain) | {"previous": PreviousRun(**_with_times(before)) if before else None, "options": RunOptions(**options)})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is no run: {error}") from error


_TIMES = ("logical_date", "data_interval_start", "data_interval_end", "created_at", "started_at", "ended_at")


def _plain(value: RunInfo | PreviousRun | RunOptions) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in value.__slots__}
    return {name: each.isoformat() if isinstance(each, datetime) else _plain(each) if isinstance(each, PreviousRun | RunOptions) else each
            for name, each in found.items()}


def _with_times(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: datetime.fromisoformat(each) if name in _TIMES and each else each for name, each in plain.items()}
