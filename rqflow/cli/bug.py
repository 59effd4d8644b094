"""What is written down when rqflow itself is at fault."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click


def report(error: Exception, words: Sequence[str]) -> int:
    """Write the traceback of `error` to a file of its own and say where; with -v show it too. Return the exit code 1."""
    lines = traceback.format_exception(error)
    head = f"rqflow {' '.join(words)}\nPython {sys.version}\n{platform.platform()}\n\n"
    with tempfile.NamedTemporaryFile("w", prefix="rqflow-bug-", suffix=".log", delete=False, encoding="utf-8", errors="replace") as file:
        file.write(head + "".join(lines))
    if any(word.startswith("-v") or word == "--verbose" for word in words):
        click.echo("".join(lines), err=True, nl=False)
    click.echo(f"rqflow: unexpected {type(error).__name__}: {error}\nThis is a bug in rqflow; {file.name} has the details.", err=True)
    return 1
