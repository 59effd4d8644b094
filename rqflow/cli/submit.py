"""rqflow submit: the main job. Loads DAG files; cli/starting.py registers them, starts runs and follows these. It never owns a task."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from rqflow import clock
from rqflow.actions import survey
from rqflow.actions.model import Run
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Printer
from rqflow.cli.show import ANNOUNCED
from rqflow.cli.types import DURATION, MOMENT, PAST_RUNS
from rqflow.exceptions import DagLoadError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person asked for."""

    start: bool
    params: tuple[str, ...]
    conf: str | None
    at: datetime | None
    run_id: str | None
    note: str
    follow: bool | None
    timeout: timedelta | None
    strict: bool
    allow_unsupported: bool
    catchup: str | None = None
    #: Added to the weight of each task.
    priority: int = 0
    #: File with values of params, - for stdin.
    params_file: str | None = None
    dry_run: bool = False
    #: TASK argument: only these tasks.
    selector: str | None = None

    @property
    def says_how(self) -> bool:
        """Whether something was given that only a run started now can take."""
        return bool(self.params or self.conf is not None or self.at or self.run_id is not None or self.note)


@click.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", "start", is_flag=True, help="Start a run of each DAG now.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Value of a DAG param for this run; repeatable.")
@click.option("--conf", metavar="JSON|@FILE", help="dag_run.conf of this run: a JSON object.")
@click.option("--at", type=MOMENT, help="Logical date of this run; now when not given.")
@click.option("--run-id", metavar="ID", help="Name of this run; manual__LOGICAL_DATE when not given.")
@click.option("--note", default="", help="A remark about this run.")
@click.option("--follow/--no-follow", default=None, help="Watch the run until its end; the default on a terminal.")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124; the run goes on.")
@click.option("--strict", is_flag=True, help="Refuse DAGs with warnings.")
@click.option("--allow-unsupported", is_flag=True, help="Accept operators that rqflow does not know; their tasks fail.")
@click.option("--catchup", type=PAST_RUNS, metavar="N|all|none", help="So many past runs of a DAG with catch-up are started, the last ones.")
@output.listing
@pass_app
def submit(app: App, /, printer: Printer, paths: tuple[Path, ...], **options: Any) -> None:
    """Check and register the DAGs of files; start a run with --run, or where the schedule is @once.

    On the embedded default the run is carried out here, by processes that outlive this command and end when idle. With --follow the
    exit code is the run's result; Ctrl-C only stops watching.
    """
    wish = Wish(**options)
    if wish.says_how and not wish.start:
        raise UsageError("-p, --conf, --at, --run-id and --note say how a run is started", hint="Add --run.")
    follow = wish.follow if wish.follow is not None else sys.stderr.isatty()
    printer.check(output.fields_of(Run) if follow else ANNOUNCED)
    # Beside the load, for which this process only waits: the libraries of the services take half a second.
    threading.Thread(target=importlib.import_module, args=("rqflow.cli.submitting" if app.server else "rqflow.cli.starting",), daemon=True).start()
    found = _load(app, paths, wish)
    if app.server:
        from rqflow.cli.submitting import submit as start  # here: what the thread above has begun
    else:
        from rqflow.cli.starting import start  # here: the same
    click.get_current_context().exit(start(app, printer, found.files, wish, follow=follow))


def _load(app: App, paths: Sequence[Path], wish: Wish) -> survey.Read:
    """Load the files before any service is asked for, and refuse what must be refused."""
    found = survey.read(paths, app.here)
    if found.warnings and wish.strict:
        raise DagLoadError([*found.unsupported, *found.warnings], hint="--strict refuses DAGs with warnings.")
    for warning in found.warnings:
        output.problem(f"warning: {warning}")
    if warning := survey.zone_warning(found, app.here, clock.local_zone()):
        output.problem(f"warning: {warning}")
    if found.unsupported and not wish.allow_unsupported:
        raise DagLoadError(list(found.unsupported), hint="With --allow-unsupported the other tasks run, and these fail.")
    return found
