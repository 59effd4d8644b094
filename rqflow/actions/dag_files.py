"""Where DAGs come from: files of the folder of DAGs are remembered with all that loading them depended on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rqflow.actions.survey import Report
from rqflow.broker.protocol import release
from rqflow.dag import dates
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict
from rqflow.settings import Settings
from rqflow.store import dag_files, dags
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import Connection, Engine, reading


class Taken(Conflict):
    """A DAG that another file of the folder makes."""

    def __init__(self, dag_ids: Mapping[str, str], report: Report) -> None:
        """Name the DAGs with the paths of their files below the folder, and the file that makes them too."""
        self.dag_ids = dag_ids
        said = "; ".join(f"{report.file}:1: the DAG {dag_id} comes from {path} in the folder of DAGs" for dag_id, path in dag_ids.items())
        super().__init__(said, hint="Give one of them another dag_id, or remove one of the files.")


def loaded_by(settings: Settings) -> str:
    """Return what else than its inputs makes the versions of a file: this release, and the queue of tasks that name none."""
    return f"{release()} {settings.core.default_queue}"[:250]


def settled(engine: Engine, reports: Sequence[Report]) -> tuple[list[Report], list[str]]:
    """Return the reports with dates as they were where a file took them from the clock and nothing that it depends on has changed.

    And the ids of the DAGs of which that is so.
    """
    moved: list[str] = []

    def one(connection: Connection, version: Version, inputs: str) -> Version:
        before = dags.with_inputs(connection, version.dag_id, inputs)
        kept = dates.kept(version, before) if before else version
        if kept.sha != version.sha:
            moved.append(version.dag_id)
        return kept

    with reading(engine) as connection:
        found = [replace(report, versions=tuple(one(connection, version, report.inputs.digest) for version in report.versions))
                 if report.inputs else report for report in reports]
    return found, moved


def check(connection: Connection, reports: Sequence[Report], dags_folder: Path) -> None:
    """Raise Taken for a DAG that another file of the folder makes, which is still there as far as this machine can tell."""
    is_here = dags_folder.is_dir()
    for report in reports:
        owners = dag_files.owners(connection, [version.dag_id for version in report.versions])
        others = {dag_id: path for dag_id, path in owners.items() if path != report.key and not (is_here and not (dags_folder / path).exists())}
        if others:
            raise Taken(others, report)


def note(connection: Connection, reports: Sequence[Report], made_by: str, now: datetime) -> None:
    """Note where the DAGs of files come from that were taken over; those that a file of the folder makes no more start no runs by schedule."""
    for report in reports:
        dag_ids = tuple(version.dag_id for version in report.versions)
        dag_files.claim(connection, dag_ids, report.key)
        if report.key is not None and report.inputs is not None:
            dag_files.put(connection, DagFileRecord(path=report.key, is_present=True, dag_ids=dag_ids, errors=(), inputs=report.inputs.to_plain(),
                                                    loaded_by=made_by, loaded_at=now))
            dag_files.retire(connection, report.key, dag_ids, now)
