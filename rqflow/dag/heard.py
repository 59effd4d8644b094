"""What a DAG file asks of the file system while it loads, heard by Python's audit hook: files it opens, folders it lists, modules it does not find.

What lies outside of the folder of DAGs, and what belongs to Python or to installed packages, does not count.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from rqflow.dag.explain import Paths, is_installed

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_STANDARD = os.path.dirname(os.__file__)  # noqa: PTH120 - compared as text
#: Through these a folder is listed for somebody; what these others list is no business of the author's.
_LISTERS = ("os.py", "glob.py", "pathlib", "fnmatch.py", "shutil.py")
_FINDERS = ("importlib", "pkgutil.py", "zipimport")


class Heard:
    """Listens from its making on."""

    def __init__(self, paths: Paths) -> None:
        """Listen on behalf of the load of `paths`; all of these grow meanwhile."""
        self._paths = paths
        #: The folder, and that in which the file itself is when it is a link: what is opened there counts.
        self._homes = {f"{paths.root}/", f"{os.path.dirname(os.path.realpath(paths.file))}/"}  # noqa: PTH120
        #: Files that the author's own code opened for reading: they travel.
        self.opened: dict[str, None] = {}
        self._read: dict[str, None] = {}
        self._listed: dict[str, None] = {}
        self._written: set[str] = set()
        self._imported: set[str] = set()
        sys.addaudithook(self._hear)

    def inputs(self, modules: Iterable[str]) -> list[str]:
        """Return the absolute paths that the load depended on, `modules` among them; those that were only looked for too.

        What the load wrote itself is none: it would never come to rest.
        """
        candidates = {str(self._paths.file), *modules, *self._read, *self._missing_modules()}
        files = {path for path in candidates if path not in self._written and (path == str(self._paths.file) or self._counts(path))}
        return sorted(files | {f"{path.rstrip('/')}/" for path in self._listed if self._counts(f"{path.rstrip('/')}/")})

    def _counts(self, path: str) -> bool:
        return not is_installed(path) and any(path.startswith(home) for home in self._homes)

    def _missing_modules(self) -> set[str]:
        """Return where modules of the author's would be that were imported and not found."""
        places = dict.fromkeys((str(self._paths.file.parent), str(self._paths.root)))
        missing = [name.replace(".", "/") for name in self._imported if name not in sys.modules]
        return {f"{place}/{name}{ending}" for place in places for name in missing for ending in (".py", "/__init__.py")}

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._hear_open(*args[:3])
        elif event in {"os.listdir", "os.scandir"}:
            self._hear_list(args[0])
        elif event == "import":
            frame = _caller(("<frozen importlib", "importlib"))
            if frame is not None and self._paths.is_authors(frame.f_code.co_filename):
                self._imported.add(str(args[0]))

    def _hear_open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str):
            return
        whole = _absolute(path)
        if (mode and set(str(mode)) & set("wax+")) or (not mode and isinstance(flags, int) and flags & _WRITES):
            self._written.add(whole)
            return
        self._read[whole] = None
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 (there is no other way to learn who opens)
        while frame is not None and _is_library(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None and self._paths.is_authors(frame.f_code.co_filename):
            self.opened[whole] = None

    def _hear_list(self, path: Any) -> None:
        if path is not None and not isinstance(path, str | os.PathLike):
            return
        frame = _caller(_LISTERS)
        if frame is None or not any(name in frame.f_code.co_filename for name in _FINDERS):
            self._listed[_absolute(os.fspath(path or "."))] = None


def _absolute(path: str | bytes) -> str:
    return str(Path(os.fsdecode(path)).absolute())


def _caller(names: tuple[str, ...]) -> FrameType | None:
    """Return the innermost frame that is neither ours nor in a file of the standard library with one of these in its name."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 (as above)
    while frame is not None and (frame.f_code.co_filename == __file__ or _is_library(frame.f_code.co_filename, names)):
        frame = frame.f_back
    return frame


def _is_library(file: str, names: tuple[str, ...] = ()) -> bool:
    """Tell whether `file` is Python's own, through which an author opens a file; with `names` only one with one of these in its name."""
    own = file.startswith("<frozen") or (file.startswith(_STANDARD) and "-packages/" not in file)
    return own and (not names or any(name in file for name in names))

