"""What the tasks of a run told each other: from Redis while it has the run, from SQL afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rqflow.broker.broker import Broker
from rqflow.store import xcoms
from rqflow.store.engine import Engine, reading


def of_run(broker: Broker, engine: Engine, run_key: str, task_ids: Collection[str] | None = None) -> Mapping[str, Mapping[str, str]]:
    """Return {task_id: {key: JSON text}} of some tasks of a run, or of all."""
    if broker.run_exists(run_key):
        return broker.xcoms(run_key, task_ids)
    with reading(engine) as connection:
        return xcoms.of_run(connection, run_key, task_ids)
