"""Whether the hub's disks have room: logs stop before nothing is left for the database and Redis."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from rqflow.values import Size, format_size


class Room:
    """The disks that must keep `min_free` bytes free."""

    def __init__(self, folders: Iterable[Path], min_free: int) -> None:
        """Watch the disks of `folders`, which need not exist yet; 0 bytes: they may be filled."""
        self._folders = tuple(folders)
        self._min_free = min_free

    def shortage(self) -> str:
        """Return in words which disk has too little room; empty when all have enough."""
        for folder in self._folders if self._min_free else ():
            free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
            if free < self._min_free:
                return f"the disk of {folder} has {_rounded(free)} free, less than logs.min_free ({format_size(self._min_free)})"
        return ""


def _rounded(size: int) -> str:
    """Return about `size` bytes in a unit in which it is a small number."""
    for unit in (30, 20, 10):
        if size >= 1 << unit:
            return format_size(Size((size >> unit) << unit))
    return format_size(size)
