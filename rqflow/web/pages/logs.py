"""The log of a try: a page that works by itself, and what its script asks for: blocks, line numbers, what is found, and what comes."""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from rqflow.actions import logs, query
from rqflow.actions.logview import search as searching
from rqflow.actions.logview import view
from rqflow.actions.logview.blocks import Block
from rqflow.actions.logview.ending import ending
from rqflow.actions.logview.index import LineIndexes
from rqflow.actions.logview.logfile import LogFile, opened
from rqflow.actions.logview.search import Found, search
from rqflow.actions.logview.shown import ShownLine
from rqflow.actions.logview.view import Place, Wanted
from rqflow.api.hub import Hub, meet
from rqflow.exceptions import NotFound
from rqflow.web.deps import TheHub, ThePart, ThePerson, visible_run
from rqflow.web.following import followed
from rqflow.web.rendering import fragment, page

router = APIRouter(include_in_schema=False, prefix="/runs/{run_key}/logs/{task_id}/{try_number}")
#: Bytes that a download gives at once.
PIECE = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPanel:
    """What `_log.html` shows: a block of a log, and what is around it."""

    place: Place
    block: Block
    #: Whether the rest of it is on its way, though the try has ended.
    is_arriving: bool
    #: Where the log is, without its last slash.
    url: str
    #: How the try ended; empty while it goes on.
    ending: str
    #: Why the rest is not here; empty when it is, or will soon be.
    held: str
    #: What shows the same on the command line.
    command: str

    @property
    def grows(self) -> bool:
        """Whether it is followed."""
        return self.place.may_grow or self.is_arriving

    @property
    def resumes_at(self) -> int:
        """From which byte the log is followed: where a line begins that has no end yet, or behind the last one."""
        return self.block.lines[-1].start if self.block.ends_open else self.block.end


def indexes_of(request: Request) -> LineIndexes:
    """Return what this process knows of where lines begin."""
    state = request.app.state
    if not hasattr(state, "log_indexes"):
        state.log_indexes = LineIndexes()
    found: LineIndexes = state.log_indexes
    return found


TheIndexes = Annotated[LineIndexes, Depends(indexes_of)]
Offset = Annotated[int | None, Query(ge=0, le=1 << 60)]


def place_of(hub: Hub, run_key: str, task_id: str, try_number: int) -> Place:
    """Return where a log is that the person may see. Raises NotFound."""
    record = visible_run(hub, run_key)
    return view.place(hub.settings, query.show_task(hub.live, hub.engine, record.run_key, task_id), task_id, try_number)


def panel(hub: Hub, indexes: LineIndexes, place: Place, wanted: Wanted) -> LogPanel:
    """Return what a page shows of a log; for any page that includes `_log.html`."""
    run, task_id, number = place.run, place.task.task_id, place.try_number
    ended = ending(place.one) if place.one else ""
    held = logs.held_back(hub.live, hub.settings, run, task_id, number) if ended and not hub.away else ""
    # Before the block is read: what comes between the two is in the block, or is followed.
    is_arriving = place.is_arriving()
    return LogPanel(
        place=place, is_arriving=is_arriving, block=view.block(place, indexes, wanted), url=url_of(run.run_key, task_id, number),
        ending=ended, held=held, command=f"rqflow task logs {shlex.join([run.run_key, task_id])} --try {number}")


def url_of(run_key: str, task_id: str, try_number: int) -> str:
    """Return the path of the page of a log."""
    return f"/runs/{run_key}/logs/{quote(task_id, safe='')}/{try_number}"


@router.get("")
def show(request: Request, hub: TheHub, indexes: TheIndexes, run_key: str, task_id: str, try_number: int,
         form: Annotated[Literal["page", "block", "text", "json"], Query(alias="format")] = "page", line: Annotated[int | None, Query(ge=1)] = None,
         after: Offset = None, before: Offset = None, around: Offset = None) -> Response:
    """Give the lines that are asked for, else the last ones, as a page or, with `format`, as a block of one, as text or as JSON."""
    place = place_of(hub, run_key, task_id, try_number)
    wanted = Wanted(line=line, after=after, before=before, around=around)
    if form == "page":
        return page(request, "log.html", log=panel(hub, indexes, place, wanted))
    block = view.block(place, indexes, wanted)
    if form == "text":
        return PlainTextResponse("".join(f"{one.plain}\n" for one in block.lines))
    if form == "json":
        return JSONResponse(_plain(block))
    return fragment(request, "_log_block.html", block=block, url=url_of(run_key, task_id, try_number))


