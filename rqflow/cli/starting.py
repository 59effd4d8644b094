"""What `submit` does with DAGs that were loaded: registers them, starts runs, follows these. Imports what the services need."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import click

from rqflow import clock
from rqflow.actions import dag_files, detached, notices, query, trigger
from rqflow.actions import submit as action
from rqflow.actions.model import plain
from rqflow.actions.people import ownership
from rqflow.actions.schedule import NONE, ManyRuns
from rqflow.actions.survey import Report
from rqflow.broker.lock import has_leader
from rqflow.cli import output, signing
from rqflow.cli.app import App, who
from rqflow.cli.following import Follower, detach, terminable
from rqflow.cli.observing import Here
from rqflow.cli.output import Printer
from rqflow.cli.submit import Wish
from rqflow.cli.types import PAST_RUNS
from rqflow.dag import partial
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy import background
from rqflow.deploy.background import Started
from rqflow.deploy.services import Services, open_services

#: Fields of a run that is not started, because that was only tried.
PLANNED = ("dag_id", "run_id", "version", "logical_date", "data_interval_start", "data_interval_end", "params", "conf", "priority", "note",
           "tasks")


def params_of_file(name: str | None) -> dict[str, Any]:
    """Return the params of --params-file."""
    if name is None:
        return {}
    return trigger.read_params_file("-", sys.stdin.read()) if name == "-" else trigger.read_params_file(name)


def start(app: App, printer: Printer, loaded: Sequence[Report], wish: Wish, *, follow: bool) -> int:
    """Register the DAGs of files, start the runs that are wished for, watch them when `follow`; return the exit code.

    Raises RqflowError with what is wrong.
    """
    with open_services(app.settings, client_name="rqflow-submit") as services:
        planned, started = _register(app, services, loaded, wish)
        return carry_out(app, services, printer, planned, started, timeout=wish.timeout, follow=follow) if planned else 0


def start_known(app: App, printer: Printer, dag_id: str, wish: Wish, *, follow: bool) -> int:
    """Start a run of the newest version of a DAG that was submitted, watch it when `follow`; return the exit code.

    Raises RqflowError with what is wrong.
    """
    with open_services(app.settings, client_name="rqflow-run") as services:
        version = query.find_version(services.engine, dag_id)
        planned = [(run, version)] if (run := _planned(services, version, wish)) else []
        if wish.dry_run:
            for run, _ in planned:
                tasks = [version.tasks[index].task_id for index in sorted(partial.chosen(version, run.options))]
                printer.record({**{name: plain(getattr(run, name)) for name in PLANNED if name != "tasks"}, "tasks": tasks}, name="run_id")
            output.note("Nothing was started: this is what would be.")
            return 0
        started = background.ensure(services, app.file) if services.is_embedded else []
        return carry_out(app, services, printer, planned, started, timeout=wish.timeout, follow=follow)


def carry_out(app: App, services: Services, printer: Printer, planned: Sequence[tuple[RunInfo, Version]], started: list[Started], *,
              timeout: timedelta | None, follow: bool) -> int:
    """Start the planned runs and watch them when `follow`; return the exit code."""
    begun: list[RunInfo] = []
    try:
        with terminable():
            started = _start(app, services, planned, started, begun)
            follower = Follower(observer=Here(services, started), printer=printer, started=started, timeout=timeout)
            return follower.follow(planned) if follow else follower.announce(planned)
    except KeyboardInterrupt as stop:
        return detach(stop, begun)


def _register(app: App, services: Services, loaded: Sequence[Report], wish: Wish) -> tuple[list[tuple[RunInfo, Version]], list[Started]]:
    """Register the DAGs; say what happens next with those of which no run starts; return the runs that are to be started."""
    files, moved = dag_files.settled(services.engine, loaded)
    action.check_pools(services.broker, services.engine, files)
    files, notes = detached.attach(files)
    for note in notes:
        output.problem(f"warning: {note}")
    if app.settings.security.signing:
        files = signing.pen(app).sign_reports(services.engine, files)
    versions = [version for report in files for version in report.versions]
    for warning in action.check_connections(services.broker, services.engine, files, is_embedded=services.is_embedded, strict=wish.strict):
        output.problem(f"warning: {warning}, and its worker's environment must have it")
    planned = [(run, version) for version in versions if (run := _planned(services, version, wish))]
    wants_processes = bool(planned) and services.is_embedded
    started = background.ensure(services, app.file) if wants_processes else []
    registered = _registered(app, services, files, {run.dag_id for run, _ in planned}, wish)
    _tell(app, services, registered, {run.dag_id for run, _ in planned})
    for dag_id in moved:
        output.note(f"{dag_id}: dates that the file takes from the clock stay as they were, for nothing that it reads has changed")
    if services.is_embedded and any(one.news.started for one in registered):
        started = background.ensure(services, app.file, started)
    if any(one.news.next for one in registered) and not started and not has_leader(services.connection):
        output.problem("warning: no scheduler is running here, and scheduled runs start only while one is: rqflow scheduler (and rqflow worker)")
    return planned, started


def _tell(app: App, services: Services, registered: Sequence[action.Registered], running: Collection[str]) -> None:
    """Say what was registered, and what happens next with the DAGs that are not `running` at once."""
    for one in registered:
        output.note(action.describe(one))
        for moved in one.moved:
            output.note(moved.words(app.zone))
    for warning in notices.warnings([one.version for one in registered], app.settings):
        output.problem(f"warning: {warning}")
    for one in registered:
        if one.version.dag_id not in running:
            which = f"{one.version.dag_id}: " if len(registered) > 1 else ""
            output.note(which + action.what_next(services.broker, services.engine, one, app.zone))


def _registered(app: App, services: Services, files: Sequence[Report], starts: Collection[str], wish: Wish) -> list[action.Registered]:
    """Register the DAGs, of which runs of some are started here; where many past runs would start, ask a person on a terminal how many are meant."""
    by_default, wanted = app.settings.scheduler.catchup_by_default, wish.catchup
    submitter = ownership.at_hub(services.engine, app.settings, who(), os.geteuid())
    versions = [version for report in files for version in report.versions]
    while True:
        try:
            return action.register(services.broker, services.engine, versions, catchup_by_default=by_default, wanted=wanted, restores=True,
                                   files=files, starts=starts, submitter=submitter)
        except ManyRuns as error:
            if not (app.may_ask and sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            output.problem(str(error.message))
            wanted = click.prompt("How many of them, the last ones", type=PAST_RUNS, default=NONE, err=True)


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
        params = {**params_of_file(wish.params_file), **trigger.read_params(wish.params, version.params, version.param_specs)}
        given = trigger.Given(params=params, logical_date=wish.at, run_id=wish.run_id, note=wish.note,
                              conf=trigger.read_conf(wish.conf) if wish.conf is not None else {}, priority=wish.priority, selector=wish.selector)
        return trigger.by_hand(version, given, clock.utcnow())
    if action.starts_once(services.engine, version):
        return trigger.once(version, clock.utcnow())
    return None
