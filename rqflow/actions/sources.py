"""The files of a DAG as they were submitted, and what is different between two of its versions."""

from __future__ import annotations

from rqflow.actions import query
from rqflow.dag import differences
from rqflow.dag.version import Version
from rqflow.exceptions import NotFound
from rqflow.store.engine import Engine


def text(engine: Engine, dag_id: str, number: int | None = None) -> str:
    """Return the DAG file of a version, of the newest by default; raises DagNotFound, NotFound."""
    version = query.find_version(engine, dag_id) if number is None else query.numbered_version(engine, dag_id, number)
    return of_version(version)


def of_version(version: Version) -> str:
    """Return the DAG file of a version; raises NotFound."""
    source = version.sources.get(version.file)
    if not isinstance(source, str):
        raise NotFound(f"{version.dag_id} has no file: it was made from a command", hint=f"`rqflow dag show {version.dag_id}` shows its tasks.")
    return source if source.endswith("\n") else f"{source}\n"


def difference(engine: Engine, dag_id: str, first: int, second: int) -> list[str]:
    """Return the lines that tell how version `second` differs from version `first`; raises DagNotFound, NotFound."""
    before, after = (query.numbered_version(engine, dag_id, number) for number in (first, second))
    return differences.of_version(before, after, (f"version {first}", f"version {second}"))
