"""Cancelling runs."""

from __future__ import annotations

from rqflow.broker.broker import Broker
from rqflow.exceptions import Conflict
from rqflow.states import RunState
from rqflow.store import events
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord


def cancel_run(broker: Broker, engine: Engine, run: RunRecord, *, by: str) -> RunState:
    """Cancel all of a run that has not ended; return its state: `cancelled`, or `running` until running tasks are gone.

    Raises Conflict when the run has ended.
    """
    status = broker.run_status(run.run_key)
    state = status.state if status else run.state
    if status is None or state in {RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED}:
        raise Conflict(f"run {run.run_id} of {run.dag_id} has ended: {state.value}")

    def note(connection: Connection) -> None:
        events.add(connection, "run_cancelled", who=by, dag_id=run.dag_id, run_key=run.run_key)

    after = RunState(broker.cancel_run(run.run_key, by))
    run_in_transaction(engine, note)
    return after
