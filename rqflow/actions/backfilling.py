"""What the leading scheduler does to the runs of backfills; each deed is safe to repeat, by it or by its successor."""

from __future__ import annotations

from rqflow import clock
from rqflow.actions import cancel as cancelling
from rqflow.actions import query, rewrite, trigger
from rqflow.broker.broker import Broker
from rqflow.dag import partial
from rqflow.dag.backfill import Rerun
from rqflow.dag.run import RunInfo
from rqflow.dag.series import Interval
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict
from rqflow.states import FAILURE_STATES, TERMINAL_RUN_STATES
from rqflow.store import backfills
from rqflow.store.backfills import BackfillRecord
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord


def run_of(record: BackfillRecord, version: Version, interval: Interval) -> RunInfo:
    """Return the run of a backfill for an interval; raises UsageError when its params do not do."""
    return trigger.backfilled(version, interval, clock.utcnow(), number=record.id, options=record.options, conf=record.conf)


def rerun(broker: Broker, engine: Engine, record: BackfillRecord, run: RunRecord) -> None:
    """Run a run again that has ended: what failed in it, or all. One of which nothing can be run again stays as it ended.

    That it is to be run again is noted before it is cleared, with the run's last event: so who comes after one that died in between knows whether
    it was cleared.
    """
    after = run.rerun_after if run.backfill_id == record.id else None
    status = broker.run_status(run.run_key)
    if after is not None and (run.seq > after or (status is not None and status.seq > after)):
        return
    try:
        rewrite.bring_back(broker, engine, run)
    except Conflict:
        _note(engine, record, run, None)
        return
    status = broker.run_status(run.run_key)
    is_over = status is not None and status.state in TERMINAL_RUN_STATES
    wanted = _wanted(broker, engine, record, run) if is_over else []
    _note(engine, record, run, max(run.seq, status.seq if status else 0) if wanted or not is_over else None)
    if wanted:
        rewrite.clear(broker, engine, run, wanted, by=f"{record.who} (backfill {record.id})")


def _wanted(broker: Broker, engine: Engine, record: BackfillRecord, run: RunRecord) -> list[int]:
    """Return the indices of the tasks that are run again."""
    version = query.version_of(broker, engine, run)
    states = query.states_of(query.show(broker, engine, run.run_key))
    among = partial.chosen(version, record.options)
    return [task.index for task in version.tasks
            if task.index in among and (record.rerun is not Rerun.FAILED or states.get(task.task_id) in FAILURE_STATES)]


def _note(engine: Engine, record: BackfillRecord, run: RunRecord, after: int | None) -> None:
    """Note that the run belongs to the backfill, and after which event it is run again; None: it is not, and counts as it ended."""

    def write(connection: Connection) -> None:
        backfills.run_again(connection, record.id, run.run_key, after=after)

    run_in_transaction(engine, write)


def cancel(broker: Broker, engine: Engine, record: BackfillRecord, run: RunRecord) -> None:
    """Cancel a run, unless it has ended or is being cancelled already."""
    status = broker.run_status(run.run_key)
    if status is None or status.cancel_requested or status.state in TERMINAL_RUN_STATES:
        return
    try:
        cancelling.cancel_run(broker, engine, run, by=f"{record.reason.removeprefix('cancelled by ') or record.who} (backfill {record.id})")
    except Conflict:
        # It has ended at this moment, or was not written whole: it is looked at again.
        return
