"""What an exception at the load of a DAG file means to its author: a line of theirs, and what to do."""

from __future__ import annotations

import builtins
import linecache
import re
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from rqflow.dag.problems import Place, Problem, nearest
from rqflow.exceptions import DagLoadError, RqflowError

#: Module -> what to install, where the two differ.
_PACKAGES = {
    "bs4": "beautifulsoup4", "Crypto": "pycryptodome", "cv2": "opencv-python", "dateutil": "python-dateutil", "dotenv": "python-dotenv",
    "git": "GitPython", "google": "google-cloud-core", "jwt": "PyJWT", "kafka": "kafka-python", "MySQLdb": "mysqlclient", "OpenSSL": "pyOpenSSL",
    "pendulum": "'rqflow[airflow]'", "PIL": "Pillow", "psycopg2": "psycopg2-binary", "serial": "pyserial", "skimage": "scikit-image",
    "sklearn": "scikit-learn", "snowflake": "snowflake-connector-python", "telegram": "python-telegram-bot", "yaml": "PyYAML", "zmq": "pyzmq",
}  # fmt: skip
#: What Python 3 says to what only Python 2 understands.
_PYTHON_2 = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types must be parenthesized|leading zeros in decimal integer literals"
)
_LIBRARIES = (f"{Path(__file__).parents[1]}/", *(f"{folder}/" for name, folder in sysconfig.get_paths().items() if "lib" in name))
_INSTALLED = re.compile(r"/(site|dist)-packages/|/\.(venv|tox|git)/|/__pycache__/")
_HINTS = {
    MemoryError: ": loading the file takes more memory than core.load_memory allows",
    RecursionError: "; look for a function that calls itself for ever",
}
#: What zoneinfo, pendulum and pytz raise for a zone that is none.
_NO_ZONE = frozenset({"ZoneInfoNotFoundError", "InvalidTimezone", "UnknownTimeZoneError"})
_LOCATED = re.compile(r"(?P<file>[^\n]+?):(?P<line>\d+): (?P<message>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Paths:
    """The file that loads: where it is, the folder it was submitted with, and how the person named it."""

    file: Path
    root: Path
    shown: str

    @property
    def key(self) -> str:
        """The file's path below the folder."""
        return self.file.relative_to(self.root).as_posix()

    def show(self, path: str) -> str:
        """Return a path as the person would name it: relative where they named the file so."""
        if path == str(self.file):
            return self.shown
        if path.startswith(f"{self.root}/"):
            return self.shown.removesuffix(self.key) + path.removeprefix(f"{self.root}/") if self.shown.endswith(self.key) else path
        return path

    def is_authors(self, path: str) -> bool:
        """Tell whether `path` is the author's: the file itself, or below its folder and no part of Python or of an installed package."""
        if path == str(self.file):
            return True
        return path.startswith(f"{self.root}/") and not is_installed(path)


def is_installed(path: str) -> bool:
    """Tell whether code at `path` is part of Python, of rqflow or of an installed package."""
    return path.startswith(_LIBRARIES) or bool(_INSTALLED.search(path))


def problems_of(error: BaseException, paths: Paths) -> list[Problem]:
    """Return what went wrong, at the author's lines."""
    if isinstance(error, DagLoadError):
        return [_located(text, paths) for text in error.problems]
    if isinstance(error, SyntaxError) and error.filename and paths.is_authors(error.filename):
        return [Problem(paths.show(error.filename), error.lineno or 1, _syntax(error))]
    frame, line = _author_frame(error.__traceback__, paths)
    file = frame.f_code.co_filename if frame else str(paths.file)
    return [Problem(paths.show(file), line, _message(error, frame, line))]


def place_in(frame: FrameType | None, paths: Paths) -> Place:
    """Return the author's line that `frame` is in, or was called from."""
    while frame is not None:
        if paths.is_authors(frame.f_code.co_filename):
            return Place(paths.show(frame.f_code.co_filename), frame.f_lineno)
        frame = frame.f_back
    return Place(paths.shown, 1)


def _located(text: str, paths: Paths) -> Problem:
    match = _LOCATED.fullmatch(text)
    if match is None:
        return Problem(paths.shown, 1, text)
    return Problem(paths.show(match["file"]), int(match["line"]), match["message"])


def _author_frame(trace: TracebackType | None, paths: Paths) -> tuple[FrameType | None, int]:
    """Return the author's innermost frame in a traceback and its line; (None, 1) when there is none."""
    found: tuple[FrameType | None, int] = (None, 1)
    while trace is not None:
        if paths.is_authors(trace.tb_frame.f_code.co_filename):
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return found


def _syntax(error: SyntaxError) -> str:
    said = f"{type(error).__name__}: {error.msg}"
    if _PYTHON_2.search(error.msg):
        return f"{said}; the file is written for Python 2, this is Python {sys.version_info.major}.{sys.version_info.minor}"
    if "f-string" in error.msg and sys.version_info < (3, 12):
        return f"{said}; this is Python 3.{sys.version_info.minor}, and some f-strings need 3.12"
    return said


def _message(error: BaseException, frame: FrameType | None, line: int) -> str:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    match error:
        case NameError():
            return said + _suggestion(error, frame)
        case ModuleNotFoundError(name=str(name)):
            top = name.split(".")[0]
            return f"no module named {name!r}; if it is a package, install it: pip install {_PACKAGES.get(top, top)}"
        case SystemExit(code=code):
            return f"the file ends Python while it loads: sys.exit({'' if code is None else repr(code)})"
        case _ if type(error).__name__ in _NO_ZONE:
            name = str(error.args[0]).split()[-1] if error.args and str(error.args[0]).split() else "of this name"
            return f"there is no time zone {name}{nearest(name, zoneinfo.available_timezones())}"
        case KeyError(args=(key,)):
            return _missing_key(key, said, frame, line)
        case AttributeError(name="partial" | "expand" | "as_setup" | "as_teardown"):
            return f"{said}: that is not supported yet"
        case RqflowError():
            return error.message
    return said + next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")


def _missing_key(key: object, said: str, frame: FrameType | None, line: int) -> str:
    """Return what a KeyError means: our own say it all, and the environment is asked for often."""
    if " does not exist; " in str(key):
        return str(key)
    if frame and "environ" in linecache.getline(frame.f_code.co_filename, line):
        return f"the environment variable {key} is not set"
    return said


def _suggestion(error: NameError, frame: FrameType | None) -> str:
    """Return which name may have been meant."""
    if not error.name or frame is None:
        return ""
    if error.name in sys.stdlib_module_names:
        return f"; did you forget to import {error.name}?"
    return nearest(error.name, [*_names(frame), *sys.stdlib_module_names])


def _names(frame: FrameType) -> Iterator[str]:
    yield from frame.f_locals
    yield from frame.f_globals
    yield from vars(builtins)
