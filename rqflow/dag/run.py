"""A DAG run as plain data: what it stands for and what was given at its trigger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MANUAL, SCHEDULED, BACKFILL = "manual", "scheduled", "backfill"


def run_key(dag_id: str, run_id: str) -> str:
    """Return the short name, 16 hex digits, that keys and jobs use for a run."""
    return hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:16]


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

    @property
    def key(self) -> str:
        """The short name of this run in keys and jobs."""
        return run_key(self.dag_id, self.run_id)

    def to_json(self) -> str:
        """Return this run as JSON, times as ISO 8601."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({k: v.isoformat() if isinstance(v, datetime) else v for k, v in plain.items()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunInfo:
        """Return the run that to_json wrote."""
        plain = json.loads(text)
        for name in ("logical_date", "data_interval_start", "data_interval_end", "created_at"):
            if plain.get(name):
                plain[name] = datetime.fromisoformat(plain[name])
        return cls(**plain)
