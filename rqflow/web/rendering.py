"""Pages out of templates: the Jinja2 environment, its filters, and `page`, which adds what every page shows."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from rqflow import clock
from rqflow.actions.gantt import tick_words
from rqflow.actions.model import duration_words, size_words
from rqflow.broker import protocol
from rqflow.web.assets import static
from rqflow.web.wording import said

TEMPLATES = Path(__file__).parent / "templates"
#: In place of a text that there is not; cards of narrow screens leave such a field out.
NOTHING = Markup('<span class="none">–</span>')
#: The cookie with the message of what was just done, and how many seconds it waits for its page.
FLASH, FLASH_SECONDS = "rqflow_flash", 120
#: What a message may be: done, done but mind this, not done.
OK, WARN, BAD = "ok", "warn", "bad"

#: By whom an answer may be shared: by all who may see all DAGs, by those of them with the same role, by nobody.
BY_ALL, BY_ROLE, BY_NOBODY = "all", "role", ""

_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]}]")
#: Below which seconds a time is told in units of how many seconds.
_STEPS = ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h"), (float("inf"), 86400, "d"))


def moment(when: datetime | None) -> str:
    """Return a time as people read it, in UTC: 2026-11-29 15:20:44; empty for None."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if when else ""


def machine(when: datetime) -> str:
    """Return a time as machines read it: 2026-11-29T15:20:44.123Z."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(when: datetime | None) -> str:
    """Return how long ago, or in how long, in one unit: 12 s ago, in 3 h; empty for None."""
    if when is None:
        return ""
    seconds = (clock.utcnow() - when).total_seconds()
    amount = abs(seconds)
    size, unit = next((size, unit) for limit, size, unit in _STEPS if amount < limit)
    said = f"{round(amount / size)} {unit}"
    return f"{said} ago" if seconds >= 0 else f"in {said}"


def linked(text: str | None) -> Markup:
    """Return plain text for HTML, with links for what begins with http:// or https://, and its lines kept by the class that shows it."""
    parts, last = [], 0
    text = text or ""
    for found in _LINK.finditer(text):
        url = escape(found.group())
        parts += [escape(text[last:found.start()]), Markup('<a href="{0}" rel="noopener noreferrer nofollow">{0}</a>').format(url)]
        last = found.end()
    return Markup("").join([*parts, escape(text[last:])])


def words(value: object) -> str:
    """Return the value of an Enum, or text, with spaces for underscores: up for retry."""
    return str(value.value if isinstance(value, Enum) else value).replace("_", " ")


def key(value: object) -> str:
    """Return the value of an Enum, or text, as it is: for classes and parameters."""
    return str(value.value if isinstance(value, Enum) else value)


def part(value: object) -> str:
    """Return a text as one part of a path, with slashes escaped too."""
    return quote(str(value), safe="")


def query(**known: object) -> str:
    """Return `?a=1&b=2` of what is neither None nor empty, a list as one a value; empty text when nothing is left."""
    many = ((name, value if isinstance(value, list | tuple) else (value,)) for name, value in known.items())
    kept = [(name, key(one)) for name, values in many for one in values if one not in (None, "")]
    return f"?{urlencode(kept)}" if kept else ""


@cache
def environment() -> Environment:
    """Return the environment of all templates; each is compiled once in the life of this process."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, auto_reload=False, cache_size=-1,
                       trim_blocks=True, lstrip_blocks=True)
    made.filters.update(moment=moment, machine=machine, ago=ago, lasting=duration_words, tick=tick_words, size=size_words, linked=linked,
                        words=words, key=key, part=part, said=said)
    made.globals.update(static=static, query=query, release=protocol.release(), nothing=NOTHING)
    # Once for all templates, which need not import it.
    made.globals["ui"] = made.get_template("macros/ui.html").module
    return made


def is_fragment(request: Request) -> bool:
    """Tell whether htmx asks, which wants a piece of a page and no whole one."""
    return request.headers.get("hx-request") == "true"


def page(request: Request, template: str, *, status: int = 200, **known: Any) -> HTMLResponse:
    """Return a page. Templates see what is `known`, and person, path, flash, and layout.

    `layout` is base.html, or _dialog.html when a dialog asks: pages that may be shown in a dialog extend it.
    """
    in_dialog = request.headers.get("hx-target", "").endswith("#dialog-body")
    message = None if is_fragment(request) else _flashed(request)
    shown = {"person": getattr(request.state, "person", None), "path": request.url.path, "flash": message,
             "layout": "_dialog.html" if in_dialog else "base.html", **known}
    # A lone surrogate, which a value may have that came as JSON, is no text that could be sent.
    answer = HTMLResponse(environment().get_template(template).render(shown).encode("utf-8", "replace"), status_code=status)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Vary"] = "HX-Request, HX-Target"
    if message is not None:
        answer.delete_cookie(FLASH, path="/", httponly=True, samesite="lax")
    return answer


def fragment(request: Request, template: str, *, status: int = 200, **known: Any) -> HTMLResponse:
    """Return a piece of a page: a template whose name begins with `_`."""
    return page(request, template, status=status, **known)


def share(request: Request, by: str) -> None:
    """Say for whom the answer is the same: for all who may see all DAGs, or those of them with the same role; made once for them (pieces.py)."""
    request.state.shared_by = by


def live_page(request: Request, template: str, part: str, *, shared: str = BY_NOBODY, **known: Any) -> HTMLResponse:
    """Return a page whose live part is the template `part`; that part alone when it is got anew. `shared` as `share` takes it."""
    share(request, shared)
    return page(request, part if is_fragment(request) else template, **known)


def flash(answer: Response, message: str, kind: str = OK) -> Response:
    """Let the next page show `message` once, and return `answer`, a redirect to that page."""
    # Browsers drop a cookie beyond 4096 bytes.
    short = message.encode()[:1200].decode(errors="ignore")
    value = base64.urlsafe_b64encode(json.dumps([kind, short], ensure_ascii=False).encode()).decode()
    answer.set_cookie(FLASH, value, max_age=FLASH_SECONDS, path="/", httponly=True, samesite="lax")
    return answer


def _flashed(request: Request) -> dict[str, str] | None:
    """Return the message that waits for this page; nothing for a cookie that is not ours."""
    value = request.cookies.get(FLASH)
    if value is None:
        return None
    try:
        kind, message = json.loads(base64.urlsafe_b64decode(value))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return {"kind": OK, "message": ""}
    return {"kind": kind if kind in (OK, WARN, BAD) else OK, "message": str(message)}
