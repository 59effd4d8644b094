"""rqflow submit: the main job. Loads, checks and registers DAG files; starts runs and follows them. It never owns a task."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from rqflow import clock
from rqflow.actions import submit as action
from rqflow.actions import trigger
from rqflow.actions.model import Run
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.following import ANNOUNCED, Follower, detach, terminable
from rqflow.cli.output import Printer
from rqflow.cli.types import DURATION, MOMENT
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy import background
from rqflow.deploy.background import Started
from rqflow.deploy.services import Services, open_services
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
    found = _load(app, paths, wish)
    with open_services(app.settings, client_name="rqflow-submit") as services:
        planned, started = _register(app, services, found.versions, wish)
        if not planned:
            return
        begun: list[RunInfo] = []
        try:
            with terminable():
                started = _start(app, services, planned, started, begun)
                follower = Follower(services=services, printer=printer, started=started, timeout=wish.timeout)
                code = follower.follow(planned) if follow else follower.announce(planned)
        except KeyboardInterrupt as stop:
            code = detach(stop, begun)
    click.get_current_context().exit(code)


def _load(app: App, paths: Sequence[Path], wish: Wish) -> action.Read:
    """Load the files before any service is asked for, and refuse what must be refused."""
    found = action.read(paths, app.settings)
    if found.warnings and wish.strict:
        raise DagLoadError([*found.unsupported, *found.warnings], hint="--strict refuses DAGs with warnings.")
    for warning in found.warnings:
        output.problem(f"warning: {warning}")
    if found.unsupported and not wish.allow_unsupported:
        raise DagLoadError(list(found.unsupported), hint="With --allow-unsupported the other tasks run, and these fail.")
    return found


def _register(app: App, services: Services, versions: Sequence[Version], wish: Wish) -> tuple[list[tuple[RunInfo, Version]], list[Started]]:
    """Register the DAGs; say what happens next with those of which no run starts; return the runs that are to be started."""
    action.check_pools(services.broker, services.engine, versions)
    planned = [(run, version) for version in versions if (run := _planned(services, version, wish))]
    wants_processes = bool(planned) and services.is_embedded
    started = background.ensure(services, app.file) if wants_processes else []
    for version, saved in zip(versions, action.register(services.broker, services.engine, versions), strict=True):
        output.note(action.describe(version, saved))
    running = {run.dag_id for run, _ in planned}
    for version in versions:
        if version.dag_id not in running:
            output.note(action.what_next(services.broker, services.engine, version))
    return planned, started


def _start(app: App, services: Services, planned: Sequence[tuple[RunInfo, Version]], started: list[Started], begun: list[RunInfo]) -> list[Started]:
    """Start the planned runs and note each in `begun`; return the processes that carry them out, of which `started` are there already."""
    for run, version in planned:
        if missing := trigger.left_out(run, version):
            output.problem(f"warning: {missing}")
        # Noted first: from its first row on a run goes on without us.
        begun.append(run)
        trigger.start(services.broker, services.engine, run, version, by=who())
    # Again, for one that was about to end.
    return background.ensure(services, app.file, started) if services.is_embedded else started


def _planned(services: Services, version: Version, wish: Wish) -> RunInfo | None:
    """Return the run to be started: one by hand, or the one of a schedule of @once that has not been."""
    if wish.start:
        given = trigger.Given(params=trigger.read_params(wish.params, version.params), logical_date=wish.at, run_id=wish.run_id, note=wish.note,
                              conf=trigger.read_conf(wish.conf) if wish.conf is not None else {})
        return trigger.by_hand(version, given, clock.utcnow())
    if action.is_once(version) and action.last_run(services.engine, version.dag_id) is None:
        return trigger.once(version, clock.utcnow())
    return None
