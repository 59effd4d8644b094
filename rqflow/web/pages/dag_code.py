"""The code of a DAG: its versions, the files of one, and what is different between two."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from rqflow.actions import query
from rqflow.api.operation import LARGEST, perform
from rqflow.api.versions import ListVersions, TwoVersions, difference, list_versions
from rqflow.dag.version import Version
from rqflow.exceptions import NotFound
from rqflow.web.deps import TheHub
from rqflow.web.highlight import lines_of
from rqflow.web.pages.dag import about_dag
from rqflow.web.rendering import page

router = APIRouter(include_in_schema=False)
#: The number of a version.
Number = Annotated[int | None, Query(ge=1, le=LARGEST)]
#: Versions of a page, and lines of a difference that are shown.
VERSIONS, LINES = 50, 5000
#: Classes of the lines of a difference by how they begin.
_KINDS = {"+": "add", "-": "del", "@": "gu"}


@router.get("/dags/{dag_id}/code")
def code_page(request: Request, hub: TheHub, dag_id: str, version: Number = None, against: Number = None, file: str = "",
              after: Number = None) -> HTMLResponse:
    """Show the files of a version, the newest unless one is named; with `against` what is different from that one."""
    dag = hub.dag(dag_id)
    found = query.find_version(hub.engine, dag_id) if version is None else query.numbered_version(hub.engine, dag_id, version)
    versions = perform(hub, list_versions, ListVersions(dag_id=dag_id, limit=VERSIONS, after=after))
    number = version or next((one.number for one in versions.items if one.version == found.sha), None)
    known = {**about_dag(hub, dag), "shown": found, "number": number, "versions": versions, "after": after, "files": _files(found)}
    if against is not None and number is not None:
        told = perform(hub, difference, TwoVersions(dag_id=dag_id, first=against, second=number)).items
        lines = [(_KINDS.get(line[:1], "") if not line.startswith(("+++", "---")) else "gh", line) for line in told[:LINES]]
        return page(request, "dag_code.html", **known, against=against, difference=lines, is_cut=len(told) > LINES, file="", lines=[], text="")
    path = file or found.file
    text = _text(found, path, is_asked=bool(file))
    return page(request, "dag_code.html", **known, against=None, difference=None, is_cut=False, file=path, lines=lines_of(text, path), text=text)


def _files(version: Version) -> list[str]:
    """Return the paths of a version's files, the DAG file first."""
    return sorted(version.sources, key=lambda path: (path != version.file, path))


def _text(version: Version, path: str, *, is_asked: bool) -> str:
    """Return a file as text; empty for one that is none, and for a version that has no files."""
    if is_asked and path not in version.sources:
        raise NotFound(f"this version of {version.dag_id} has no file {path[:100]}")
    source = version.sources.get(path)
    return source if isinstance(source, str) else ""
