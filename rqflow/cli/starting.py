"""What `submit` does with DAGs that were loaded: registers them, starts runs, follows these. Imports what the services need."""

from __future__ import annotations

from collections.abc import Sequence

from rqflow import clock
from rqflow.actions import submit as action
from rqflow.actions import trigger
from rqflow.cli import output
from rqflow.cli.app import App, who
from rqflow.cli.following import Follower, detach, terminable
from rqflow.cli.output import Printer
from rqflow.cli.submit import Wish
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy import background
from rqflow.deploy.background import Started
from rqflow.deploy.services import Services, open_services


def start(app: App, printer: Printer, versions: Sequence[Version], wish: Wish, *, follow: bool) -> int:
    """Register the DAGs, start the runs that are wished for, watch them when `follow`; return the exit code.

    Raises RqflowError with what is wrong.
    """
    with open_services(app.settings, client_name="rqflow-submit") as services:
        planned, started = _register(app, services, versions, wish)
        if not planned:
            return 0
        begun: list[RunInfo] = []
        try:
            with terminable():
                started = _start(app, services, planned, started, begun)
                follower = Follower(services=services, printer=printer, started=started, timeout=wish.timeout)
                return follower.follow(planned) if follow else follower.announce(planned)
        except KeyboardInterrupt as stop:
            return detach(stop, begun)


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
