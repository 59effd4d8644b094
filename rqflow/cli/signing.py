"""rqflow dag sign, and what `dag sync --sign` does: a person looks at what has changed in DAGs, and signs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from rqflow import settings as configuration
from rqflow.actions import dag_files, detached, survey
from rqflow.actions import submit as registering
from rqflow.actions.signing import Pen
from rqflow.actions.survey import Report
from rqflow.cli import asking, output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.output import Column, Printer
from rqflow.dag import differences
from rqflow.dag.version import Version
from rqflow.deploy.services import Services
from rqflow.exceptions import DagLoadError, NotPermitted
from rqflow.security.signing import find_key
from rqflow.store import dags, events
from rqflow.store.engine import Connection, reading, run_in_transaction

SIGN_COLUMNS = [Column("file", "FILE"), Column("dag_id", "DAG"), Column("version", "VERSION"), Column("signatures", "SIGNATURES")]


def pen(app: App) -> Pen:
    """Return what the person at the command line signs with."""
    return Pen(app.settings, may_ask=asking.is_asked(app) and sys.stderr.isatty())


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="The folder of DAGs as it is here, when it is another one than core.dags_folder: paths below it are parts of what is signed.")
@output.listing
@pass_app
def sign(app: App, printer: Printer, paths: tuple[Path, ...], folder: Path | None) -> None:
    """Sign what DAG files make with your SSH key, into FILE.sig beside each: for a hub on which nobody has a key. Needs no service.

    The hub takes a changed file over when FILE.sig fits it: loading the file there has to come to the very same DAGs. Put FILE.sig there first.
    """
    printer.check(tuple(column.key for column in SIGN_COLUMNS))
    reports = [survey.one(path, app.settings, named=folder) for path, _ in survey.files(paths)]
    if problems := [problem for report in reports for problem in (*report.errors, *report.unsupported)]:
        raise DagLoadError(problems, hint="Nothing was signed.")
    rows = []
    for report in pen(app).sign_reports(None, reports):
        detached.write(detached.beside(report.file), report.versions)
        rows += [{"file": str(detached.beside(report.file)), "dag_id": version.dag_id, "version": version.sha,
                  "signatures": len(version.signatures)} for version in report.versions]
    output.note(f"signed with {_key(app)}")
    printer.records(rows, SIGN_COLUMNS)


def _key(app: App) -> str:
    return find_key(app.settings, configuration.environment()).said


def sign_waiting(app: App, services: Services, *, yes: bool) -> list[str]:
    """Show what has changed in the DAGs of the folder that wait for a signature, ask, sign what their files make here and now, and register that.

    Returns what is said of each DAG. Raises NotPermitted without a key, UsageError where nobody can be asked, Abort for a no.
    """
    with reading(services.engine) as connection:
        waiting = {record.dag_id: record for record in dags.search(connection) if record.unsigned}
    reports = [survey.one(file, app.settings) for file in _files(app, [record.file for record in waiting.values()])]
    if problems := [problem for report in reports for problem in report.errors]:
        raise DagLoadError(problems, hint="Nothing was signed.")
    files, _ = dag_files.settled(services.engine, reports)
    chosen = [version for report in files for version in report.versions if version.dag_id in waiting]
    if missing := waiting.keys() - {version.dag_id for version in chosen}:
        for dag_id in sorted(missing):
            output.problem(f"{dag_id}: no file of the folder of DAGs makes it now; `rqflow submit FILE` signs it")
    if not chosen:
        return ["no version waits for a signature"]
    before = {version.dag_id: _active(services, version.dag_id) for version in chosen}
    for version in chosen:
        _show(version, before[version.dag_id])
    asking.confirm(app, f"Sign {len(chosen)} version{'s' if len(chosen) != 1 else ''} with {_key(app)}", yes=yes)
    signed = {version.dag_id: version for version in pen(app).sign(services.engine, chosen)}
    return _register(app, services, [replace(report, versions=tuple(signed.get(version.dag_id, version) for version in report.versions))
                                     for report in files])


def _files(app: App, names: Sequence[str]) -> list[Path]:
    """Return the files of the folder of DAGs of these names that are there."""
    folder = survey.dags_folder(app.settings)
    return [folder / name for name in dict.fromkeys(names) if name and (folder / name).is_file()]


def _active(services: Services, dag_id: str) -> Version | None:
    with reading(services.engine) as connection:
        return dags.latest_version(connection, dag_id)


def _show(version: Version, before: Version | None) -> None:
    """Show what is different in a version, on stderr: that it is looked at is what a signature is for."""
    names = "what runs now", "what waits"
    lines = differences.of_version(before, version, names) if before and before.sha != version.sha else _whole(version)
    output.note(f"== {version.dag_id} ({version.file})")
    for line in lines:
        output.note(line)


def _whole(version: Version) -> list[str]:
    source = version.sources.get(version.file)
    return source.splitlines() if isinstance(source, str) else [f"+ {name}" for name in version.sources]


def _register(app: App, services: Services, files: Sequence[Report]) -> list[str]:
    """Register what files make, the signed versions among them; return what is said of each of these."""
    settings, by = app.settings, who()
    versions = [version for report in files for version in report.versions]
    registered = registering.register(services.broker, services.engine, versions, files=files, holds=True,
                                      catchup_by_default=settings.scheduler.catchup_by_default,
                                      paused_at_creation=settings.core.dags_are_paused_at_creation)
    if refused := [one.version.dag_id for one in registered if one.held_by is not None and one.version.signatures]:
        raise NotPermitted(f"{', '.join(refused)}: security.allowed_signers here does not have the key {_key(app)}, or it is revoked or not valid",
                           hint="Sign with another key: security.signing_key; or have it added.")

    def note(connection: Connection) -> None:
        for one in registered:
            if one.version.signatures:
                events.add(connection, "version_signed", who=by, dag_id=one.version.dag_id, version=one.version.sha)

    run_in_transaction(services.engine, note)
    return [f"{registering.describe(one)}; signed; {registering.what_next(services.broker, services.engine, one, app.zone)}"
            for one in registered if one.version.signatures]
