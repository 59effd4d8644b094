"""Changing rqflow.cfg without touching what people wrote in it: comments, order, other keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from rqflow.exceptions import ConfigError


def changed(text: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of a configuration file with these values {section: {key: value}}, each in the place of the one that is there."""
    lines = text.splitlines()
    for section, pairs in values.items():
        for key, value in pairs.items():
            _set(lines, section, key, value)
    return "\n".join(lines) + "\n"


def write(file: Path, values: Mapping[str, Mapping[str, str]]) -> None:
    """Change a file so, at one stroke, and let nobody but its owner read it. Raises ConfigError when it cannot be written."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(changed(before, values))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint="Nothing of it was changed.") from error


def _set(lines: list[str], section: str, key: str, value: str) -> None:
    head = next((at for at, line in enumerate(lines) if line.strip() == f"[{section}]"), None)
    if head is None:
        lines += [*([""] if lines else []), f"[{section}]", f"{key} = {value}"]
        return
    end = next((at for at in range(head + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
    for at in range(head + 1, end):
        if re.match(rf"{re.escape(key)}\s*[=:]", lines[at]):
            del lines[at:_next(lines, at, end)]
            lines.insert(at, f"{key} = {value}")
            return
    # Behind its commented default, as people do it; else at the head of the section.
    default = next((at for at in range(head + 1, end) if re.match(rf"[#;]\s*{re.escape(key)}\s*=", lines[at])), head)
    lines.insert(default + 1, f"{key} = {value}")


def _next(lines: list[str], at: int, end: int) -> int:
    """Return where the value that begins at a line is over: it goes on in indented lines."""
    following = at + 1
    while following < end and lines[following][:1] in {" ", "\t"} and lines[following].strip():
        following += 1
    return following
