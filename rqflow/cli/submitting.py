"""What `submit`, `run start` and `run exec` do with a hub elsewhere: files are loaded and signed here, all else is asked of its web server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import click

from rqflow.actions import detached, execute, trigger
from rqflow.actions.model import plain
from rqflow.actions.schedule import NONE
from rqflow.actions.signing import Pen
from rqflow.actions.survey import Report
from rqflow.api.dags import OneVersion, one_version
from rqflow.api.runs import StartRun, plan_run, start_run
from rqflow.api.submitting import AllSubmitted, ExecCommand, SubmitDags, exec_command
from rqflow.api.submitting import submit as submit_dags
from rqflow.cli import asking as questions
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.definitions import of_run
from rqflow.cli.following import Follower, detach, terminable
from rqflow.cli.hub import Ask, asking, zone_name
from rqflow.cli.observing import Away
from rqflow.cli.output import Printer
from rqflow.cli.starting import PLANNED, params_of_file
from rqflow.cli.submit import Wish
from rqflow.cli.types import PAST_RUNS
from rqflow.dag.run import RunInfo, run_key
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError


def submit(app: App, printer: Printer, loaded: Sequence[Report], wish: Wish, *, follow: bool) -> int:
    """Sign what was loaded where people sign, send it, start the runs that are wished for, watch them when `follow`; return the exit code."""
    files, notes = detached.attach(loaded)
    for note in notes:
        output.problem(f"warning: {note}")
    if app.here.security.signing:
        files = _pen(app).sign_reports(None, files)
    versions = {version.dag_id: version for report in files for version in report.versions}
    with asking(app) as ask:
        done = _sent(app, ask, list(versions.values()), wish)
        for warning in done.warnings:
            output.problem(f"warning: {warning}")
        for one in done.dags:
            output.note(one.said)
            for moved in one.moved:
                output.note(moved)
        starts: list[Callable[[], str]] = []
        for one in done.dags:
            if wish.start:
                starts.append(partial(_started, ask, _run_of(versions[one.dag_id], wish)))
            elif one.run_id:
                starts.append(partial(run_key, one.dag_id, one.run_id))
            else:
                output.note((f"{one.dag_id}: " if len(done.dags) > 1 else "") + one.next)
        return _carry_out(ask, printer, starts, timeout=wish.timeout, follow=follow) if starts else 0


def _pen(app: App) -> Pen:
    return Pen(app.here, may_ask=questions.is_asked(app) and sys.stderr.isatty())


def _sent(app: App, ask: Ask, versions: Sequence[Version], wish: Wish) -> AllSubmitted:
    """Send the DAGs; where many past runs would start, ask a person on a terminal how many are meant."""
    asked = SubmitDags(versions=[one.json for one in versions], signatures=[list(one.signatures) for one in versions], catchup=wish.catchup,
                       starts=[one.dag_id for one in versions] if wish.start else [], strict=wish.strict, tz=zone_name(app))
    while True:
        try:
            return ask(submit_dags, asked)
        except UsageError as error:
            if "--catchup" not in error.hint or not (app.may_ask and sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            output.problem(error.message)
            asked = replace(asked, catchup=click.prompt("How many of them, the last ones", type=PAST_RUNS, default=NONE, err=True))


def _run_of(version: Version, wish: Wish) -> StartRun:
    """Return the run that is wished for. Raises UsageError."""
    params = {**params_of_file(wish.params_file), **trigger.read_params(wish.params, version.params, version.param_specs)}
    return StartRun(dag_id=version.dag_id, params=params, conf=trigger.read_conf(wish.conf) if wish.conf is not None else {}, logical_date=wish.at,
                    run_id=wish.run_id, note=wish.note, priority=wish.priority, task=wish.selector)


def _started(ask: Ask, asked: StartRun) -> str:
    """Start a run; return its key."""
    return ask(start_run, asked).run_key


def start_known(app: App, printer: Printer, dag_id: str, wish: Wish, *, follow: bool) -> int:
    """Start a run of a DAG that was submitted, watch it when `follow`; return the exit code."""
    with asking(app) as ask:
        asked = _run_of(Version.from_json(ask(one_version, OneVersion(dag_id=dag_id)).json), wish)
        if wish.dry_run:
            planned = ask(plan_run, asked)
            printer.record({name: plain(getattr(planned, name)) for name in PLANNED}, name="run_id")
            output.note("Nothing was started: this is what would be.")
            return 0
        return _carry_out(ask, printer, [partial(_started, ask, asked)], timeout=wish.timeout, follow=follow)


def execute_command(app: App, printer: Printer, asked: ExecCommand, *, timeout: timedelta | None, follow: bool) -> int:
    """Run a command at a hub elsewhere, watch it when `follow`, then print what it has printed; return the exit code."""
    if app.here.security.signing:
        version = execute.a_version(asked.command, name=asked.name, queue=asked.queue, env=asked.env, cwd=asked.cwd)
        asked = replace(asked, signatures=list(_pen(app).sign(None, [version])[0].signatures))
    with asking(app) as ask:
        begun: list[str] = []

        def begin() -> str:
            begun.append(ask(exec_command, asked).run_key)
            return begun[0]

        code = _carry_out(ask, printer, [begin], timeout=timeout, follow=follow)
        if follow and printer.shows_parts and code == 0:
            observer = Away(ask)
            run = observer.run(begun[0])
            for chunk in observer.read(run, run.tasks[0].task_id, max(run.tasks[0].try_number, 1)):
                output.raw(chunk)
    return code


def _carry_out(ask: Ask, printer: Printer, starts: Sequence[Callable[[], str]], *, timeout: timedelta | None, follow: bool) -> int:
    """Start runs, and watch them when `follow`; return the exit code. Ctrl-C and SIGTERM end the watching alone."""
    begun: list[RunInfo] = []
    try:
        with terminable():
            planned: list[tuple[RunInfo, Version]] = []
            for start in starts:
                version, run = of_run(ask, start())
                if run is None:
                    raise UsageError("the hub knows too little of the run that it has started", hint="`rqflow run list` shows it.")
                begun.append(run)
                planned.append((run, version))
                if missing := trigger.left_out(run, version):
                    output.problem(f"warning: {missing}")
            follower = Follower(observer=Away(ask), printer=printer, timeout=timeout)
            return follower.follow(planned) if follow else follower.announce(planned)
    except KeyboardInterrupt as stop:
        return detach(stop, begun)