@router.get("/number")
def number(hub: TheHub, indexes: TheIndexes, run_key: str, task_id: str, try_number: int,
           at: Annotated[int, Query(ge=0, le=1 << 60)]) -> dict[str, int | None]:
    """Give the number of the line that begins at a byte; null: ask again, it is being counted."""
    return {"line": view.number_at(place_of(hub, run_key, task_id, try_number), indexes, at)}


@router.get("/search")
def find(hub: TheHub, run_key: str, task_id: str, try_number: int, q: str = "", errors: bool = False,
         start: Annotated[int, Query(alias="from", ge=0)] = 0, line: Annotated[int, Query(ge=1)] = 1) -> dict[str, Any]:
    """Give lines that have a text, or that count as errors: as many as one call finds, and from where the next one goes on."""
    finder = searching.for_errors if errors else searching.for_text(q)
    place = place_of(hub, run_key, task_id, try_number)
    try:
        with opened(place.path) as file:
            found = search(file, finder, start, line)
    except FileNotFoundError:
        found = Found(hits=(), upto=0, line=1, size=0)
    hits = [[one.offset, one.line] for one in found.hits]
    return {"hits": hits, "upto": found.upto, "line": found.line, "size": found.size, "is_all": found.is_all}


@router.get("/raw")
def raw(parts: ThePart, person: ThePerson, run_key: str, task_id: str, try_number: int,
        start: Annotated[int, Query(alias="from", ge=0)] = 0, to: Offset = None, plain: bool = False) -> Response:
    """Give the bytes of a log as they are, all or a part: packed (gzip) as a file to be kept, or `plain`."""
    with meet(parts.source, person) as hub:
        place = place_of(hub, run_key, task_id, try_number)
    if not place.path.exists():
        raise NotFound(f"there is no log of {task_id}, try {try_number}", hint="Has it begun? Logs are read on the hub, where the archive is.")
    name = _file_name(place) + ("" if plain else ".gz")
    headers = {"Content-Disposition": f"attachment; filename=\"{name.encode('ascii', 'replace').decode()}\"; filename*=UTF-8''{quote(name, safe='')}",
               "X-Content-Type-Options": "nosniff", "Content-Encoding": "identity"}
    pieces = _pieces(place.path, start, to)
    if plain:
        return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)
    return StreamingResponse(_packed(pieces), media_type="application/gzip", headers=headers)


@router.get("/stream")
async def stream(request: Request, parts: ThePart, person: ThePerson, run_key: str, task_id: str, try_number: int,
                 start: Annotated[int, Query(alias="from", ge=0)] = 0) -> StreamingResponse:
    """Tell what comes, as server-sent events; each has as its id the byte from which one goes on after a break."""
    resumed = request.headers.get("last-event-id", "")
    first = int(resumed) if resumed.isdecimal() and len(resumed) < 19 else start

    def place() -> Place:
        with meet(parts.source, person) as hub:
            return place_of(hub, run_key, task_id, try_number)

    told = followed(await run_in_threadpool(place), place, first, url_of(run_key, task_id, try_number), parts.newsroom)
    return StreamingResponse(told, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


def _plain(block: Block) -> dict[str, Any]:
    def line(number: int, one: ShownLine) -> dict[str, Any]:
        return {"number": None if block.first is None else block.first + number, "start": one.start, "length": one.length, "at": one.at,
                "kind": one.kind.value, "title": one.title, "left_out": one.left_out, "text": one.text}

    return {"start": block.start, "end": block.end, "size": block.size, "first": block.first,
            "lines": [line(number, one) for number, one in enumerate(block.lines)]}


def _file_name(place: Place) -> str:
    """Return what a log is called where it is kept."""
    date = f"{place.run.logical_date:%Y-%m-%dT%H-%M-%S}" if place.run.logical_date else place.run.run_key
    return "".join(one if one.isalnum() or one in "._-" else "_" for one in f"{place.run.dag_id}.{place.task.task_id}.{date}.{place.try_number}.log")


def _pieces(path: Path, start: int, to: int | None) -> Iterator[bytes]:
    with opened(path) as file:
        yield from _read(file, start, file.size if to is None else min(to, file.size))


def _read(file: LogFile, at: int, end: int) -> Iterator[bytes]:
    while at < end and (data := file.read(at, min(PIECE, end - at))):
        at += len(data)
        yield data


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        if data := packer.compress(piece):
            yield data
    yield packer.flush()
