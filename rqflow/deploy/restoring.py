"""A hub that begins again from a backup: on the same database or another kind, in an empty home, or in the place of what is there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from rqflow.broker import wiping
from rqflow.deploy import backup, live, resetting, sealed, shutout
from rqflow.deploy.backup import CONFIG, DAGS, HOME, KEYS, LOGS, NAMED, TABLES, Summary
from rqflow.deploy.sealed import NotWhole, Reader
from rqflow.exceptions import Conflict
from rqflow.recorder import retention
from rqflow.security.keyring import KEY_FILE, SETTING, Keyring, name_of
from rqflow.settings import Settings, load
from rqflow.store import dump, schema, workers
from rqflow.store.dump import TableDump
from rqflow.store.engine import open_engine
from rqflow.store.engine import reading as reading_database

#: Tables that a hub fills by its mere start.
_OWN = frozenset({"epoch", "worker"})
#: Under this name the configuration of the archive is put beside one that is there, and stays.
OTHER_CONFIG = "rqflow.cfg.backup"


@dataclass(kw_only=True)
class Restored:
    """What came of a restore."""

    summary: Summary
    #: URL of the database, which may have a password.
    database: str
    #: What a person is to know or do.
    remarks: list[str] = field(default_factory=list)


def restore(settings: Settings, file: Path, *, by: str, replaces: bool = False) -> Restored:
    """Bring home, database and Redis of `settings` to what the archive has; `replaces` allows that something else is there.

    A configuration file that is there stays, and is in force; else that of the archive is. Raises NotWhole, Conflict (not empty; a newer
    release; something runs), ConfigError, StoreError or BrokerError; unless it is StoreError nothing was changed then.
    """
    with sealed.reading(file) as reader:
        summary = _summary(reader, file)
        small = {member.name: stream.read() for member, stream in reader.members() if member.name in {CONFIG, KEYS}}
        waiting = settings.home / f".{CONFIG}.restoring"
        if settings.file is None and CONFIG in small:
            sealed.place(waiting, io.BytesIO(small[CONFIG]))
            settings = load(home=settings.home, file=waiting)
        try:
            restored = Restored(summary=summary, database="")
            _restore(settings, reader, restored, small, by=by, replaces=replaces)
            if waiting.exists():
                waiting.rename(settings.home / CONFIG)
        finally:
            waiting.unlink(missing_ok=True)
    return restored


def _summary(reader: Reader, file: Path) -> Summary:
    """Return what is in the archive; raises NotWhole or Conflict for one that this release cannot take."""
    said = reader.manifest
    try:
        number, revision = int(said["format"]), str(said["revision"])
        found = Summary(made_at=datetime.fromisoformat(said["made_at"]), revision=revision, tables=dict(said["tables"]),
                        has_logs=bool(said["has_logs"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NotWhole(f"{file} is no backup of rqflow: its manifest lacks {error}") from error
    if number > backup.FORMAT or revision not in schema.revisions():
        raise Conflict(f"{file} was made by a newer release of rqflow, {said.get('rqflow')}: its revision is {revision}, this one knows up to "
                       f"{schema.head()}", hint="Install that release here, and restore with it.")
    return found


def _restore(settings: Settings, reader: Reader, restored: Restored, small: dict[str, bytes], *, by: str, replaces: bool) -> None:
    with live.open_live(settings, client_name="rqflow-restore") as opened:
        found = opened.settings
        restored.database = found.database.url
        engine = open_engine(found.database.url, upgrading=True)
        try:
            schema.refuse_newer(engine)
            _refuse_what_is_there(opened, settings, reader, small, dump.counts(engine), replaces=replaces)
            _restore_keys(settings, small, restored)
            shut_out = shutout.known(engine)
            # What Redis has is of another history, and must not be believed.
            wiping.wipe(opened.broker, resetting.dag_ids(engine), by)
            dump.restore(engine, restored.summary.revision, _tables(reader))
            restored.remarks += shutout.carry_over(engine, shut_out, restored.summary.made_at, by=by)
            with reading_database(engine) as connection:
                there = [worker.name for worker in workers.list_all(connection) if worker.ended_at is None]
            restored.remarks += [f"queues wait for the worker {name}, which was at work when the backup was made. Let it serve this hub, or, when "
                                 f"it is gone for good: rqflow worker forget {name}" for name in there]
        finally:
            engine.dispose()
    if replaces and restored.summary.has_logs:
        retention.remove_all(Path(found.logs.folder))
    _restore_files(settings, Path(found.logs.folder), reader, restored)
    if settings.file is not None and CONFIG in small and settings.file.name == CONFIG and settings.file.read_bytes() != small[CONFIG]:
        sealed.place(settings.home / OTHER_CONFIG, io.BytesIO(small[CONFIG]))
        restored.remarks.append(f"{settings.file} stays as it is; that of the backup is {settings.home / OTHER_CONFIG}")


def _refuse_what_is_there(opened: live.Live, settings: Settings, reader: Reader, small: dict[str, bytes], rows: dict[str, int], *,
                          replaces: bool) -> None:
    """Raise Conflict when something runs, or, unless it is to be replaced, something of a hub is there."""
    if running := resetting.living(opened):
        raise Conflict(f"nothing is restored while something runs: {'; '.join(running[:5])}", hint="Stop workers and schedulers first: rqflow down.")
    there = [f"{count} rows in table {name} of {opened.settings.database.url.split('?')[0].rsplit('@')[-1]}"
             for name, count in rows.items() if name not in _OWN]
    if runs := opened.broker.all_runs():
        there.append(f"{len(list(runs))} runs in Redis")
    key = settings.home / KEY_FILE
    if not settings.security.fernet_key and KEYS in small and key.exists() and key.read_bytes().split() != small[KEYS].split():
        there.append(f"another key in {key}")
    there += [str(path) for path in _differing(settings, reader)]
    if there and not replaces:
        more = f", and {len(there) - 3} more" if len(there) > 3 else ""
        raise Conflict(f"{settings.home} is not empty: {', '.join(there[:3])}{more}",
                       hint="Restore into another home (--home DIR) and another database, or add --force: what is here is then replaced.")


def _differing(settings: Settings, reader: Reader) -> Iterator[Path]:
    """Give the files of keys and DAGs that are there with another content."""
    for member, stream in reader.members():
        path = _target(settings, Path(), member.name)
        if path is not None and not member.name.startswith(LOGS) and path.exists() and path.read_bytes() != stream.read():
            yield path


def _restore_keys(settings: Settings, small: dict[str, bytes], restored: Restored) -> None:
    """Put the Fernet keys where this hub reads them, or see that it has them. A hub without them could open nothing."""
    keys = small.get(KEYS, b"").decode().split()
    if not keys:
        return
    if settings.security.fernet_key:
        missing = {name_of(key) for key in keys} - Keyring.of(settings).keys.keys()
        if missing:
            restored.remarks.append(f"{SETTING} lacks the key {', '.join(sorted(missing))}: what was sealed with it cannot be opened. "
                                    f"The keys of the backup are in its file {KEYS}: add them, separated by commas")
        return
    sealed.place(settings.home / KEY_FILE, io.BytesIO(small[KEYS]))


def _tables(reader: Reader) -> Iterator[TableDump]:
    for member, stream in reader.members(TABLES):
        columns = json.loads(stream.readline())
        yield TableDump(PurePosixPath(member.name).stem, columns, (line.decode() for line in stream))


def _restore_files(settings: Settings, log_folder: Path, reader: Reader, restored: Restored) -> None:
    """Write keys, files of trust, DAG files and logs; a file that cannot be written is a remark, for the others are to come all the same."""
    for member, stream in reader.members():
        path = _target(settings, log_folder, member.name)
        if path is None:
            if member.name.startswith(NAMED):
                restored.remarks.append(f"no setting names a file for {member.name.removeprefix(NAMED)}: it stays in the backup")
            continue
        try:
            sealed.place(path, stream, mode=member.mode & 0o755, modified=member.mtime)
        except OSError as error:
            restored.remarks.append(f"{path} cannot be written: {error.strerror}")
            continue
        if member.name.startswith(DAGS):
            restored.summary.dags += 1
        elif member.name.startswith(LOGS):
            restored.summary.logs, restored.summary.log_bytes = restored.summary.logs + 1, restored.summary.log_bytes + member.size
        else:
            restored.summary.files.append(str(path))


def _target(settings: Settings, log_folder: Path, name: str) -> Path | None:
    """Return where a member's file is to be; None for what is no file of its own, or has no place here."""
    if name.startswith(HOME) and PurePosixPath(name).parts[1] in backup.KEPT:
        return settings.home / name.removeprefix(HOME)
    if name.startswith(DAGS):
        return settings.home / settings.core.dags_folder / name.removeprefix(DAGS)
    if name.startswith(LOGS):
        return log_folder / name.removeprefix(LOGS)
    if name.startswith(NAMED):
        section, _, option = name.removeprefix(NAMED).partition(".")
        value = getattr(getattr(settings, section, None), option, "")
        return settings.home / Path(value).expanduser() if isinstance(value, str) and value else None
    return None


