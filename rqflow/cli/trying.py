"""What `dag test` and `task test` share: a run in a folder of its own, in this process, recorded nowhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rqflow import clock
from rqflow.actions import describe, trigger
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.output import Column, duration
from rqflow.dag import params as dag_params
from rqflow.dag.version import Version
from rqflow.deploy import local
from rqflow.deploy.local import Echo, LocalRun

COLUMNS = [Column("task_id", "TASK"), Column("state", "STATE"), Column("tries", "TRY"), Column("duration", "DURATION", show=duration),
           Column("reason", "REASON")]

#: Fields of what `row` returns.
FIELDS = ("task_id", "state", "tries", "try_number", "duration", "exit_code", "reason")


@contextmanager
def trial(app: App, version: Version, *, date: datetime | None, pairs: Sequence[str], keep: bool, echo: Echo) -> Iterator[LocalRun]:
    """Give a run of `version` for `date` (now when None) with the params of `-p`; its folder goes at the end unless `keep`."""
    values = trigger.read_params(pairs, version.params, version.param_specs)
    given = dag_params.with_given(version.params, version.param_specs, values, by_hand=True)
    run = describe.run_at(version, date or clock.utcnow(), params=given)
    folder = Path(tempfile.mkdtemp(prefix="rqflow-test-"))
    try:
        with local.opened(run, version, app.here, folder, echo=echo) as opened:
            yield opened
    finally:
        if keep:
            output.note(f"the folders of the tasks are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def row(result: local.Result) -> dict[str, object]:
    """Return a result as one line of a table."""
    tries = f"{result.try_number}/{result.max_tries}" if result.try_number else ""
    return {"task_id": result.task_id, "state": result.state.value, "tries": tries, "try_number": result.try_number, "duration": result.duration,
            "exit_code": result.exit_code, "reason": result.reason}
