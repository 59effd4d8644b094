"""The folder of DAGs: what is put there is taken over as if somebody had submitted it, when it has changed, and never because time passed.

A look costs a `stat` for each file and for what it reads; bytes are read where that says that something was touched, and a file is executed where the
bytes are others. What a file depends on stands in SQL (store/dag_files.py), so that another process goes on where this one was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from redis.exceptions import RedisError

from rqflow import clock, logs
from rqflow.actions import dag_files as origins
from rqflow.actions import detached, schedule, submit, survey
from rqflow.actions.survey import Report
from rqflow.broker.broker import Broker
from rqflow.dag import folder, loader
from rqflow.dag import inputs as dag_inputs
from rqflow.dag.folder import Found, Walk
from rqflow.dag.inputs import Inputs, Stat
from rqflow.dag.sources import MAX_BYTES
from rqflow.exceptions import BrokerError, DagLoadError, RqflowError, StoreError
from rqflow.settings import Settings
from rqflow.store import dag_files, deletions, events, pools
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction

logger = logging.getLogger(__name__)

#: Seconds after a change in which another one may leave the times of a file as they are.
UNSETTLED = 2.0
#: Seconds after which it is looked anew although files are still to be loaded: one that somebody has just written comes before them.
LOOK_AGAIN = 5.0
_AWAY = (StoreError, BrokerError, RedisError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one file: its DAGs, why it was not taken over, which DAGs start no runs by schedule any more."""

    path: str
    is_present: bool = True
    dag_ids: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    #: What is said of each DAG that was registered, and of those that are gone.
    news: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """What became of it: removed, broken, loaded."""
        return "removed" if not self.is_present else "broken" if self.errors else "loaded"


@dataclass(kw_only=True, slots=True)
class _Known:
    """A file as it was seen last."""

    #: None: it speaks of no DAG.
    record: DagFileRecord | None
    root: Path
    stats: dict[str, Stat | None] = field(default_factory=dict)
    #: False: its bytes are read again at the next look, for it was changed just now.
    is_settled: bool = True
    #: It may have been changed while it was loaded.
    is_suspect: bool = False
    #: DAGs of it that another file makes.
    taken: frozenset[str] = frozenset()
    #: The pools there were when it was refused for them.
    pools: dict[str, int] | None = None


