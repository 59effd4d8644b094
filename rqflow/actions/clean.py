"""Making the history smaller: what would go, and its removal, of rows and of logs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rqflow import logs
from rqflow.broker.broker import Broker
from rqflow.dag.run import SCHEDULED
from rqflow.recorder import retention
from rqflow.store import clean as rows
from rqflow.store import deletions
from rqflow.store.clean import OldRun
from rqflow.store.engine import Engine, reading, run_in_transaction

logger = logging.getLogger(__name__)

#: How the number of log files is called among the tables.
LOGS = "log files"
#: Runs whose logs are removed before their rows; versions that one statement removes.
_RUNS, _VERSIONS = 50, 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to go."""

    #: Runs that ended, and other rows that were written, before this.
    before: datetime
    #: The newest runs of each DAG that stay.
    keep_last: int = 50
    #: Of store.clean.TABLES; the rows of a run go with it.
    tables: tuple[str, ...] = rows.TABLES
    #: The archive, when the logs of the runs are to go too.
    log_folder: Path | None = None


def preview(broker: Broker, engine: Engine, wanted: Wanted) -> Counter[str]:
    """Return how many rows of each table, and log files, `run` would remove; nothing is changed."""
    runs, in_use = _old_runs(broker, engine, wanted), broker.versions_in_use()
    with reading(engine) as connection:
        counted = rows.count_rows(connection, [run.run_key for run in runs])
        counted += rows.count_rest(connection, wanted.tables, wanted.before, in_use)
        if wanted.log_folder:
            for run in runs:
                counted[LOGS] += _of_logs(retention.count_run, wanted.log_folder, run, rows.task_ids(connection, run.run_key))
    return counted


def run(broker: Broker, engine: Engine, wanted: Wanted, *, pause: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Remove it; return how many rows of each table, and log files, went.

    In transactions of few rows, with a call of `pause` between two; when that is true, the rest is left for another time. May be broken
    off anywhere and repeated. What Redis has is kept.
    """
    removed: Counter[str] = Counter()
    left = _old_runs(broker, engine, wanted)
    while left and not pause():
        some = left[:_RUNS]
        if wanted.log_folder:
            for run in some:
                with reading(engine) as connection:
                    tasks = rows.task_ids(connection, run.run_key)
                removed[LOGS] += _of_logs(retention.remove_run, wanted.log_folder, run, tasks)
        keys = [run.run_key for run in some]
        done, went = run_in_transaction(engine, lambda connection: rows.remove_runs(connection, keys, wanted.before))  # noqa: B023 - called here
        removed += went
        left = left[done:]
    while not pause():
        went = run_in_transaction(engine, lambda connection: rows.remove_rest(connection, wanted.tables, wanted.before))
        removed += went
        if not went.total():
            removed += _remove_versions(broker, engine, wanted)
            removed += _remove_tombstones(engine, wanted)
            break
    if removed.total():
        logger.info("removed from the history: %s", dict(removed), extra=logs.context("history_cleaned"))
    return removed


def _old_runs(broker: Broker, engine: Engine, wanted: Wanted) -> list[OldRun]:
    if "dag_run" not in wanted.tables:
        return []
    # Redis is asked first: a run that it forgets meanwhile is over and recorded.
    live = broker.all_runs()
    with reading(engine) as connection:
        return rows.old_runs(connection, wanted.before, wanted.keep_last, live)


def _remove_tombstones(engine: Engine, wanted: Wanted) -> Counter[str]:
    """Forget that runs were deleted so long ago; a DAG that was stays so."""
    removed: Counter[str] = Counter()
    while "dag_run" in wanted.tables:
        went = run_in_transaction(engine, lambda connection: deletions.forget(connection, wanted.before))
        removed["deletion"] += went
        if not went:
            break
    return removed


def _remove_versions(broker: Broker, engine: Engine, wanted: Wanted) -> Counter[str]:
    removed: Counter[str] = Counter()
    if "dag_version" in wanted.tables:
        in_use = broker.versions_in_use()
        with reading(engine) as connection:
            old = rows.old_versions(connection, wanted.before, in_use)
        for at in range(0, len(old), _VERSIONS):
            some = old[at:at + _VERSIONS]
            removed["dag_version"] += run_in_transaction(engine, lambda connection: rows.remove_versions(connection, some))  # noqa: B023
    return removed


def _of_logs(do: Callable[..., int], folder: Path, run: OldRun, tasks: list[str]) -> int:
    if run.logical_date is None:
        return 0
    return do(folder, run.dag_id, tasks, run.logical_date, run_key="" if run.run_type == SCHEDULED else run.run_key)
