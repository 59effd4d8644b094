"""rqflow run: what ran, what runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import click

from rqflow.actions.model import Run
from rqflow.api.runs import (
    DeleteRun,
    ListRuns,
    MarkRun,
    Note,
    OneRun,
    RetryRun,
    delete_run,
    get_run,
    head_run,
    list_runs,
    mark_run,
    note_run,
    retry_run,
)
from rqflow.cli import deleting, output, recalling, rewriting, show
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import confirm
from rqflow.cli.cancel import RUN_COLUMNS, RUN_FIELDS, cancel, run_row
from rqflow.cli.execute import exec_
from rqflow.cli.hub import asking, paged
from rqflow.cli.logs import run_logs
from rqflow.cli.output import Column, Printer
from rqflow.cli.report import report_
from rqflow.cli.types import COUNT, DURATION, MOMENT, MOST, is_moment
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED
from rqflow.exceptions import NotFinished, ServiceUnreachable, UsageError
from rqflow.states import RunState, TaskState
from rqflow.store.deletions import RUN
from rqflow.store.runs import RunFilter


class RunGroup(click.Group):
    """The group; what Airflow 1.7 wrote as `run DAG TASK DATE` is one try of a task, here and now."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; three words of which the first is no command and the third a time are the old name."""
        words = [word for word in args if not word.startswith("-")]
        if args[0] in self.commands or len(words) < 3 or not any(is_moment(word) for word in words[2:]):
            return super().resolve_command(ctx, args)
        from rqflow.cli.airflow17 import run as old  # here: what runs tasks is not needed for looking at runs

        return "run", old, args


@click.group(cls=RunGroup, context_settings={"ignore_unknown_options": True})
def run() -> None:
    """Start, list, show, wait for, retry and cancel runs; read their logs.

    RUN is a run id, the unique beginning of one, DAG@latest, DAG@last-failed or DAG@2026-11-23T00:00.
    """


@run.command("list")
@click.option("--dag", "dag_id", help="Only runs of this DAG.")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in RunState]), help="Only runs in this state; repeatable.")
@click.option("--trigger", "run_type", type=click.Choice([MANUAL, SCHEDULED, BACKFILL]), help="Only runs that were started so.")
@click.option("--since", type=MOMENT, help="Only runs made at or after this time.")
@click.option("--until", type=MOMENT, help="Only runs made before this time.")
@click.option("-L", "--limit", type=COUNT, default=25, show_default=True, help="At most so many.")
@click.option("--all", "unlimited", is_flag=True, help="All of them.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, dag_id: str | None, states: tuple[str, ...], run_type: str | None, since: datetime | None,
          until: datetime | None, limit: int, unlimited: bool) -> int:
    """List runs, the newest first.

    While the tunnel to Redis or the database is down, those that were last known; exits 7 then.
    """
    printer.check(name for name in output.fields_of(Run) if name != "tasks")
    code, most = 0, None if unlimited else limit
    chosen = [RunState(state) for state in states]
    try:
        with asking(app) as ask:
            wanted = ListRuns(dag_id=dag_id, state=chosen, run_type=run_type, since=since, until=until)
            found = paged(lambda after, some: ask(list_runs, replace(wanted, after=after, limit=some)), most)
    except ServiceUnreachable as error:
        known = RunFilter(dag_id=dag_id, states=chosen or None, run_type=run_type, since=since, until=until)
        found, code = recalling.known(app, error).matching(known, limit=most), error.exit_code
    printer.records([show.run_row(one) for one in found], show.RUN_COLUMNS)
    return code


@run.command("start")
@click.argument("dag_id", metavar="DAG")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Value of a DAG param for this run; repeatable.")
@click.option("--params-file", metavar="FILE|-", help="File with values of params, in JSON or YAML; - reads stdin, and -p counts more.")
@click.option("-c", "--conf", metavar="JSON|@FILE", help="dag_run.conf of this run: a JSON object.")
@click.option("-e", "--at", "--exec_date", "at", type=MOMENT, help="Logical date of this run; now when not given.")
@click.option("-r", "--run-id", "--run_id", "run_id", metavar="ID", help="Name of this run; manual__LOGICAL_DATE when not given.")
@click.option("--note", default="", help="A remark about this run.")
@click.option("--task", "selector", metavar="TASK", help="Only these tasks, whatever the others are: an id, a pattern, x+, +x, group:G.")
@click.option("--priority", type=click.IntRange(-MOST, MOST), default=0, help="Added to the weight of each of its tasks.")
@click.option("--dry-run", is_flag=True, help="Only check what was given, and show the run that would be started.")
@click.option("--watch", is_flag=True, help="Watch the run until its end; the exit code is its result.")
@click.option("--wait", is_flag=True, help="The same, and say only what goes wrong, as -q does.")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124; the run goes on.")
@output.listing
@pass_app
def start(app: App, /, printer: Printer, dag_id: str, watch: bool, wait: bool, **given: Any) -> None:
    """Start a run of a DAG that was submitted, of its newest version.

    On the embedded default it is carried out by processes that outlive this command, as after `rqflow submit --run`.
    """
    if given["timeout"] and not (watch or wait):
        raise UsageError("--timeout says how long is watched", hint="Add --watch or --wait.")
    from rqflow.cli import starting  # here: what starts runs is not needed for looking at them
    from rqflow.cli.submit import Wish  # here: the same

    printer.check(starting.PLANNED if given["dry_run"] else output.fields_of(Run) if watch or wait else show.ANNOUNCED)
    context = click.get_current_context()
    if wait and not watch:
        context.find_root().params["quiet"] = True
    wish = Wish(start=True, follow=watch or wait, strict=False, allow_unsupported=True, **given)
    if app.server:
        from rqflow.cli.submitting import start_known as start_run  # here: the same
    else:
        start_run = starting.start_known
    context.exit(start_run(app, printer, dag_id, wish, follow=watch or wait))


