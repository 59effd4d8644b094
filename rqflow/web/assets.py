"""Files that pages load: styles, scripts, icons. Their URLs carry a hash of what they hold, so browsers keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

router = APIRouter(include_in_schema=False)

#: Where the files are: by the first part of their name, "" for our own.
FOLDERS = {"": Path(__file__).parent / "static", "vendor": Path(__file__).parent / "vendor"}
#: viz-global.js has WebAssembly in its text and works only when read as UTF-8: so the charset is said everywhere.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}
#: How browsers keep what a URL with the right hash gave, and what one with another hash did: a page of an older release still asks for it.
FOR_EVER, ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"


class Asset:
    """One file, held in memory."""

    def __init__(self, path: Path, version: str) -> None:
        """Read `path`; `version` is the hash in its URL."""
        self.path, self.version = path, version
        self.type = TYPES[path.suffix]

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return self.path.read_bytes()


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name, such as app.css or vendor/htmx.min.js."""
    found: dict[str, Asset] = {}
    for prefix, folder in FOLDERS.items():
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.suffix in TYPES}
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        # Our own modules import each other by relative URLs, which keep the hash of the importing one: so they all have the same.
        together = hashlib.sha256("".join(digests.values()).encode()).hexdigest()
        for name, path in files.items():
            full = f"{prefix}/{name}" if prefix else name
            found[full] = Asset(path, (digests[name] if prefix else together)[:16])
    return found


def static(name: str) -> str:
    """Return the URL of the file of that name, such as app.css. Raises KeyError for one that is not there."""
    return f"/static/{assets()[name].version}/{name}"


@cache
def _bodies(name: str) -> tuple[bytes, bytes, str]:
    """Return the bytes of a file, the same compressed, and its ETag."""
    content = assets()[name].content
    return content, gzip.compress(content, 9, mtime=0), f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@router.api_route("/static/{version}/{name:path}", methods=["GET", "HEAD"])
def give(request: Request, version: str, name: str) -> Response:
    """Give a file."""
    asset = assets().get(name)
    if asset is None:
        return PlainTextResponse("There is no such file.\n", status_code=404, headers={"Cache-Control": "no-store"})
    content, packed, etag = _bodies(name)
    headers = {"ETag": etag, "Cache-Control": FOR_EVER if version == asset.version else ASK_AGAIN, "Vary": "Accept-Encoding"}
    if etag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", "") and len(packed) < len(content):
        # A body of its own: another ETag, by the letter of HTTP, but the strong one would name the other bytes.
        headers |= {"Content-Encoding": "gzip", "ETag": f"W/{etag}"}
        content = packed
    return Response(content, media_type=asset.type, headers=headers)
