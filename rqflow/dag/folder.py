"""The DAG files below a folder: sub-folders and links are followed, loops are not, and what ignore files name is left out.

`.rqflowignore` and `.airflowignore` hold a regular expression a line, as in Airflow 1 and 2. Whatever has one of them in its path below the ignore
file's own folder is left out, a folder with all that is below it. `#` begins a comment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

IGNORE_FILES = (".rqflowignore", ".airflowignore")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
#: No folder is so deep.
_DEEPEST = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A Python file below the folder."""

    #: Its path below the folder, with `/`.
    key: str
    path: Path
    is_link: bool
    #: Device and inode: two links to one file are one file.
    identity: tuple[int, int]


@dataclass(slots=True)
class Walk:
    """What is below a folder."""

    files: list[Found] = field(default_factory=list)
    #: `place: message` of what could not be read, and of ignore files with a mistake.
    problems: list[str] = field(default_factory=list)
    #: Keys of the folders that could not be read: what was known below them is not gone.
    unreadable: list[str] = field(default_factory=list)
    #: There is nothing at all in the folder: perhaps what should be mounted there is not.
    is_bare: bool = True


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of an ignore file, and the folder that its paths are below."""

    pattern: re.Pattern[str]
    folder: str

    def leaves_out(self, key: str) -> bool:
        return self.pattern.search(key.removeprefix(self.folder)) is not None


def walk(folder: Path) -> Walk:
    """Return the Python files below `folder`, each once, sorted; raises OSError when the folder itself cannot be read.

    Hidden folders, virtual environments and those of installed packages are left out.
    """
    seen = Walk()
    _enter(seen, str(folder), "", (), ())
    seen.files = list(_each_once(seen.files))
    return seen


def counts(folder: Path, key: str) -> bool:
    """Tell whether the file of this path below `folder` is one that `walk` gives."""
    parts, rules = key.split("/"), list[_Rule]()
    for depth, name in enumerate(parts):
        above = "/".join(parts[:depth])
        here, prefix = folder / above, f"{above}/" if above else ""
        rules += [rule for ignore in IGNORE_FILES if (here / ignore).is_file() for rule in _rules(Walk(), str(here / ignore), prefix)]
        if name.startswith(".") or name in _SKIPPED_FOLDERS or (here / "pyvenv.cfg").exists():
            return False
        if any(rule.leaves_out(prefix + name) for rule in rules):
            return False
    return key.endswith(".py")


def root_of(file: Path, folder: Path) -> Path:
    """Return the folder with which `file` is loaded: `folder`, or where the link in it leads by which the file lies elsewhere."""
    real, place = Path(os.path.realpath(folder)), file.parent
    if Path(os.path.realpath(place)).is_relative_to(real):
        return folder
    while place.parent != folder and not Path(os.path.realpath(place.parent)).is_relative_to(real):
        place = place.parent
    return Path(os.path.realpath(place))


def _enter(seen: Walk, folder: str, prefix: str, rules: Sequence[_Rule], above: tuple[tuple[int, int], ...]) -> None:
    """Add what is below one folder, whose key is `prefix` with `/` at its end; `above` are those that lead to it."""
    try:
        found = os.stat(folder)  # noqa: PTH116 - done for thousands of them
        identity = (found.st_dev, found.st_ino)
        if identity in above or len(above) > _DEEPEST:
            return
        with os.scandir(folder) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if not prefix:
            raise
        seen.problems.append(f"{folder}: cannot be read: {error.strerror}")
        seen.unreadable.append(prefix)
        return
    names = {entry.name for entry in here}
    seen.is_bare &= not names
    if "pyvenv.cfg" in names:
        return
    rules = [*rules, *(rule for name in IGNORE_FILES if name in names for rule in _rules(seen, f"{folder}/{name}", prefix))]
    for entry in here:
        key = prefix + entry.name
        if entry.name.startswith(".") or entry.name in _SKIPPED_FOLDERS or any(rule.leaves_out(key) for rule in rules):
            continue
        try:
            if not key.isprintable() or key.encode(errors="replace") != key.encode(errors="surrogateescape"):
                seen.problems.append(f"{folder}: {entry.name!r} has characters in its name that cannot be told")
            elif entry.name.endswith(".py") and entry.is_file():
                status = entry.stat()
                seen.files.append(Found(key=key, path=Path(entry.path), is_link=entry.is_symlink(), identity=(status.st_dev, status.st_ino)))
            elif entry.is_dir():
                _enter(seen, entry.path, f"{key}/", rules, (*above, identity))
        except OSError as error:  # a link in a circle, or one that is gone already
            seen.problems.append(f"{entry.path}: cannot be read: {error.strerror}")


def _rules(seen: Walk, file: str, folder: str) -> Iterator[_Rule]:
    """Give the rules of an ignore file; a line that is no regular expression is a problem and leaves out nothing."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        seen.problems.append(f"{file}:1: cannot be read: {error.strerror}")
        return
    for number, line in enumerate(lines, 1):
        text = re.sub(r"\s*#.*", "", line).strip()
        try:
            pattern = re.compile(text)
        except re.error as error:
            seen.problems.append(f"{file}:{number}: {text!r} is no regular expression: {error}")
            continue
        if text:
            yield _Rule(pattern, folder)


def _each_once(files: Iterable[Found]) -> Iterator[Found]:
    """Give the files by key; of those that are one and the same the first that is no link."""
    chosen: dict[tuple[int, int], Found] = {}
    for file in sorted(files, key=lambda one: (one.is_link, one.key)):
        chosen.setdefault(file.identity, file)
    yield from sorted(chosen.values(), key=lambda one: one.key)