run.add_command(exec_)
run.add_command(report_)


@run.command("show")
@click.argument("name", metavar="RUN")
@click.option("--exit-status", is_flag=True, help="Exit 0 for success, 1 for failed or cancelled, 8 when it has not ended.")
@click.option("--tasks", "only_tasks", is_flag=True, help="Only its tasks, as a list.")
@output.listing
@pass_app
def show_(app: App, printer: Printer, name: str, exit_status: bool, only_tasks: bool) -> None:
    """Show a run with its tasks and all their tries.

    While the tunnel to Redis or the database is down, as it was last known; exits 7 then.
    """
    code = 0
    try:
        with asking(app) as ask:
            found = ask(get_run, OneRun(run=name))
    except ServiceUnreachable as error:
        found, code = recalling.known(app, error).find(name), error.exit_code
    if only_tasks:
        printer.records([show.task_row(one) for one in found.tasks], show.TASK_COLUMNS)
    else:
        show.run(printer, found)
    if code:
        click.get_current_context().exit(code)
    if exit_status and not found.is_finished:
        raise NotFinished(f"run {found.run_id} is {found.state.value}")
    if exit_status:
        click.get_current_context().exit(show.exit_code(found.state))


run.add_command(run_logs, "logs")


@run.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--timeout", type=DURATION, help="Exit 124 when they have not ended by then.")
@click.option("--any", "until_any", is_flag=True, help="Until one of them has ended.")
@output.listing
@pass_app
def wait(app: App, printer: Printer, names: tuple[str, ...], timeout: timedelta | None, until_any: bool) -> None:
    """Wait until runs have ended; exit 0 when all were a success."""
    printer.check(RUN_FIELDS)
    from rqflow.cli.observing import observing  # here: what watches runs is not needed for looking at them

    with asking(app) as ask:
        named = [(name, ask(head_run, OneRun(run=name))) for name in names]
    found = {one.run_key: name for name, one in named}
    records = {one.run_key: one for _, one in named}
    with observing(app) as observer:
        ended = observer.wait(list(found), timeout=timeout, until_any=until_any)
    if printer.shows_parts:
        for run_key, state in ended.items():
            output.line(f"{found[run_key]} {state.value}")
    else:
        printer.records([run_row(records[run_key], state.value) for run_key, state in ended.items()], RUN_COLUMNS)
    click.get_current_context().exit(max(show.exit_code(state) for state in ended.values()))


@run.command()
@click.argument("name", metavar="RUN")
@click.option("--timeout", type=DURATION, help="Stop watching after this time and exit 124; the run goes on.")
@output.listing
@pass_app
def watch(app: App, printer: Printer, name: str, timeout: timedelta | None) -> None:
    """Watch a run until its end, then show how it ended; the exit code is its result. Ctrl-C only stops watching."""
    printer.check(output.fields_of(Run))
    from rqflow.cli.following import watch_known  # here: what watches runs is not needed for looking at them

    click.get_current_context().exit(watch_known(app, printer, name, timeout))


@run.command("retry")
@click.argument("name", metavar="RUN")
@click.option("--failed", is_flag=True, help="What failed, and what did not run because of that; the default.")
@click.option("--from", "task_id", metavar="TASK", help="This task and all that depends on it, whatever became of them.")
@click.option("--all", "every", is_flag=True, help="All tasks.")
@click.option("--same-version/--latest", help="As their last tries were, or as the DAG says now (the default).")
@rewriting.changing
@output.listing
@pass_app
def retry(app: App, printer: Printer, name: str, failed: bool, task_id: str | None, every: bool, same_version: bool, dry_run: bool,
          yes: bool) -> None:
    """Run the failed part of a run again, as the latest version of the DAG says; what was a success stays."""
    if failed + every + (task_id is not None) > 1:
        raise UsageError("--failed, --from and --all exclude each other")
    asked = RetryRun(run=name, task=task_id, every=every, same_version=same_version, dry_run=dry_run)
    click.get_current_context().exit(rewriting.rewrite(app, printer, retry_run, asked, rewriting.CLEAR, yes=yes))


