"""rqflow db: the database of the history."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from rqflow.actions import clean as cleaning
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.output import Column, Printer
from rqflow.cli.types import COUNT, DURATION
from rqflow.deploy import backup, guard, resetting, restoring, services
from rqflow.exceptions import UsageError
from rqflow.settings import without_password
from rqflow.store import schema
from rqflow.store.clean import TABLES

#: How old runs are that `clean` removes when neither --older-than nor database.retention says so.
OLD = timedelta(days=90)
CLEANED = [Column("table", "TABLE"), Column("rows", "ROWS")]


@click.group()
def db() -> None:
    """Upgrade, check, clean, back up, restore and reset the database that database.url names (SQLite in the state folder by default)."""


@db.command()
@pass_app
def upgrade(app: App) -> None:
    """Bring the database to the revision of this rqflow; makes the tables of an empty one.

    Refused while a process of a newer rqflow is live (exit 5), or one that is too old for the new tables.
    """
    if not guard.may_upgrade(app.settings):
        output.note("Redis does not answer, so nobody knows whether processes of another rqflow are live.")
    with services.any_database(app.settings) as engine:
        schema.upgrade(engine)
        output.line(schema.current(engine) or "")


@db.command()
@pass_app
def check(app: App) -> None:
    """Say whether the database answers and has the right revision (exit 5: it needs `rqflow db upgrade`; 7: no answer)."""
    with services.any_database(app.settings) as engine:
        schema.check(engine)
        output.line(schema.current(engine) or "")


@db.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def reset(app: App, yes: bool) -> None:
    """Begin anew: remove all DAGs, runs, history and logs of this home, in the database, in Redis and in the archive.

    Refused while a worker, a scheduler or a task runs (exit 5). DAG files and the configuration stay.
    """
    home = app.settings.home
    _confirm(app, yes, "reset deletes all DAGs, runs and logs", f"Delete all DAGs, runs and logs of {home}?")
    resetting.reset(app.settings, by=who())
    output.note(f"{home} has no DAGs, runs and logs any more.")


@db.command()
@click.option("--older-than", type=DURATION, metavar="D", help="Runs that ended longer ago; database.retention, else 90d, when not given.")
@click.option("--keep-last", type=COUNT, metavar="N", help="Keep the newest N runs of each DAG; database.keep_last when not given.")
@click.option("--tables", metavar="NAME,...", default=",".join(TABLES), show_default=True, help="What to clean; what belongs to a run goes with it.")
@click.option("--logs", "with_logs", is_flag=True, help="Remove the logs of these runs from the archive too.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.listing
@pass_app
def clean(app: App, /, printer: Printer, yes: bool, dry_run: bool, with_logs: bool, **asked: object) -> None:
    """Remove old finished runs from the history, with their tasks, tries, XComs and events, and what else nothing needs any more.

    Runs that Redis still has stay, and so does the newest scheduled run of each DAG. Everything goes on meanwhile.
    """
    with services.open_services(app.settings) as opened:
        wanted = _wanted(opened, with_logs, **asked)  # type: ignore[arg-type]  # click hands over what the options above name
        if not dry_run:
            _confirm(app, yes, "clean deletes history", f"Delete runs that ended before {wanted.before:%Y-%m-%d %H:%M} UTC?")
        went = (cleaning.preview if dry_run else cleaning.run)(opened.broker, opened.engine, wanted)
    printer.records([{"table": name, "rows": count} for name, count in sorted(went.items()) if count], CLEANED)
    output.note("Nothing was removed: this is what would be." if dry_run else "Removed.")


@db.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--logs", "with_logs", is_flag=True, help="Put the logs of tasks in too, not only the list of them.")
@click.option("--dags/--no-dags", "with_dags", default=True, help="Put the folder of DAG files in (the default).")
@click.option("--force", is_flag=True, help="Replace a FILE that is there.")
@pass_app
def backup_(app: App, file: Path, with_logs: bool, with_dags: bool, force: bool) -> None:
    """Write history, settings, keys, files of trust and DAG files into FILE, a tar archive (gzip) for its owner alone.

    Everything goes on meanwhile. FILE appears when all of it is written, or not at all. It holds secrets and the key to them.
    """
    made = backup.backup(app.settings, file, with_logs=with_logs, with_dags=with_dags, replaces=force)
    output.note(f"{file}: revision {made.revision}, {sum(made.tables.values())} rows of {len(made.tables)} tables, {len(made.files)} files of "
                f"settings and keys, {made.dags} DAG files, {'' if with_logs else 'the names of '}{made.logs} logs ({_mib(made.log_bytes)})")
    if made.environment:
        output.note(f"Not in it, because it is set in the environment: {', '.join(made.environment)}")


@db.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace what this home, its database and its Redis have.")
@click.option("-y", "--yes", is_flag=True, help="With --force: do not ask.")
@pass_app
def restore_(app: App, file: Path, force: bool, yes: bool) -> None:
    """Begin again from FILE, which `db backup` wrote: in an empty home, on the same kind of database or another.

    FILE is read to its end and compared with its checksums first. An rqflow.cfg that is here stays and is in force, else that of FILE is.
    """
    if force:
        _confirm(app, yes, "restore --force deletes what is here", f"Replace all DAGs, runs and secrets of {app.settings.home}?")
    done = restoring.restore(app.settings, file, by=who(), replaces=force)
    found = done.summary
    output.note(f"restored as of {found.made_at:%Y-%m-%d %H:%M:%S} UTC into {without_password(done.database)}: {sum(found.tables.values())} rows of "
                f"{len(found.tables)} tables, {len(found.files)} files of keys and trust, {found.dags} DAG files, {found.logs} logs")
    for remark in done.remarks:
        output.problem(f"Note: {remark}")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _wanted(opened: services.Services, with_logs: bool, older_than: timedelta | None, keep_last: int | None, tables: str) -> cleaning.Wanted:
    given = opened.settings.database
    names = tuple(name.strip() for name in tables.split(",") if name.strip())
    if unknown := [name for name in names if name not in TABLES]:
        raise UsageError(f"--tables: {unknown[0]} cannot be cleaned", hint=f"There are: {', '.join(TABLES)}")
    before = opened.broker.now() - (older_than if older_than is not None else given.retention or OLD)
    return cleaning.Wanted(before=before, keep_last=keep_last or given.keep_last, tables=names,
                           log_folder=Path(opened.settings.logs.folder) if with_logs else None)


def _confirm(app: App, yes: bool, what: str, question: str) -> None:
    """Ask before something is deleted; where nobody can answer, raise UsageError."""
    if not yes:
        if not app.may_ask or not sys.stdin.isatty():
            raise UsageError(what, hint="Add --yes if that is meant.")
        click.confirm(question, abort=True, err=True)
