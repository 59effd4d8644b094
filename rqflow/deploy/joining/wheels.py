"""Wheels of what is installed here, for machines without Internet: made anew from what pip wrote down when it installed them.

A wheel is a zip file of the files that a distribution has below site-packages, with a list of their hashes (packaging.python.org: "Binary
distribution format"). What is compiled runs under the same Python, on the same kind of machine only; its tags say which.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from rqflow.exceptions import ConfigError
from rqflow.worker import program

#: Extras of rqflow that go along where they are installed: the others are for a hub, or for tests.
EXTRAS = frozenset({"airflow", "postgresql"})
#: Files of an installed distribution that say how it came here.
_LEFT_OUT = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s"})
#: Twice as fast as the usual one, for a tenth more bytes.
_LEVEL = 2
_DATE = (1980, 1, 1, 0, 0, 0)
_PURE = "py3-none-any"
_HINT = "Name a folder of wheels with --wheels; `pip wheel rqflow -w DIR` makes one, on a machine with Internet."


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel; `tags` are those of its name, `pyX-abi-platform`."""

    name: str
    data: bytes

    @property
    def is_pure(self) -> bool:
        """Whether it runs under each Python 3."""
        return self.name.endswith(f"-{_PURE}.whl") or self.name.endswith("-py2.py3-none-any.whl")


def of_installed() -> list[Wheel]:
    """Return wheels of rqflow, of all that it needs, and of pip, as they are installed here; raises ConfigError for one that was not by pip."""
    needed = _closure("rqflow")
    return [_of_rqflow(needed.pop("rqflow")), *(_of(one) for _, one in sorted(needed.items())), _pip()]


def of_folder(folder: Path) -> list[Wheel]:
    """Return the wheels in a folder, which must have rqflow's and pip's, or pip must be installed here; raises ConfigError."""
    try:
        found = [Wheel(path.name, path.read_bytes()) for path in sorted(folder.glob("*.whl"))]
    except OSError as error:
        raise ConfigError(f"the folder of wheels {folder} cannot be read: {error.strerror}") from error
    if not any(one.name.startswith("rqflow-") for one in found):
        raise ConfigError(f"the folder {folder} has no wheel of rqflow", hint="`pip wheel rqflow -w DIR` makes them.")
    return found if any(one.name.startswith("pip-") for one in found) else [*found, _pip()]


def version_of(wheels: Iterable[Wheel]) -> str:
    """Return the version of rqflow among these."""
    return next(one.name.split("-")[1] for one in wheels if one.name.startswith("rqflow-"))


def _closure(name: str) -> dict[str, metadata.Distribution]:
    """Return {name: distribution} of one and of all that it needs and that is installed."""
    found: dict[str, metadata.Distribution] = {}
    queue = [name]
    while queue:
        one = _plain(queue.pop())
        if one in found:
            continue
        try:
            found[one] = metadata.distribution(one)
        except metadata.PackageNotFoundError:
            if one == name:
                raise ConfigError(f"{name} is not installed here, but only put on the path", hint=_HINT) from None
            continue  # what this Python, or this system, does not need
        queue += _requirements(found[one], EXTRAS if one == "rqflow" else frozenset())
    return found


def _requirements(distribution: metadata.Distribution, extras: frozenset[str]) -> Iterator[str]:
    for line in distribution.requires or ():
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", line)
        if extra is None or extra[1] in extras:
            match = re.match(r"[A-Za-z0-9][\w.-]*", line)
            if match:
                yield match[0]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_rqflow(distribution: metadata.Distribution) -> Wheel:
    """Return the wheel of the rqflow that runs, however it was installed: an editable one has no list of its files."""
    package = program.INSTALLED / "rqflow"
    files = {f"rqflow/{path.relative_to(package).as_posix()}": path.read_bytes() for path in sorted(package.rglob("*"))
             if path.is_file() and "__pycache__" not in path.parts}
    folder = f"rqflow-{distribution.version}.dist-info"
    files[f"{folder}/METADATA"] = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "").encode()
    files[f"{folder}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    files[f"{folder}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: rqflow\nRoot-Is-Purelib: true\nTag: {_PURE}\n".encode()
    return _wheel("rqflow", distribution.version, [_PURE], files)


def _of(distribution: metadata.Distribution) -> Wheel:
    name, version = distribution.metadata["Name"], distribution.version
    about = distribution.read_text("WHEEL")
    if not distribution.files or about is None:
        raise ConfigError(f"{name} {version} was not installed here by pip, so no wheel can be made of it", hint=_HINT)
    tags = re.findall(r"^Tag: *(\S+)", about, re.MULTILINE)
    scripts = {entry.name for entry in distribution.entry_points if entry.group in {"console_scripts", "gui_scripts"}}
    files: dict[str, bytes] = {}
    stem = f"{_file_name(name)}-{version}"
    for file in distribution.files:
        if file.suffix == ".pyc" or (file.parent.name.endswith(".dist-info") and file.name in _LEFT_OUT):
            continue
        place = _place(file, stem, scripts)
        if place:
            try:
                files[place] = Path(str(distribution.locate_file(file))).read_bytes()
            except OSError as error:
                raise ConfigError(f"{name} {version} is not whole: {error.filename}: {error.strerror}", hint=_HINT) from error
    return _wheel(name, version, tags, files)


def _place(file: PurePosixPath, stem: str, scripts: set[str]) -> str:
    """Return where an installed file is in a wheel; empty for one that is made at the installation."""
    if ".." not in file.parts:
        return file.as_posix()
    below = [part for part in file.parts if part != ".."]
    if below[0] == "bin":
        return "" if below[-1] in scripts else f"{stem}.data/scripts/{below[-1]}"
    return f"{stem}.data/data/{'/'.join(below)}"


def _pip() -> Wheel:
    """Return a wheel of pip: of the one that is installed, of those that come with Python, or with Debian's."""
    try:
        return _of(metadata.distribution("pip"))
    except (metadata.PackageNotFoundError, ConfigError):
        folders = [Path(csv.__file__).parent / "ensurepip" / "_bundled", Path("/usr/share/python-wheels")]
        for path in (path for folder in folders for path in sorted(folder.glob("pip-*.whl"), reverse=True)):
            return Wheel(path.name, path.read_bytes())
    raise ConfigError("there is no pip here that could go along", hint=_HINT)


def _wheel(name: str, version: str, tags: list[str], files: Mapping[str, bytes]) -> Wheel:
    record, buffer = io.StringIO(), io.BytesIO()
    writer = csv.writer(record, lineterminator="\n")
    own = f"{next(file.partition('/')[0] for file in files if '.dist-info/' in file)}/RECORD"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, data in files.items():
            writer.writerow([place, f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}", len(data)])
            _put(archive, place, data)
        writer.writerow([own, "", ""])
        _put(archive, own, record.getvalue().encode())
    return Wheel(f"{_file_name(name)}-{version}-{_compressed(tags)}.whl", buffer.getvalue())


def _put(archive: zipfile.ZipFile, place: str, data: bytes) -> None:
    info = zipfile.ZipInfo(place, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o100755 << 16 if ".data/scripts/" in place or data.startswith(b"\x7fELF") else 0o100644 << 16
    archive.writestr(info, data, compresslevel=_LEVEL)


def _file_name(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name)


def _compressed(tags: list[str]) -> str:
    """Return several tags as the name of a wheel has them: the first parts, the second, the third, each once."""
    return "-".join(".".join(dict.fromkeys(part)) for part in zip(*(tag.split("-") for tag in tags), strict=True))
