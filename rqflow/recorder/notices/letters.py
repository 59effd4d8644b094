"""What a message says to people: subject, text and HTML, from the templates in templates/."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rqflow.mail import one_line
from rqflow.recorder.notices.content import Content
from rqflow.store import notices

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
#: {kind: (of one, of several)}: what happened.
_WORDS = {
    notices.FAILURE: ("failed", "tasks failed"), notices.RETRY: ("failed and is tried again", "tasks failed and are tried again"),
    notices.SUCCESS: ("succeeded", "tasks succeeded"), notices.RECOVERY: ("succeeded after all", "tasks succeeded after all"),
    notices.SLA: ("missed its sla", "tasks missed their sla"), notices.PAUSED: ("is paused", "times paused"),
    notices.UNREACHABLE: ("cannot be reached", "tasks cannot be reached"),
}
#: What the command is for with which a person goes on.
_NEXT = {notices.PAUSED: "Go on:        ", notices.UNREACHABLE: "If it is gone: ", notices.RETRY: "Not wait:     "}


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A message for people."""

    subject: str
    text: str
    html: str


def write(content: Content) -> Letter:
    """Return what `content` says to people."""
    headline = _headline(content)
    is_single = len(content.told) == 1 and not content.unnamed
    known = {"next_words": _NEXT, "content": content, "told": content.told, "headline": headline, "words": _WORDS, "single": is_single}
    texts = {ending: _environment().get_template(f"message.{ending}").render(known) for ending in ("txt", "html")}
    return Letter(subject=one_line(f"rqflow: {headline}"), text=texts["txt"], html=texts["html"])


def _headline(content: Content) -> str:
    """Return in one line what happened."""
    told, message = content.told, content.message
    if len(told) == 1 and not content.unnamed:
        one = told[0]
        of_tries = f" (try {one.try_number}{f' of {one.max_tries}' if one.max_tries else ''})" if one.try_number and one.kind != notices.SLA else ""
        return f"{one.about} {_WORDS[one.kind][0]}{of_tries}"
    parts = ", ".join(f"{count} {_WORDS[kind][1] if count > 1 else f'task {_WORDS[kind][0]}'}" for kind, count in sorted(content.tally.items()))
    runs = {one.run_id for one in told}
    where = f"in run {told[0].run_id}" if len(runs) == 1 and not message.is_digest else f"in {len(runs)} runs" if len(runs) > 1 else ""
    return " ".join(filter(None, (f"{message.dag_id}: {parts}", where)))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Return the templates; jinja2 is imported when the first message is written."""
    import jinja2  # here: as the docstring says

    def escapes(name: str | None) -> bool:
        return bool(name and name.endswith(".html"))

    options: dict[str, Any] = {"autoescape": escapes, "trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), **options)  # noqa: S701 (what is HTML is escaped)
