"""All that a hub needs to begin again elsewhere, in one archive: history, settings, keys, trust, DAG files, and which logs there are.

The history is read as it was at one moment, while everything goes on; what Redis has is not in it, for a hub makes that anew from the history.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from rqflow import clock
from rqflow.deploy import live, sealed, statedir
from rqflow.deploy.sealed import Writer
from rqflow.security.keyring import KEY_FILE, Keyring
from rqflow.settings import Settings, keys
from rqflow.store import dump, schema
from rqflow.store.engine import Connection
from rqflow.store.engine import reading as reading_database

#: Of the archive's form; a reader refuses a higher one.
FORMAT = 1
#: Names of members: one of its own, or the beginning of many.
CONFIG, KEYS, HOME, NAMED, TABLES, INDEX, DAGS, LOGS = "rqflow.cfg", KEY_FILE, "home/", "named/", "tables/", "logs.jsonl", "dags/", "logs/"
#: Of HOME, beside what settings name: keys of this machine, and the name that it has as a worker.
KEPT = ("keys", "worker.id")
#: Sections whose settings may name files of trust.
_TRUST = ("security", "tunnels", "smtp")
#: A setting that names a person's own private key, which is nobody else's to keep.
_PERSONAL = "signing_key"


@dataclass(kw_only=True)
class Summary:
    """What is in an archive."""

    made_at: datetime
    revision: str
    #: Rows of each table that has some.
    tables: dict[str, int] = field(default_factory=dict)
    #: Files of settings, keys and trust; DAG files; logs that are there, and their bytes.
    files: list[str] = field(default_factory=list)
    dags: int = 0
    logs: int = 0
    log_bytes: int = 0
    #: True: the logs themselves are in it, not only their names.
    has_logs: bool = False
    #: Settings of this process that come from its environment, and are in no file.
    environment: list[str] = field(default_factory=list)


def backup(settings: Settings, file: Path, *, with_logs: bool = False, with_dags: bool = True, replaces: bool = False) -> Summary:
    """Write the archive `file`, mode 0600, whole or not at all; return what is in it.

    Raises StoreError, Conflict (a database of another revision; a file that is there), ConfigError, UsageError or NotWritten.
    """
    machine = statedir.this_machine()
    found = live.resolved(settings, statedir.locate(settings, machine), machine)
    engine = dump.snapshot(found.database.url)
    try:
        schema.check(engine)
        with sealed.writing(file, replaces=replaces) as (writer, manifest), reading_database(engine) as connection:
            made = Summary(made_at=clock.utcnow(), revision=schema.head(), has_logs=with_logs,
                           environment=sorted(origin for origin in settings.origins.values() if origin != str(settings.file)))
            _write_settings(writer, settings, made)
            _write_tables(writer, connection, made)
            _write_logs(writer, Path(found.logs.folder), made)
            if with_dags:
                _write_dags(writer, settings.home / settings.core.dags_folder, made)
            manifest |= {"format": FORMAT, "rqflow": version("rqflow"), "revision": made.revision, "made_at": made.made_at.isoformat(),
                         "host": machine.host, "home": str(settings.home), "tables": made.tables, "has_logs": with_logs}
    finally:
        engine.dispose()
    return made


def named_files(settings: Settings) -> dict[str, Path]:
    """Return {section.key: file} of the settings of trust that name a file which is there."""
    found = {}
    for section, option, kind in keys():
        value = getattr(getattr(settings, section), option.name)
        if section in _TRUST and option.name != _PERSONAL and kind is str and value and not option.metadata.get("secret") and "\n" not in value:
            path = settings.home / Path(value).expanduser()
            if path.is_file() and not os.access(path, os.X_OK):  # a program, such as tunnels.ssh, is nothing to keep
                found[f"{section}.{option.name}"] = path
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """Give the regular files below a folder by their paths there, hidden ones and compiled ones not; links are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path.relative_to(folder)


def _write_settings(writer: Writer, settings: Settings, made: Summary) -> None:
    """Write what HOME has beside DAG files: settings, keys, trust."""
    if settings.file is not None:
        writer.add(CONFIG, settings.file.read_bytes())
        made.files.append(CONFIG)
    if known := Keyring.of(settings).keys:
        writer.add(KEYS, ("\n".join(known.values()) + "\n").encode())
        made.files.append(KEYS)
    for name in KEPT:
        place = settings.home / name
        for path in [place] if place.is_file() else [place / inside for inside in files_below(place)]:
            own = str(path.relative_to(settings.home))
            _write_file(writer, HOME + own, path)
            made.files.append(own)
    for name, path in named_files(settings).items():
        _write_file(writer, NAMED + name, path)
        made.files.append(str(path))


def _write_file(writer: Writer, name: str, path: Path) -> None:
    """Write a file as it is at the moment of its opening."""
    with path.open("rb") as stream:
        seen = os.fstat(stream.fileno())
        writer.stream(name, stream, seen.st_size, mode=stat.S_IMODE(seen.st_mode), modified=seen.st_mtime)


def _write_tables(writer: Writer, connection: Connection, made: Summary) -> None:
    for table in dump.dump(connection):
        rows = 0
        with writer.member(f"{TABLES}{table.name}.jsonl") as out:
            out.write(json.dumps(dict(table.columns)).encode() + b"\n")
            for line in table.lines:
                out.write(line.encode() + b"\n")
                rows += 1
        if rows:
            made.tables[table.name] = rows


def _write_logs(writer: Writer, folder: Path, made: Summary) -> None:
    """Write which logs there are, and, if asked for, the logs; one that grows has in it what it had when it was opened."""
    with writer.member(INDEX) as out:
        for path in files_below(folder):
            try:
                seen = (folder / path).stat()
            except FileNotFoundError:  # it grew too old meanwhile
                continue
            out.write(json.dumps({"path": str(path), "bytes": seen.st_size, "modified": seen.st_mtime}).encode() + b"\n")
            made.logs, made.log_bytes = made.logs + 1, made.log_bytes + seen.st_size
    if made.has_logs:
        for name in (*files_below(folder), *(path.relative_to(folder) for path in folder.glob(".beginnings*"))):
            with suppress(FileNotFoundError):
                _write_file(writer, f"{LOGS}{name}", folder / name)


def _write_dags(writer: Writer, folder: Path, made: Summary) -> None:
    for path in files_below(folder):
        _write_file(writer, f"{DAGS}{path}", folder / path)
        made.dags += 1
