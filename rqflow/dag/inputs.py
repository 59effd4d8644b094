"""What the result of loading a DAG file depends on, so that it is executed again when that has changed and only then.

Each file is known by its path below the folder of DAGs (an absolute one when it lies beside a linked file), with the sha256 of its bytes; a
folder whose names were listed ends with `/`. None stands for what was not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rqflow.dag import outside
from rqflow.exceptions import RqflowError

#: A larger file is known by its size and the time of its last change.
LARGE = 64 << 20
_CHUNK = 1 << 20
#: Names that come and go in a folder and mean nothing to who lists it.
_PASSING = (".pyc", ".pyo", "~", ".swp")

#: What tells at once that a file was not touched: times of change of content and inode, size, inode.
Stat = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that one load depended on."""

    files: Mapping[str, str | None] = field(default_factory=dict)
    #: Variables that were asked for, with the sha256 of their values.
    variables: Mapping[str, str | None] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The hex sha256 of all of it: equal for equal inputs."""
        return _sha(json.dumps(self.to_plain(), sort_keys=True).encode())

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"files": dict(self.files), "variables": dict(self.variables)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Inputs:
        """Return what `to_plain` was made from."""
        return cls(files=dict(plain.get("files", {})), variables=dict(plain.get("variables", {})))

    def has_other_variables(self) -> bool:
        """Tell whether a Variable has another value now, as far as this process sees them."""
        return any(variable(name) != known for name, known in self.variables.items())


def of(root: Path, paths: Iterable[str], names: Iterable[str]) -> Inputs:
    """Return these absolute paths (folders with a `/` at their end) and Variables as they are now."""
    files = {key_of(root, path): fingerprint(path) for path in sorted(set(paths))}
    return Inputs(files=files, variables={name: variable(name) for name in sorted(set(names))})


def key_of(root: Path, path: str) -> str:
    """Return how an absolute path is called among the inputs."""
    if path.rstrip("/") == str(root):
        return "./"
    return path.removeprefix(f"{root}/")


def path_of(root: Path, key: str) -> str:
    """Return the absolute path of an input."""
    return f"{root}/" if key == "./" else key if key.startswith("/") else f"{root}/{key}"


def fingerprint(path: str) -> str | None:
    """Return what tells the content of a file, or the names in a folder (`/` at its end); None when there is none, or it cannot be read."""
    try:
        if path.endswith("/"):
            return _sha("\0".join(sorted(filter(_lasts, os.listdir(path)))).encode(errors="surrogateescape"))  # noqa: PTH208 - names
        found = os.stat(path)  # noqa: PTH116 - asked for thousands of files
        if not stat.S_ISREG(found.st_mode):
            return None
        if found.st_size > LARGE:
            return _sha(f"{found.st_size} {found.st_mtime_ns}".encode())
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()
    except OSError:
        return None


def stat_of(path: str) -> Stat | None:
    """Return what changes when a file or folder does; None when it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def variable(name: str) -> str | None:
    """Return what tells the value of a Variable; None when there is none."""
    try:
        value = outside.variables()[name]
    except (KeyError, RqflowError):  # the latter said to the file what is wrong
        return None
    return _sha(json.dumps([name, value], sort_keys=True, default=str).encode())


def _lasts(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__" and not name.endswith(_PASSING)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
