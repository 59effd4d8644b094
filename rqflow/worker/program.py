"""A worker's own copy of rqflow, from which it starts processes later: an upgrade may replace the installed files while it runs.

The worker itself has imported all that it needs. Its Python children and its next shepherd have not; started from files of another
release, or from half of one, they would not understand it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from pathlib import Path

from rqflow import logs

logger = logging.getLogger(__name__)

#: Where the installed rqflow is: the folder that has the package in it.
INSTALLED = Path(__file__).parents[2]
_PACKAGE = Path(__file__).parents[1].name


def keep(folder: Path) -> Path:
    """Return the folder below `folder` that has a copy of the installed package, made when it is not there.

    When there is no room for it, the installed one is returned, and that is said in the log.
    """
    kept = folder / _digest(INSTALLED / _PACKAGE)
    if kept.exists():
        return kept
    fresh = folder / f"{kept.name}.{os.getpid()}"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(INSTALLED / _PACKAGE, fresh / _PACKAGE)
        fresh.rename(kept)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        logger.warning("no copy of rqflow is kept; do not upgrade it while this worker runs: %s", error, extra=logs.context("program_not_kept"))
        return INSTALLED
    return kept


def remove_others(folder: Path, kept: Path) -> None:
    """Remove the copies that former workers kept."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            if Path(entry.path) != kept:
                shutil.rmtree(entry.path, ignore_errors=True)


def _digest(package: Path) -> str:
    """Return a name for what the package's files are now, by their names, sizes and times."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        status = path.stat()
        found.update(f"{path.relative_to(package)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return found.hexdigest()[:16]