class DagsFolder:
    """The folder as this process knows it."""

    def __init__(self, broker: Broker, engine: Engine, settings: Settings, *, tell: Callable[[Outcome], None] = lambda _: None) -> None:
        """Know nothing yet but what SQL knows: that is read at the first look. `tell` hears at once what became of a file."""
        self._tell = tell
        self._broker, self._engine, self._settings = broker, engine, settings
        self.path = survey.dags_folder(settings)
        self._made_by = origins.loaded_by(settings)
        self._known: dict[str, _Known] = {}
        self._rows: dict[str, DagFileRecord] | None = None
        self._stats: dict[str, Stat | None] = {}
        self._was_bare = True
        #: Files that were refused and may do now.
        self._freed: set[str] = set()
        #: DAGs that were deleted and may come back, because a person said so.
        self._restored: frozenset[str] = frozenset()
        #: Seconds that the last look took, without what was loaded because of it.
        self.took = 0.0
        #: `place: message` of what could not be read at the last look.
        self.problems: tuple[str, ...] = ()

    def step(self, stop: threading.Event, *, prune: bool = False) -> tuple[list[Outcome], bool]:
        """Look, and take over what has changed; return what became of it, and whether more is to be done. With `prune` an empty folder is believed.

        Raises OSError when the folder cannot be read, StoreError, BrokerError or redis-py's errors.
        """
        began = clock.monotonic()
        removed, due = self._look(prune=prune)
        self.took = clock.monotonic() - began
        outcomes = [self._remove(record) for record in removed]
        for number, file in enumerate(due):
            if stop.is_set() or (number and clock.monotonic() - began > LOOK_AGAIN):
                return outcomes, True
            outcome = self._renew(file)
            if outcome:
                outcomes.append(outcome)
                self._tell(outcome)
        return outcomes, False

    def sync(self, *, prune: bool = False, restore: bool = False) -> list[Outcome]:
        """Take over all that has changed, and try broken files again; with `prune` forget the files that were removed. Raises as `step` does.

        With `restore` DAGs that a person deleted come back, which they otherwise do not.
        """
        outcomes, more = list[Outcome](), True
        if restore:
            with reading(self._engine) as connection:
                self._restored = frozenset(deletions.tombstones(connection))
                self._suspect([one.path for one in dag_files.list_all(connection) if self._restored & {*one.dag_ids}])
        while more:
            found, more = self.step(threading.Event(), prune=prune)
            outcomes += found
        if prune:
            run_in_transaction(self._engine, dag_files.forget_removed)
        return outcomes

    def _suspect(self, paths: Collection[str]) -> None:
        """See to it that these files are executed at the next look."""
        for path in paths:
            self._known[path] = _Known(record=None, root=self.path, is_suspect=True)

    def broken(self) -> list[DagFileRecord]:
        """Return the files that are not taken over as they are."""
        with reading(self._engine) as connection:
            return dag_files.broken(connection)

    # ---------------------------------------------------------------- looking

    def _look(self, *, prune: bool) -> tuple[list[DagFileRecord], list[Found]]:
        """Return the files that are gone, and those that may have to be loaded, those that were known before the others."""
        if self._rows is None:
            with reading(self._engine) as connection:
                self._rows = {row.path: row for row in dag_files.list_all(connection)}
        try:
            seen = folder.walk(self.path)
        except FileNotFoundError:
            if self._rows or self._known:
                raise
            return [], []
        self.problems = tuple(seen.problems)
        self._stats = {}
        changed = [file for file in seen.files if self._may_have_changed(file)]
        gone = list(self._gone(seen, prune=prune))
        self._freed = self._unblocked({record.path for record in gone})
        due = [*changed, *(file for file in seen.files if file.key in self._freed and file not in changed)]
        due.sort(key=lambda file: (file.key not in self._known, -(self._stat(str(file.path)) or (0,))[0]))
        return gone, due

    def _gone(self, seen: Walk, *, prune: bool) -> Iterator[DagFileRecord]:
        """Give the files that SQL or this process knows and that are not there any more."""
        records = {**(self._rows or {}), **{key: known.record for key, known in self._known.items() if known.record}}
        here = {file.key for file in seen.files}
        gone = [one for key, one in records.items() if one.is_present and key not in here and not key.startswith(tuple(seen.unreadable))]
        if gone and seen.is_bare and self._was_bare and not prune:
            what = f"there is nothing in this folder, which held {len(gone)} DAG files: is something to be mounted there?"
            self.problems += (f"{self.path}: {what} If it is meant so: rqflow dag sync --prune",)
            return
        self._was_bare = seen.is_bare
        for key in self._known.keys() - here:
            if not key.startswith(tuple(seen.unreadable)):
                del self._known[key]
        yield from gone

    def _stat(self, path: str) -> Stat | None:
        """Return the stat of a path, asked once a look."""
        if path not in self._stats:
            self._stats[path] = dag_inputs.stat_of(path)
        return self._stats[path]

    def _may_have_changed(self, file: Found) -> bool:
        known = self._known.get(file.key)
        if known is None or known.is_suspect:
            return True
        if not known.is_settled or any(self._stat(path) != before for path, before in known.stats.items()):
            return True
        record = known.record
        return record is not None and (Inputs.from_plain(record.inputs).has_other_variables() or self._is_stale(record))

    def _is_stale(self, record: DagFileRecord) -> bool:
        """Tell whether a file is to be executed again for its age."""
        given = self._settings.core.reparse_interval
        names = [name for name in given.queues if record.path.startswith(f"{name.strip('/')}/")]
        after = given.queues[max(names, key=len)] if names else given.default
        return after is not None and clock.utcnow() - record.loaded_at >= after

    def _unblocked(self, gone: Collection[str]) -> set[str]:
        """Return the files that were refused for a DAG of another file that is `gone` now, or makes it no more, or for pools that have changed."""
        taken = {dag_id for known in self._known.values() for dag_id in known.taken}
        waits = [key for key, known in self._known.items() if known.pools is not None]
        if not taken and not waits:
            return set()
        with reading(self._engine) as connection:
            owners = {dag_id for dag_id, path in dag_files.owners(connection, taken).items() if path not in gone}
            now = {pool.name: pool.slots for pool in pools.list_all(connection)}
        freed = {key for key, known in self._known.items() if known.taken and not known.taken & owners}
        return freed | {key for key in waits if self._known[key].pools != now}

    # ---------------------------------------------------------------- loading

    def _renew(self, file: Found) -> Outcome | None:
        """Load a file again if it must be; None when nothing that counts has changed."""
        known = self._known.get(file.key)
        with reading(self._engine) as connection:
            record = dag_files.get(connection, file.key)
        root = folder.root_of(file.path, self.path)
        must = known is not None and (known.is_suspect or file.key in self._freed)
        must = must or (record is not None and self._is_stale(record))
        is_as_loaded = record is not None and record.is_present and record.loaded_by == self._made_by and not (known is None and record.errors)
        if record is not None and is_as_loaded and not must and self._is_same(record, root):
            still = self._remember(file, record, root)
            if known is not None:
                still.taken, still.pools = known.taken, known.pools
            return None
        return self._load(file, record, root)

    def _is_same(self, record: DagFileRecord, root: Path) -> bool:
        """Tell whether all that a file depends on is as it was when it was loaded."""
        known = Inputs.from_plain(record.inputs)
        same = all(dag_inputs.fingerprint(dag_inputs.path_of(root, key)) == value for key, value in known.files.items())
        same = same and not self._is_signed_now(record, root)
        return same and not known.has_other_variables()

    def _is_signed_now(self, record: DagFileRecord, root: Path) -> bool:
        """Tell whether there are signatures beside a file that were not there when it was loaded."""
        beside = f"{self.path / record.path}{survey.SIGNATURES}"
        return dag_inputs.key_of(root, beside) not in Inputs.from_plain(record.inputs).files and dag_inputs.stat_of(beside) is not None

    def _remember(self, file: Found, record: DagFileRecord | None, root: Path, *, since: tuple[float, Stat | None] | None = None) -> _Known:
        """Keep how a file is now; `since` is when its load began, and how it was then."""
        paths = [dag_inputs.path_of(root, key) for key in Inputs.from_plain(record.inputs).files] if record else [str(file.path)]
        stats = {path: dag_inputs.stat_of(path) for path in {*paths, str(file.path), f"{file.path}{survey.SIGNATURES}"}}
        changes = [max(one[0], one[1]) / 1e9 for one in stats.values() if one]
        now = clock.timestamp()
        is_suspect = since is not None and (stats[str(file.path)] != since[1] or any(since[0] <= at <= now for at in changes))
        is_settled = not any(now - UNSETTLED < at <= now for at in changes)
        known = _Known(record=record, root=root, stats=stats, is_settled=is_settled, is_suspect=is_suspect)
        self._known[file.key] = known
        return known

    def _load(self, file: Found, record: DagFileRecord | None, root: Path) -> Outcome | None:
        began = clock.timestamp(), dag_inputs.stat_of(str(file.path))
        try:
            report = self._report(file)
        except FileNotFoundError:
            return None  # gone again: the next look says so
        if report is None and record is None:
            self._remember(file, None, root)
            return None
        report = report or Report(file=file.path, key=file.key, inputs=_itself(file, root), no_dag=True)
        lacks_pool, taken = False, frozenset[str]()
        errors: tuple[str, ...] = () if report.no_dag else (*report.errors, *report.unsupported)
        news: tuple[str, ...] = ()
        gone: tuple[str, ...] = ()
        if not errors:
            try:
                submit.check_pools(self._broker, self._engine, [report])
                news, gone = self._take_over(report)
            except origins.Taken as error:
                taken, errors = frozenset(error.dag_ids), (str(error.message),)
            except DagLoadError as error:
                lacks_pool, errors = True, tuple(error.problems)
            except _AWAY:
                raise
            except Exception as error:
                logger.exception("%s cannot be taken over", file.path, extra=logs.context("dag_file_failed", file=file.key))
                errors = (f"{file.path}:1: it cannot be taken over: {error.message if isinstance(error, RqflowError) else repr(error)}",)
        if errors:
            self._note_errors(file, report, record, root, errors)
        with reading(self._engine) as connection:
            record = dag_files.get(connection, file.key)
            known = self._remember(file, record, root, since=began)
            known.taken = taken
            known.pools = {pool.name: pool.slots for pool in pools.list_all(connection)} if lacks_pool else None
        return Outcome(path=file.key, dag_ids=record.dag_ids if record else (), errors=errors, news=news, gone=gone)

    def _report(self, file: Found) -> Report | None:
        """Execute a file; None for one that speaks of no DAG. Raises FileNotFoundError when it is gone."""
        try:
            size = file.path.stat().st_size
            if size > MAX_BYTES:
                told = f"{file.path}:1: it has {size / 1e6:.1f} MB; a DAG file may have {MAX_BYTES // 1_000_000} MB"
                return Report(file=file.path, key=file.key, errors=(told,))
            if not loader.may_hold_a_dag(file.path):
                return None
        except FileNotFoundError:
            raise
        except OSError as error:
            return Report(file=file.path, key=file.key, errors=(f"{file.path}:1: it cannot be read: {error.strerror}",))
        return survey.one(file.path, self._settings, key=file.key)

    def _take_over(self, report: Report) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Register the DAGs of a file but those that were deleted; return what is said of them, and which DAGs it does not make any more."""
        files, _ = origins.settled(self._engine, [report])
        files, notes = detached.attach(files)
        versions = files[0].versions
        with reading(self._engine) as connection:
            before = dag_files.get(connection, str(report.key))
            buried = deletions.tombstones(connection).keys() - self._restored
        registered = submit.register(
            self._broker, self._engine, [version for version in versions if version.dag_id not in buried], files=files,
            catchup_by_default=self._settings.scheduler.catchup_by_default,
            restores=any(version.dag_id in self._restored for version in versions),
            paused_at_creation=self._settings.core.dags_are_paused_at_creation, holds=True)
        gone = sorted({*(before.dag_ids if before else ())} - {version.dag_id for version in versions})
        schedule.set_alarms(self._broker, self._engine, gone)
        zone = clock.UTC
        news = [f"{submit.describe(one)}; {submit.what_next(self._broker, self._engine, one, zone, by_hand=f'rqflow run start {one.version.dag_id}')}"
                for one in registered]
        news += [moved.words(zone) for one in registered for moved in one.moved]
        news += [f"{version.dag_id}: it was deleted, and stays so; `rqflow dag sync --restore` brings it back" for version in versions
                 if version.dag_id in buried]
        return (*news, *notes), tuple(gone)

    def _note_errors(self, file: Found, report: Report, record: DagFileRecord | None, root: Path, errors: Sequence[str]) -> None:
        """Note why a file was not taken over; its DAGs stay as they were."""
        needed = report.inputs
        if needed is None:  # nobody lived to tell: what it depended on before, and itself
            names = [*(record.inputs.get("files", {}) if record else ()), dag_inputs.key_of(root, str(file.path))]
            needed = dag_inputs.of(root, [dag_inputs.path_of(root, name) for name in names], record.inputs.get("variables", ()) if record else ())
        noted = DagFileRecord(path=file.key, is_present=True, dag_ids=record.dag_ids if record else (), errors=tuple(errors),
                              inputs=needed.to_plain(), loaded_by=self._made_by, loaded_at=clock.utcnow())
        run_in_transaction(self._engine, partial(dag_files.put, record=noted))

    def _remove(self, record: DagFileRecord) -> Outcome:
        """Note that a file is gone; its DAGs start no runs by schedule."""
        now = clock.utcnow()

        def write(connection: Connection) -> list[str]:
            dag_files.put(connection, replace(record, is_present=False, errors=()))
            gone = dag_files.retire(connection, record.path, (), now)
            for dag_id in gone:
                events.add(connection, "file_removed", who="", dag_id=dag_id, file=record.path)
            return gone

        gone = run_in_transaction(self._engine, write)
        schedule.set_alarms(self._broker, self._engine, gone)
        if self._rows:
            self._rows.pop(record.path, None)
        self._known.pop(record.path, None)
        outcome = Outcome(path=record.path, is_present=False, gone=tuple(gone))
        self._tell(outcome)
        return outcome


def _itself(file: Found, root: Path) -> Inputs:
    return dag_inputs.of(root, [str(file.path)], ())


def log(outcome: Outcome) -> None:
    """Tell in the log of the scheduler what became of a file."""
    context = logs.context("dag_file", file=outcome.path)
    for error in outcome.errors:
        logger.warning("%s%s", error, "; its last good version stays" if outcome.dag_ids else "", extra=context)
    for line in outcome.news:
        logger.info("%s: %s", outcome.path, line, extra=context)
    why = "it makes them no more" if outcome.is_present else "the file was removed"
    if outcome.gone:
        logger.warning("%s: %s; no scheduled run starts of %s", outcome.path, why, ", ".join(outcome.gone), extra=context)


def pause_between(took: float, interval: timedelta) -> float:
    """Return the seconds between two looks of which one took so long: a hundredth of the time at most, but one within 20 s."""
    return max(interval.total_seconds(), min(100 * took, 20.0))
