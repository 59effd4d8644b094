"""What the commands share whose argument is a DAG or a FILE: which of the two it is, and the version that it names."""

from __future__ import annotations

from pathlib import Path

from rqflow.actions import survey
from rqflow.api.dags import OneVersion, one_version
from rqflow.api.runs import OneRun, version_of_run
from rqflow.cli.app import App
from rqflow.cli.hub import Ask, asking
from rqflow.cli.output import Column
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError

TASK_COLUMNS = [
    Column("task_id", "TASK"), Column("operator", "OPERATOR"), Column("trigger_rule", "TRIGGER RULE"),
    Column("upstream", "UPSTREAM", show=", ".join), Column("queue", "QUEUE", wide=True), Column("pool", "POOL", wide=True),
    Column("retries", "RETRIES", wide=True),
]


def is_file(name: str) -> bool:
    """Tell whether a DAG|FILE argument means a file: it exists as one, or looks like a path. A folder may be called like a DAG."""
    return name.endswith(".py") or "/" in name or name in {".", ".."} or Path(name).is_file()


def version_named(app: App, name: str, dag_id: str | None = None) -> Version:
    """Return the version that a DAG|FILE argument names: of a file the only DAG in it, or the one that `dag_id` names."""
    if not is_file(name):
        with asking(app) as ask:
            return Version.from_json(ask(one_version, OneVersion(dag_id=name)).json)
    found = survey.read([Path(name)], app.here).versions
    chosen = [version for version in found if dag_id in {None, version.dag_id}]
    if len(chosen) != 1:
        raise UsageError(f"{name} has {len(chosen)} DAGs: {', '.join(version.dag_id for version in chosen)}", hint="Name one with --dag.")
    return chosen[0]


def of_run(ask: Ask, name: str) -> tuple[Version, RunInfo | None]:
    """Return the version that a run runs, and the run as its tasks get it; None: too little is known of it."""
    found = ask(version_of_run, OneRun(run=name))
    return Version.from_json(found.json), RunInfo.from_json(found.info) if found.info is not None else None
