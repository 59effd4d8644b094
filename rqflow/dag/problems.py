"""What is wrong in a DAG file, with the line where its author wrote it.

While a file loads, problems and warnings are collected, so that one load reports all of them; outside of a load a problem is raised at
once.
"""

from __future__ import annotations

import difflib
import inspect
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rqflow.exceptions import DagLoadError

_PACKAGE = str(Path(__file__).parents[1]) + "/"
_MAX_ID = 250


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, or worth a warning, at a line of a DAG file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return `file:line: message` as one line."""
        return f"{self.file}:{self.line}: {' | '.join(line.strip() for line in self.message.splitlines() if line.strip())}"


@dataclass(slots=True)
class Notes:
    """What was found while a file loaded, in the order in which it was found."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


_notes: list[Notes] = []


@contextmanager
def noting() -> Iterator[Notes]:
    """Collect problems and warnings inside of the block, in place of raising the problems."""
    notes = Notes()
    _notes.append(notes)
    try:
        yield notes
    finally:
        _notes.pop()


def report(message: str, place: Place | None = None) -> None:
    """Note a problem at `place`, by default the author's line that led here; raises DagLoadError when nobody collects."""
    problem = Problem(*(place or author_place()), message)
    if not _notes:
        raise DagLoadError([str(problem)])
    if problem not in _notes[-1].problems:
        _notes[-1].problems.append(problem)


def warn(message: str, place: Place | None = None) -> None:
    """Note a warning at `place`, by default the author's line that led here; nobody hears it when nobody collects."""
    if _notes:
        warning = Problem(*(place or author_place()), message)
        if warning not in _notes[-1].warnings:
            _notes[-1].warnings.append(warning)


def author_place() -> Place:
    """Return the line of the innermost call that is neither rqflow's nor the airflow shim's."""
    frame = inspect.currentframe()
    while frame is not None:
        file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
        inside = file.startswith((_PACKAGE, "<frozen")) or module.split(".")[0] in {"airflow", "functools", "contextlib"}
        if not inside:
            return Place(file, frame.f_lineno)
        frame = frame.f_back
    return Place("<unknown>", 0)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean x?" for the one of `words` that is like `word`, else nothing."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def check_id(kind: str, name: object, place: Place | None = None) -> None:
    """Report an id that is none by Airflow's rule: letters, digits, dash, dot and underscore, at most 250 characters."""
    if not isinstance(name, str):
        report(f"{kind} must be text, not {name!r}", place)
    elif not name:
        report(f"{kind} is empty", place)
    elif len(name) > _MAX_ID:
        report(f"{kind} {name[:20]}… has {len(name)} characters; at most {_MAX_ID} are allowed", place)
    elif wrong := re.search(r"[^\w.-]", name):
        report(f"{kind} {name!r} has {_name(wrong[0])} in it; only letters, digits, dash, dot and underscore are allowed", place)


def _name(character: str) -> str:
    """Return how to speak of a character: 'a blank', 'U+1F600 GRINNING FACE'."""
    if character == " ":
        return "a blank"
    if character.isascii() and character.isprintable():
        return f"the character {character}"
    return f"the character U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
