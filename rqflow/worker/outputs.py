"""The files that a task declares with `outputs`: moved aside before a try, renamed when a try that failed left them, required after success.

The shepherd marks what a failed try left at once, because the worker may be dead by then; the worker does the rest. Everything here may
be repeated: what is done already is passed over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path


def exist(paths: Sequence[str]) -> bool:
    """Tell whether there are outputs and all of them exist."""
    return bool(paths) and all(Path(path).exists() for path in paths)


def missing(paths: Sequence[str]) -> list[str]:
    """Return the outputs that do not exist."""
    return [path for path in paths if not Path(path).exists()]


def move_aside(paths: Sequence[str], try_number: int) -> list[str]:
    """Rename each output that exists before the try to `f.before-TRY`, or `f.before-TRY-1` … when there is one; return the new names."""
    return _rename(paths, f".before-{try_number}", keep=True)


def mark_partial(paths: Sequence[str], try_number: int) -> list[str]:
    """Rename each output that a failed try left to `f.partial-TRY`, in place of one of that name; return the new names."""
    return _rename(paths, f".partial-{try_number}")


def _rename(paths: Sequence[str], suffix: str, *, keep: bool = False) -> list[str]:
    renamed = []
    for path in paths:
        target = _free(path.rstrip("/") + suffix, keep=keep)
        with contextlib.suppress(FileNotFoundError):
            Path(path).rename(target)
            renamed.append(str(target))
    return renamed


def _free(target: str, *, keep: bool) -> Path:
    """Return `target`, with a number behind it when a folder, which rename cannot replace, or a file to `keep` has that name."""
    number, path = 0, Path(target)
    while path.is_dir() or (keep and os.path.lexists(path)):
        number += 1
        path = Path(f"{target}-{number}")
    return path
