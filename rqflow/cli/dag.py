"""rqflow dag: definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import click

from rqflow.actions import describe, select, sources, survey, unsigned
from rqflow.actions import submit as action
from rqflow.actions.folder import DagsFolder
from rqflow.actions.survey import Report
from rqflow.api.dags import (
    ChangeDag,
    Coming,
    DeleteDag,
    ListDags,
    NextRuns,
    OneDag,
    OneVersion,
    change_dag,
    delete_dag,
    doomed,
    get_dag,
    list_dags,
    list_errors,
    next_runs,
    one_version,
)
from rqflow.api.operation import Nothing
from rqflow.cli import deleting, output, owner, signing, trying
from rqflow.cli import show as show_parts
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import confirm
from rqflow.cli.definitions import TASK_COLUMNS, is_file, version_named
from rqflow.cli.graph import graph
from rqflow.cli.hub import Ask, asking, paged
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, MOMENT, PAST_RUNS
from rqflow.dag import differences, timetable
from rqflow.dag.series import Interval
from rqflow.dag.version import Version
from rqflow.deploy.services import open_services
from rqflow.exceptions import UsageError
from rqflow.states import RunState
from rqflow.store.dags import DagRecord
from rqflow.store.deletions import DAG

LIST_COLUMNS = [
    Column("dag_id", "DAG"), Column("schedule", "SCHEDULE", show=action.schedule_words), Column("owner", "OWNER"), Column("tags", "TAGS"),
    Column("next_run_at", "NEXT RUN"), Column("status", "STATUS"), Column("file", "FILE"), Column("last_state", "LAST RUN", wide=True),
    Column("description", "DESCRIPTION", wide=True), Column("updated_at", "SUBMITTED", wide=True), Column("pause_reason", "WHY PAUSED", wide=True),
    Column("submitted_by", "BELONGS TO", wide=True),
]


@click.group()
def dag() -> None:
    """Validate, list, show, pause and test DAGs; when their next runs start."""


@dag.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("-o", "--format", "style", type=click.Choice(["text", "json", "github"]), default="text", help="How problems are written.")
@pass_app
def validate(app: App, paths: tuple[Path, ...], strict: bool, style: str) -> None:
    """Load DAG files and report every problem as file:line: message. Needs no service; exit 6 when there are problems."""
    reports = survey.survey(paths, app.here)
    if style == "json":
        output.line(json.dumps([_plain(report) for report in reports], indent=2, ensure_ascii=False))
    else:
        for report in reports:
            _tell(report, is_github=style == "github")
    bad = any(report.errors or report.unsupported or (strict and report.warnings) for report in reports)
    click.get_current_context().exit(6 if bad else 0)


def _plain(report: Report) -> dict[str, object]:
    return {"file": str(report.file), "dags": [version.dag_id for version in report.versions], "errors": list(report.errors),
            "warnings": list(report.warnings), "unsupported": list(report.unsupported)}


def _tell(report: Report, *, is_github: bool) -> None:
    for kind, lines in (("error", (*report.errors, *report.unsupported)), ("warning", report.warnings)):
        for line in lines:
            if is_github:
                file, _, rest = line.partition(":")
                number, _, message = rest.partition(": ")
                output.line(f"::{kind} file={file},line={number}::{message}")
            else:
                output.line(f"{line}" if kind == "error" else f"warning: {line}")
    if not is_github:
        for version in report.versions:
            output.line(f"{report.file}: DAG {version.dag_id} with {len(version.tasks)} tasks")


SYNC_COLUMNS = [
    Column("file", "FILE"), Column("outcome", "OUTCOME"), Column("dags", "DAGS", show=", ".join), Column("errors", "ERRORS", show=" | ".join),
]


@dag.command()
@click.option("--prune", is_flag=True, help="Believe a folder in which there is nothing at all, too; forget the files that were removed.")
@click.option("--restore", is_flag=True, help="Let DAGs of the folder come back that were deleted (`rqflow dag delete`).")
@click.option("--sign", "signs", is_flag=True, help="Show what has changed in DAGs that wait for a signature, ask, and sign them with your SSH key.")
@click.option("-y", "--yes", is_flag=True, help="With --sign: do not ask.")
@output.listing
@pass_app
def sync(app: App, printer: Printer, prune: bool, restore: bool, signs: bool, yes: bool) -> None:
    """Look at the folder of DAGs now: take over what has changed, try broken files again, flag removed ones; exit 6 when a file is broken.

    A scheduler does this all the time. What has not changed is not listed.
    """
    if yes and not signs:
        raise UsageError("--yes says that nobody need be asked, which only --sign does", hint="Add --sign.")
    printer.check(tuple(column.key for column in SYNC_COLUMNS))
    with open_services(app.settings, client_name="rqflow-sync") as services:
        watched = DagsFolder(services.broker, services.engine, app.settings)
        if not watched.path.is_dir():
            raise UsageError(f"there is no folder of DAGs {watched.path}", hint="Make it, or name another one with core.dags_folder.")
        outcomes = watched.sync(prune=prune, restore=restore)
        broken = watched.broken()
        signed = signing.sign_waiting(app, services, yes=yes) if signs else []
    for problem in watched.problems:
        output.problem(problem)
    for line in (*(line for one in outcomes for line in one.news), *signed):
        output.note(line)
    rows = [{"file": one.path, "outcome": one.word, "dags": list(one.gone if not one.is_present else one.dag_ids), "errors": list(one.errors)}
            for one in outcomes]
    printer.records(rows, SYNC_COLUMNS)
    for error in (error for one in broken for error in one.errors):
        output.problem(error)
    click.get_current_context().exit(6 if broken or watched.problems else 0)


@dag.command("list")
@click.option("--errors", is_flag=True, help="In place of DAGs: what is wrong with files of the folder, as file:line: message.")
@click.option("--tag", "tags", multiple=True, help="Only DAGs with this tag; repeatable.")
@click.option("--owner", help="Only DAGs of this owner.")
@click.option("--search", "text", help="Only DAGs with this in their name or description.")
@click.option("--state", type=click.Choice([state.value for state in RunState]), help="Only DAGs whose newest run is in this state.")
@click.option("--paused/--active", "is_paused", default=None, help="Only those that are paused, or that are not.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, errors: bool, tags: tuple[str, ...], owner: str | None, text: str | None, state: str | None,
          is_paused: bool | None) -> None:
    """List the DAGs that were submitted or are in the folder of DAGs."""
    if errors:
        _list_errors(app, printer)
        return
    printer.check((*output.fields_of(DagRecord), "status", "last_state"))
    wanted = ListDags(tag=list(tags), owner=owner, search=text, is_paused=is_paused, state=RunState(state) if state else None)
    with asking(app) as ask:
        found = paged(lambda after, some: ask(list_dags, replace(wanted, after=after, limit=some)), None)
    printer.records([asdict(one) | {"last_state": one.last_state.value if one.last_state else None} for one in found], LIST_COLUMNS)


ERROR_COLUMNS = [
    Column("path", "FILE"), Column("error", "ERROR"), Column("dag_ids", "DAGS THAT STAY", show=", ".join), Column("loaded_at", "LOADED"),
]


def _list_errors(app: App, printer: Printer) -> None:
    """List what is wrong with files of the folder."""
    printer.check(tuple(column.key for column in ERROR_COLUMNS))
    with asking(app) as ask:
        broken = ask(list_errors, Nothing()).items
    printer.records([{"path": one.path, "error": error, "dag_ids": list(one.dag_ids), "loaded_at": one.loaded_at} for one in broken
                     for error in one.errors], ERROR_COLUMNS)


@dag.command()
@click.argument("name", metavar="DAG|FILE")
@click.option("--at", type=MOMENT, help="Render the template fields for this logical date too.")
@click.option("--version", "number", type=COUNT, metavar="N", help="An earlier version of a submitted DAG, by its number.")
@click.option("--tree", is_flag=True, help="Indent each task below one that it follows.")
@output.listing
@pass_app
def show(app: App, printer: Printer, name: str, at: datetime | None, number: int | None, tree: bool) -> None:
    """Show a submitted DAG, or every DAG of a file without any service: schedule, tasks, edges, groups, template fields."""
    if not is_file(name):
        with asking(app) as ask:
            found = ask(one_version, OneVersion(dag_id=name, version=number))
        shown = app.masker.hide(describe.dag(Version.from_json(found.json), at, settings=app.here)) | {"unsigned": found.unsigned or None}
        _print(printer, [shown], tree=tree)
        if found.unsigned:
            output.problem(f"{name}: {unsigned.words(found.version == found.unsigned)}")
        return
    if number is not None:
        raise UsageError(f"--version asks for a version that was submitted, and {name} is a file")
    reports = survey.survey([Path(name)], app.here)
    defined = [app.masker.hide(describe.dag(version, at, settings=app.here)) for report in reports for version in report.versions]
    errors = [problem for report in reports for problem in report.errors]
    notes = {"errors": errors + [problem for report in reports for problem in report.unsupported],
             "warnings": [warning for report in reports for warning in report.warnings]}
    if printer.format == "json":
        printer.record({"file": name, "dags": defined, **notes}, name="file")
    else:
        _print(printer, defined, tree=tree)
        for problem in (*notes["errors"], *notes["warnings"]):
            output.problem(problem)
    click.get_current_context().exit(6 if errors else 0)


@dag.command()
@click.argument("name", metavar="DAG")
@click.option("--version", "number", type=COUNT, metavar="N", help="An earlier version, by its number; the newest when not given.")
@click.option("--diff", "pair", type=COUNT, nargs=2, metavar="A B", help="What is different in version B against version A.")
@output.listing
@pass_app
def source(app: App, printer: Printer, name: str, number: int | None, pair: tuple[int, int] | None) -> None:
    """Print the file of a DAG as it was submitted, or the difference of two versions; no file is read for it."""
    if number is not None and pair is not None:
        raise UsageError("--version and --diff do not go together")
    printer.check(("dag_id", "version", "source") if pair is None else ("dag_id", "versions", "diff"))
    with asking(app) as ask:
        versions = [Version.from_json(ask(one_version, OneVersion(dag_id=name, version=one)).json) for one in pair or [number]]
    text = sources.of_version(versions[0]) if pair is None else _difference(versions, pair)
    if printer.shows_parts:
        output.raw(text.encode("utf-8", "surrogateescape"))
    else:
        about = {"version": versions[0].sha, "source": text} if pair is None else {"versions": list(pair), "diff": text}
        printer.record({"dag_id": name, **about}, name="dag_id")


def _difference(versions: Sequence[Version], numbers: tuple[int, int]) -> str:
    names = f"version {numbers[0]}", f"version {numbers[1]}"
    return "".join(f"{line}\n" for line in differences.of_version(versions[0], versions[1], names))


def _print(printer: Printer, shown: Sequence[dict[str, object]], *, tree: bool) -> None:
    for one in shown:
        schedule = action.schedule_words(str(one["schedule"] or ""))
        printer.record(one | {"schedule": schedule} if printer.is_for_people else one, name="dag_id")
        if printer.shows_parts:
            printer.blank()
            tasks = one["tasks"] if isinstance(one["tasks"], list) else []
            columns = [Column("shown", "TASK"), *TASK_COLUMNS[1:]] if tree else TASK_COLUMNS
            printer.records(describe.indented(tasks) if tree else tasks, columns)


dag.add_command(graph)
dag.add_command(signing.sign)
for command in (owner.chown, owner.share, owner.unshare):
    dag.add_command(command)


@dag.command()
@click.argument("name", metavar="DAG|FILE")
@click.argument("date", type=MOMENT, required=False)
@click.option("--dag", "dag_id", help="Which DAG, when the file has several.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Value of a DAG param; repeatable.")
@click.option("--task", "selector", metavar="TASK", help="Only these tasks, whatever the others are: an id, a pattern, x+, +x, group:G.")
@click.option("--keep-workdir", is_flag=True, help="Keep the folders in which the tasks ran.")
@output.listing
@pass_app
def test(app: App, /, printer: Printer, name: str, date: datetime | None, dag_id: str | None, params: tuple[str, ...], selector: str | None,
         keep_workdir: bool) -> None:
    """Run a DAG here and now, one task after the other: nothing is recorded, no Redis, no waiting between tries."""
    printer.check(trying.FIELDS)
    version = version_named(app, name, dag_id)
    only = select.tasks(version, selector) if selector else None
    with trying.trial(app, version, date=date, pairs=params, keep=keep_workdir, echo=output.raw_note) as run:
        rows = []
        for result in run.all_tasks(only):
            output.note(f"==> {result.task_id}: {result.state.value} <==")
            rows.append(trying.row(result))
        state = run.state()
    printer.records(rows, trying.COLUMNS)
    click.get_current_context().exit(show_parts.exit_code(state))


@dag.command()
@click.argument("names", metavar="DAG...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All DAGs.")
@output.listing
@pass_app
def pause(app: App, printer: Printer, names: tuple[str, ...], every: bool) -> None:
    """Let no scheduled run of these DAGs start. What runs goes on, and runs by hand start as ever."""
    printer.check(PAUSE_FIELDS)
    rows = []
    with asking(app, carries=False) as ask:
        for dag_id in _chosen(ask, names, every=every):
            done = ask(change_dag, ChangeDag(dag_id=dag_id, is_paused=True))
            output.note(f"{dag_id}: {'paused' if done.changed else 'was paused already'}")
            rows.append({name: getattr(done, name) for name in PAUSE_FIELDS})
    printer.report(rows, PAUSE_COLUMNS)


PAUSE_FIELDS = ("dag_id", "is_paused", "changed")
PAUSE_COLUMNS = [Column("dag_id", "DAG"), Column("is_paused", "PAUSED"), Column("changed", "CHANGED")]


@dag.command()
@click.argument("names", metavar="DAG...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All DAGs.")
@click.option("--catchup", type=PAST_RUNS, metavar="N|all|none", help="So many of the past runs that wait are started, the last ones.")
@output.listing
@pass_app
def unpause(app: App, printer: Printer, names: tuple[str, ...], every: bool, catchup: str | None) -> None:
    """Let scheduled runs of these DAGs start again.

    Without catch-up the dates of the time that they were paused are left out, with it they are run now: up to 10 of them, for more say --catchup.
    """
    printer.check(PAUSE_FIELDS)
    rows = []
    with asking(app, carries=False) as ask:
        for dag_id in _chosen(ask, names, every=every):
            done = ask(change_dag, ChangeDag(dag_id=dag_id, is_paused=False, catchup=catchup))
            after = f"; next run {action.words(_interval(done.next_run), done.timezone, app.zone)}" if done.next_run else ""
            output.note(f"{dag_id}: {'unpaused' if done.changed else 'was not paused'}{after}")
            rows.append({name: getattr(done, name) for name in PAUSE_FIELDS})
    printer.report(rows, PAUSE_COLUMNS)


def _chosen(ask: Ask, names: Sequence[str], *, every: bool) -> list[str]:
    """Return the ids of the DAGs that were named, or of all; raises UsageError for neither, DagNotFound."""
    if bool(names) == every:
        raise UsageError("name the DAGs, or say --all")
    if every:
        return [one.dag_id for one in paged(lambda after, some: ask(list_dags, ListDags(after=after, limit=some)), None)]
    return [ask(get_dag, OneDag(dag_id=name)).dag_id for name in names]


def _interval(run: Coming) -> Interval:
    return Interval(start=run.data_interval_start, end=run.data_interval_end, logical_date=run.logical_date)


NEXT_COLUMNS = [
    Column("dag_id", "DAG"), Column("due_at", "STARTS AT"), Column("due_local", "BY ITS OWN CLOCK"), Column("data_interval_start", "COVERS FROM"),
    Column("data_interval_end", "TO"),
    Column("logical_date", "LOGICAL DATE", wide=True), Column("is_paused", "PAUSED", wide=True),
]


@dag.command("next")
@click.argument("names", metavar="DAG...", nargs=-1, required=True)
@click.option("-n", "--number", type=click.IntRange(min=1, max=10_000), default=1, help="So many of each; 1 when not given.")
@output.listing
@pass_app
def next_(app: App, printer: Printer, names: tuple[str, ...], number: int) -> None:
    """Show when the next scheduled runs start, also by the clock of their DAG, and what they cover. Times are in --tz; with -o json in UTC."""
    printer.check(tuple(column.key for column in NEXT_COLUMNS))
    rows = []
    with asking(app) as ask:
        for name in names:
            record, following = ask(get_dag, OneDag(dag_id=name)), ask(next_runs, NextRuns(dag_id=name, number=number)).items
            if not following:
                output.problem(f"{name}: no run comes by itself: its schedule is {action.schedule_words(record.schedule) or 'none'}")
            if not record.is_active:
                output.problem(f"{name}: no scheduled run starts, for its file {record.file} was removed from the folder of DAGs")
            if record.is_paused:
                output.problem(f"{name} is paused ({record.paused_because}): `rqflow dag unpause {name}` lets these start")
            own = timetable.zone(record.timezone)
            rows += [{"dag_id": name, "due_at": one.due_at, "due_local": timetable.by_clocks(one.due_at, record.timezone, own),
                      "data_interval_start": one.data_interval_start, "data_interval_end": one.data_interval_end,
                      "logical_date": one.logical_date, "is_paused": record.is_paused} for one in following]
    printer.records(rows, NEXT_COLUMNS)


@dag.command()
@click.argument("dag_id", metavar="DAG")
@click.option("--keep-logs", is_flag=True, help="Keep the logs of its tasks.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def delete(app: App, printer: Printer, dag_id: str, keep_logs: bool, yes: bool) -> None:
    """Delete a DAG with all of its runs, their history and their logs; what runs of it is cancelled.

    Its file stays where it is, and does not bring it back: `rqflow submit FILE` does, or `rqflow dag sync --restore`.
    """
    printer.check(deleting.FIELDS)
    with asking(app, carries=False) as ask:
        found = ask(doomed, OneDag(dag_id=dag_id))
        active = f"; {deleting.not_ended(found.active)}" if found.active else ""
        logs = " (their logs stay)" if keep_logs else " and their logs"
        confirm(app, f"DAG {dag_id} goes with its {found.runs} run{'s' if found.runs != 1 else ''}{logs}{active}", yes=yes)
        ask(delete_dag, DeleteDag(dag_id=dag_id, keep_logs=keep_logs))
        gone, = deleting.carry_through(app, ask, [(DAG, dag_id)])
    output.note(f"{dag_id} is {'gone' if gone else 'being deleted'}")
    printer.report([{"dag_id": dag_id, "run_id": "", "is_gone": gone}], deleting.COLUMNS)
