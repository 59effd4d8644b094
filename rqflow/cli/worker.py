"""rqflow worker: runs tasks, in the foreground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from rqflow.actions import halting, steering
from rqflow.broker import standing
from rqflow.broker.names import member_of
from rqflow.broker.status import WorkerStatus
from rqflow.cli import bug, elsewhere, joining, output  # noqa: F401 - the first in case that there is one once our files were replaced
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import DURATION
from rqflow.deploy import background
from rqflow.deploy.live import Live, open_live
from rqflow.deploy.recording import recording
from rqflow.deploy.reloading import Reload
from rqflow.exceptions import NotFound, UsageError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.worker.accounts import sudoers_line
from rqflow.worker.loop import DRAIN, KEEP, KILL
from rqflow.worker.options import Asked
from rqflow.worker.worker import Worker

COLUMNS = [Column("name", "WORKER"), Column("host", "HOST"), Column("state", "STATE"), Column("queues", "QUEUES", show=", ".join),
           Column("running", "RUNNING"), Column("slots", "SLOTS"), Column("labels", "LABELS", show=", ".join), Column("version", "RQFLOW"),
           Column("unreachable_since", "UNREACHABLE SINCE"), Column("linked_since", "LINKED SINCE", wide=True),
           Column("clock_offset", "CLOCK OFF", wide=True), Column("disk_free", "DISK FREE", wide=True), Column("pid", "PID", wide=True),
           Column("last_heartbeat", "LAST HEARTBEAT", wide=True)]

TASK_COLUMNS = [Column("run_id", "RUN"), Column("task_id", "TASK"), Column("dag_id", "DAG")]


@click.group(invoke_without_command=True)
@click.option("-Q", "-q", "--queues", multiple=True, metavar="NAME,...", help="Queues to serve, in this order; worker.queues when not given.")
@click.option("-n", "-c", "--concurrency", "slots", type=click.IntRange(min=1), help="Tasks to run at the same time; worker.slots when not given.")
@click.option("--label", "labels", multiple=True, metavar="NAME[=VALUE]", help="What this machine has; repeatable.")
@click.option("--burst", is_flag=True, help="End when no task is ready.")
@click.option("--max-tasks", type=click.IntRange(min=1), metavar="N", help="End after N tasks.")
@click.option("--workdir", type=click.Path(path_type=Path), help="Folder of tasks and logs, on a local disk; worker.work_dir when not given.")
@click.option("--on-stop", type=click.Choice([KEEP, DRAIN, KILL]), help="What SIGTERM does with running tasks; worker.on_stop when not given.")
@click.option("--idle-exit", is_flag=True, hidden=True, help="End after scheduler.idle_exit without work; `submit` starts workers so.")
@click.pass_context
def worker(ctx: click.Context, /, idle_exit: bool, queues: tuple[str, ...], workdir: Path | None, **asked: object) -> None:
    """Run tasks in the foreground, until SIGTERM or Ctrl-C; a second one ends what still runs.

    The tasks belong to a shepherd process, so that they outlive this one unless --on-stop says otherwise. A Redis that is away is
    waited for, except with --burst.
    """
    if ctx.invoked_subcommand is not None:
        return
    app: App = ctx.obj
    settings = app.service_settings()
    names = [name.strip() for text in queues for name in text.split(",") if name.strip()]
    more: Asked = {"queues": names, "work_dir": workdir, "idle_exit": settings.scheduler.idle_exit if idle_exit else None}
    reload = Reload(app.fresh_settings)
    NOTIFIER.ready("waits for Redis")
    work(settings, more | asked, reload)  # type: ignore[arg-type]  # click hands over what the options above name
    reload.carry_out()


def work(settings: Settings, asked: Asked, reload: Reload) -> None:
    """Open the live state, and the history where it is on a server, and work.

    A worker that ends by itself when idle goes on while a run is unfinished: its next try may be due later. It looks once more after
    it has said that it is gone, so that no run is started between the two.
    """
    gives_way = asked.get("idle_exit") is not None
    with open_live(settings, client_name="rqflow-worker", waits=not asked.get("burst")) as live, recording(live):
        asked = asked | Asked(holds=[live.users] if live.users else [])
        stays = not (gives_way or asked.get("burst") or asked.get("max_tasks"))
        if stays and not asked.get("work_dir"):
            background.replace(live, background.WORKER)
        while True:
            made = Worker.from_settings(live.connection, live.settings, **asked)
            (reload.install_leaving if gives_way else reload.install)(made.request_leave)
            with background.alive(live.state, background.WORKER):
                made.work()
            if made.was_told_to_stop or not asked.get("idle_exit") or not live.broker.live_runs():
                return


@worker.command()
@click.argument("name", metavar="WORKER")
@output.listing
@pass_app
def forget(app: App, printer: Printer, name: str) -> None:
    """Wait no more for a worker that is gone for good; one that joined is not let in any more.

    After a loss of Redis a queue gives no work before every worker that served it has said what it still runs. What it ran counts as running;
    `rqflow task mark-lost` gives it up. The key of one that joined goes from authorized_keys, and opens no secret.
    """
    if app.server:
        forgotten, done = elsewhere.forgotten(app, name)
        output.note("; ".join([f"nobody waits for {forgotten} any more", *done]))
        printer.report([{"name": forgotten}], COLUMNS[:1])
        return
    # Here, because SQLAlchemy takes half of a worker's memory.
    from rqflow.actions import forget_worker
    from rqflow.deploy.joining import hub
    from rqflow.deploy.services import open_services

    with open_services(app.settings) as services:
        done = hub.forget(services.engine, member_of(name), by=who())
        try:
            forgotten = forget_worker.forget(services.broker, services.engine, name, by=who())
        except NotFound:
            if not done:
                raise
            forgotten = name
    output.note("; ".join([f"nobody waits for {forgotten} any more", *done]))
    printer.report([{"name": str(forgotten)}], COLUMNS[:1])


for command in (joining.bootstrap, joining.join, joining.add, joining.admit, joining.enrol):
    worker.add_command(command)


@worker.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the workers: those that live, stock RQ workers too, and those that are not heard of and did not sign off."""
    printer.check(output.fields_of(WorkerStatus))
    if app.server:
        printer.records(elsewhere.listed(app), COLUMNS)
        return
    with open_live(app.settings) as live:
        printer.records(map(asdict, standing.all_workers(live.broker, background.live_workers(live))), COLUMNS)