@run.command("clear")
@click.argument("dag_id", metavar="DAG")
@click.option("--since", type=MOMENT, help="Only runs with this logical date or a later one.")
@click.option("--until", type=MOMENT, help="Only runs with this logical date or an earlier one.")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in RunState]), help="Only runs in this state; repeatable.")
@click.option("--task", "selector", default="*", metavar="TASK", help="Only these tasks: an id, a pattern, x+, +x, group:G, state:failed.")
@click.option("--regex", metavar="REGEX", help="Only tasks in whose id this is found, in place of --task.")
@click.option("--exclude-subdags", "no_subdags", is_flag=True, help="Of these none that is in a SubDag of a DAG for Airflow 1.")
@click.option("-u", "--upstream", is_flag=True, help="And all that they depend on.")
@click.option("-d", "--downstream", is_flag=True, help="And all that depends on them.")
@click.option("--only-failed", is_flag=True, help="Of these only those that failed, or did not run because of that.")
@click.option("--only-running", is_flag=True, help="Of these only those that run: they are stopped, and run again.")
@click.option("--same-version/--latest", help="As their last tries were, or as the DAG says now (the default).")
@rewriting.changing
@output.listing
@pass_app
def clear(app: App, /, printer: Printer, dag_id: str, since: datetime | None, until: datetime | None, states: tuple[str, ...],
          selector: str, same_version: bool, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Let tasks of many runs of a DAG run again, with new tries."""
    from rqflow.api.tasks import ClearDag, clear_dag  # here: not needed for looking at runs

    wanted = ClearDag(dag_id=dag_id, since=since, until=until, state=[RunState(one) for one in states], task=selector, same_version=same_version,
                      dry_run=dry_run, **asked)
    click.get_current_context().exit(rewriting.rewrite(app, printer, clear_dag, wanted, rewriting.CLEAR, yes=yes))


@run.command("mark")
@click.argument("name", metavar="RUN")
@click.argument("state", type=click.Choice([TaskState.SUCCESS.value, TaskState.FAILED.value]))
@rewriting.changing
@output.listing
@pass_app
def mark(app: App, printer: Printer, name: str, state: str, dry_run: bool, yes: bool) -> None:
    """Make a run a success, or a failure, by hand: by marking its tasks.

    For a success all that is not one and is not skipped; for a failure what has not ended, or the last tasks of a run that has.
    """
    asked = MarkRun(run=name, state=state, dry_run=dry_run)
    click.get_current_context().exit(rewriting.rewrite(app, printer, mark_run, asked, rewriting.marked(state), yes=yes))


@run.command("note")
@click.argument("name", metavar="RUN")
@click.argument("text", metavar="[TEXT|-]", required=False)
@output.listing
@pass_app
def note(app: App, printer: Printer, name: str, text: str | None) -> None:
    """Write a remark about a run, over the one that it has; - reads it from stdin. Without a text show it."""
    printer.check(NOTE_FIELDS)
    with asking(app) as ask:
        found = ask(head_run, OneRun(run=name))
        said = found.note
        if text is not None:
            said = ask(note_run, Note(run=found.run_key, note=sys.stdin.read() if text == "-" else text)).note
    row = {"dag_id": found.dag_id, "run_id": found.run_id, "note": said}
    if text is not None:
        output.note(f"noted of run {found.run_id}")
        printer.report([row], NOTE_COLUMNS)
    elif printer.shows_parts:
        output.line(said)
    else:
        printer.records([row], NOTE_COLUMNS)


NOTE_FIELDS = ("dag_id", "run_id", "note")
NOTE_COLUMNS = [Column("run_id", "RUN"), Column("dag_id", "DAG"), Column("note", "NOTE")]


run.add_command(cancel)


@run.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option("--keep-logs", is_flag=True, help="Keep the logs of their tasks.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def delete(app: App, printer: Printer, names: tuple[str, ...], keep_logs: bool, yes: bool) -> None:
    """Delete runs with their history and their logs; what runs of them is cancelled."""
    printer.check(deleting.FIELDS)
    with asking(app, carries=False) as ask:
        found = list({one.run_key: one for one in (ask(head_run, OneRun(run=name)) for name in names)}.values())
        active = [one.run_id for one in found if not one.is_finished]
        ending = f"; {deleting.not_ended(active)}" if active else ""
        logs = " (logs stay)" if keep_logs else " with the logs"
        confirm(app, f"{deleting.names_of([one.run_id for one in found])} {'go' if len(found) > 1 else 'goes'}{logs}{ending}", yes=yes)
        for one in found:
            ask(delete_run, DeleteRun(run=one.run_key, keep_logs=keep_logs))
        gone = deleting.carry_through(app, ask, [(RUN, one.run_key) for one in found])
    for one, is_gone in zip(found, gone, strict=True):
        output.note(f"run {one.run_id} of {one.dag_id} is {'gone' if is_gone else 'being deleted'}")
    rows = [{"dag_id": one.dag_id, "run_id": one.run_id, "is_gone": is_gone} for one, is_gone in zip(found, gone, strict=True)]
    printer.report(rows, deleting.COLUMNS)
