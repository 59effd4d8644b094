"""What is written down when rqflow itself is at fault."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from rqflow.cli.output import problem


def report(error: Exception, words: Sequence[str]) -> int:
    """Write the traceback of `error` to a file of its own and say where; with -v show it too. Return the exit code 1."""
    lines = traceback.format_exception(error)
    head = f"rqflow {' '.join(words)}\nPython {sys.version}\n{platform.platform()}\n\n"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="rqflow-bug-", suffix=".log", delete=False, encoding="utf-8", errors="replace") as file:
            file.write(head + "".join(lines))
        place = f"{file.name} has the details."
    except OSError as full:
        place = f"Run it again with -v for the details (they could not be written: {full.strerror})."
    if any(word.startswith("-v") or word == "--verbose" for word in words):
        problem("".join(lines).rstrip())
    problem(f"rqflow: unexpected {type(error).__name__}: {error}\nThis is a bug in rqflow. {place}")
    return 1