@worker.command()
@click.argument("name", metavar="WORKER")
@output.listing
@pass_app
def show(app: App, printer: Printer, name: str) -> None:
    """Show a worker with the tasks that it holds. WORKER is a name, the beginning of one, or a host with one worker."""
    if app.server:
        found = elsewhere.shown(app, name)
    else:
        with open_live(app.settings) as live:
            known = standing.all_workers(live.broker, live.broker.workers())
            found = steering.about(live.broker, steering.workers(live.broker, [name], known)[0])
    printer.record(found, name="name")
    if printer.shows_parts and found["tasks"]:
        printer.blank()
        printer.records(found["tasks"], TASK_COLUMNS)


@worker.command()
@click.argument("names", metavar="WORKER...", nargs=-1, required=True)
@output.listing
@pass_app
def pause(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let workers take no tasks, over their restarts too; what runs there goes on."""
    _each(app, printer, "pause", names, lambda live, one: halting.pause_worker(live.broker, one, by=who()), "is paused")


@worker.command()
@click.argument("names", metavar="WORKER...", nargs=-1, required=True)
@output.listing
@pass_app
def resume(app: App, printer: Printer, names: tuple[str, ...]) -> None:
    """Let workers take tasks again."""
    _each(app, printer, "resume", names, lambda live, one: halting.resume_worker(live.broker, one, by=who()), "takes tasks again")


@worker.command()
@click.argument("names", metavar="WORKER...", nargs=-1, required=True)
@click.option("--wait", is_flag=True, help="Wait until they are gone.")
@click.option("--timeout", type=DURATION, help="Stop waiting after this time and exit 124; they end all the same.")
@output.listing
@pass_app
def drain(app: App, printer: Printer, names: tuple[str, ...], wait: bool, timeout: timedelta | None) -> None:
    """Let workers take no new tasks, and end when theirs have."""
    _each(app, printer, "drain", names, lambda live, one: halting.stop_worker(live.broker, one, DRAIN, by=who()),
          "ends when its tasks have", wait=wait, timeout=timeout)


@worker.command()
@click.argument("names", metavar="WORKER...", nargs=-1, required=True)
@click.option("--now", is_flag=True, help="End their tasks too; these run elsewhere, or again, and lose no try.")
@click.option("--wait", is_flag=True, help="Wait until they are gone.")
@click.option("--timeout", type=DURATION, help="Stop waiting after this time and exit 124; they end all the same.")
@output.listing
@pass_app
def stop(app: App, printer: Printer, names: tuple[str, ...], now: bool, wait: bool, timeout: timedelta | None) -> None:
    """Let workers end, as after SIGTERM: what becomes of their tasks says their --on-stop, unless --now is given."""
    how = KILL if now else None
    _each(app, printer, "kill" if now else "stop", names, lambda live, one: halting.stop_worker(live.broker, one, how, by=who()),
          "is told to stop", wait=wait, timeout=timeout)


@worker.command()
@click.argument("accounts", metavar="ACCOUNT...", nargs=-1, required=True)
@click.option("--worker", "of", metavar="NAME", help="The account of the worker; the one that calls this when not given.")
def sudoers(accounts: tuple[str, ...], of: str | None) -> None:
    """Print the line by which sudo lets a worker that is not root run tasks as these accounts.

    `rqflow worker sudoers ann bob | sudo tee /etc/sudoers.d/rqflow`; see docs/how-to/accounts.md.
    """
    output.line(sudoers_line(of or who(), accounts))


def _each(app: App, printer: Printer, verb: str, names: Sequence[str], do: Callable[[Live, WorkerStatus], object], said: str, *, wait: bool = False,
          timeout: timedelta | None = None) -> None:
    """Do something with each worker that is named, once all are known; say it, and wait until they are gone."""
    if timeout and not wait:
        raise UsageError("--timeout says how long is waited", hint="Add --wait.")
    printer.check(output.fields_of(WorkerStatus))
    if app.server:
        printer.report(elsewhere.steered(app, verb, names, said, waits=wait, timeout=timeout), COLUMNS)
        return
    with open_live(app.settings) as live:
        found = steering.workers(live.broker, names)
        for one in found:
            do(live, one)
            output.note(f"worker {one.name} {said}")
        if wait:
            steering.wait_gone(live.broker, [one.name for one in found], timeout)
    printer.report(map(asdict, found), COLUMNS)
