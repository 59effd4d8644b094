"""What readers ask of the live state: runs, task instances, pools, workers. Nothing here changes anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

import redis

from rqflow import logs
from rqflow.broker import keys, signed, status, unserved
from rqflow.broker.events import EventStream, is_before
from rqflow.broker.faults import patiently
from rqflow.broker.replies import text
from rqflow.broker.signed import Stored
from rqflow.broker.status import PoolStatus, RunStatus, TaskCell, TaskStatus, WorkerStatus
from rqflow.broker.unserved import Unserved
from rqflow.clock import from_micros
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import RunNotFound, TaskFailed, TaskNotFound
from rqflow.settings import Settings
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.wire import decode

logger = logging.getLogger(__name__)

#: Versions from the history that are kept.
_LEARNED = 64
T = TypeVar("T")
#: Entries of the event stream that a reader of one run looks through.
MOST_UNRECORDED = 20_000


class LiveState:
    """One process' view of the live state; raises redis-py's error when Redis does not answer."""

    def __init__(self, connection: redis.Redis, settings: Settings) -> None:
        """Read over `connection`."""
        self.connection = connection
        self.settings = settings
        # What raises RunNotFound is not kept: it may be there the next time.
        self._runs = lru_cache(maxsize=1024)(partial(self._read, status.run_info, connection))
        self._versions = lru_cache(maxsize=64)(self._read_version)
        #: Called with each version as Redis has it, before anything of it is parsed; what it raises is raised.
        self.gate: Callable[[Stored], object] | None = None
        #: Versions that Redis need not be asked for.
        self._learned: dict[str, Version] = {}

    # ---------------------------------------------------------------- runs

    def run_exists(self, run_key: str) -> bool:
        """Tell whether Redis has this run, committed, finished or not."""
        return bool(self._read(self.connection.hexists, keys.RUN + run_key, "state"))

    def live_runs(self) -> list[str]:
        """Return the keys of the unfinished runs, oldest first."""
        return [text(key) for key in self._read(self.connection.zrange, keys.LIVE, 0, -1)]

    def all_runs(self) -> list[str]:
        """Return the keys of all runs that Redis has: being written, unfinished, and finished ones that are not forgotten yet."""
        return [text(key) for name in (keys.PREPARING, keys.LIVE, keys.DONE)
                for key in self._read(self.connection.zrange, name, 0, -1)]

    def versions_in_use(self) -> set[str]:
        """Return the shas of the versions that runs in Redis need."""
        return self._read(self._versions_in_use)

    def _versions_in_use(self) -> set[str]:
        with self.connection.pipeline(transaction=False) as pipe:
            for key in self.all_runs():
                pipe.hget(keys.RUN + key, "version")
                pipe.smembers(keys.followed_key(key))
            found = pipe.execute()
        return {text(sha) for sha in found[::2] if sha is not None} | {text(sha) for each in found[1::2] for sha in each}

    def unrecorded(self, run: RunStatus) -> list[dict[str, Any]]:
        """Return what happened to a run and may not be in SQL yet, oldest first: its events among the MOST_UNRECORDED oldest ones."""
        if not run.last_event:
            return []
        entries = self._read(EventStream(self.connection).unrecorded, run.last_event, MOST_UNRECORDED)
        return [event for _, events in entries for event in events if isinstance(event, dict) and event.get("run") == run.run_key]

    def expired_runs(self) -> list[str]:
        """Return finished runs that Redis has kept for broker.run_retention and of which every event is in SQL."""
        return self._read(self._expired_runs)

    def _expired_runs(self) -> list[str]:
        seconds, _ = self.connection.time()
        upto = EventStream(self.connection).recorded_upto()
        old = self.connection.zrangebyscore(keys.DONE, "-inf", seconds - self.settings.broker.run_retention.total_seconds(), start=0, num=100)
        last = [(text(key), self.connection.hget(keys.RUN + text(key), "last_event")) for key in old]
        return [key for key, event in last if (event is None or is_before(text(event), upto)) and not self._is_awaited(key)]

    def _is_awaited(self, run_key: str) -> bool:
        """Tell whether an unfinished run may depend on tasks of this one."""
        followers = self.connection.hget(keys.FOLLOWS, run_key)
        return any(self.connection.zscore(keys.LIVE, key) is not None for key in text(followers or b"").split())

    def run_info(self, run_key: str) -> RunInfo | None:
        """Return what the run stands for, or None when Redis has it not, or something that is none. Cached: it never changes."""
        with suppress(RunNotFound):
            try:
                return self._runs(run_key)
            except TaskFailed as error:
                logger.warning("%s", error, extra=logs.context("run_forged", run_key=run_key))
        return None

    def version(self, sha: str) -> Version | None:
        """Return a version of which Redis has a run, else None; None too when what Redis has is none, for the history has it then. Cached."""
        try:
            return self.version_to_run(sha)
        except TaskFailed as error:
            logger.warning("%s", error, extra=logs.context("version_forged", version=sha))
        return None

    def version_to_run(self, sha: str) -> Version | None:
        """Return a version of which Redis has a run, else None. Cached. Raises TaskFailed when what Redis has is none, and what `gate` raises."""
        with suppress(RunNotFound):
            return self._versions(sha)
        return None

    def learn(self, version: Version | None) -> Version | None:
        """Take a version from the history, where Redis has none that can be read; returns it."""
        if version is not None:
            while len(self._learned) >= _LEARNED:
                self._learned.pop(next(iter(self._learned)))
            self._learned[version.sha] = version
        return version

    def stored_version(self, sha: str) -> Stored:
        """Return a version of which Redis has a run as it lies there. Raises RunNotFound, and TaskFailed for one that is too large to be one."""
        return self._read(signed.of_run, self.connection, sha)

    def _read_version(self, sha: str) -> Version:
        if sha in self._learned:
            return self._learned[sha]
        stored = self.stored_version(sha)
        if self.gate:
            self.gate(stored)
        return stored.parse()

    def _version_of(self, run_key: str) -> Version:
        return self._versions(self._runs(run_key).version)

    def _index(self, run_key: str, task_id: str) -> int:
        version = self._version_of(run_key)
        if task_id not in version.by_id:
            raise TaskNotFound(f"{version.dag_id} has no task {task_id}")
        return version.by_id[task_id].index

    def place_of_job(self, run_key: str, job_id: str) -> int:
        """Return the place of the task of a job in its run, without a look at the run's version; raises TaskNotFound."""
        for place, record in self._read(self.connection.hgetall, keys.task_key(run_key)).items():
            if decode(record).get("j") == job_id:
                return int(place)
        raise TaskNotFound(f"the run has no job {job_id}")

    def run_status(self, run_key: str) -> RunStatus | None:
        """Return how the run stands, or None when Redis has it not."""
        return self._read(status.run_status, self.connection, run_key)

    def run_statuses(self, run_keys: Iterable[str]) -> dict[str, RunStatus]:
        """Return {run key: how the run stands} of those of these runs that Redis has."""
        return self._read(status.run_statuses, self.connection, list(run_keys))

    def task_cells(self, run_keys: Iterable[str]) -> dict[str, dict[int, TaskCell]]:
        """Return {run key: {index of task: how it stands}} of these runs."""
        return self._read(status.task_cells, self.connection, list(run_keys))

    def recorded_upto(self) -> str:
        """Return the id of the event stream below which everything is in SQL."""
        return self._read(EventStream(self.connection).recorded_upto)

    def is_finished(self, run_key: str) -> bool:
        """Tell whether the run has ended, or is gone from Redis."""
        state = self._read(self.connection.hget, keys.RUN + run_key, "state")
        return state is None or RunState(text(state)) in TERMINAL_RUN_STATES

    def task_statuses(self, run_key: str, indices: Iterable[int] | None = None) -> list[TaskStatus]:
        """Return how the task instances of a run stand; raises RunNotFound."""
        return self._read(status.task_statuses, self.connection, run_key, self._version_of(run_key), indices)




    def workers(self) -> list[WorkerStatus]:
        """Return the live workers."""
        return self._read(status.workers, self.connection)

    def awaited(self, worker: str, execution_id: str) -> str:
        """Return what a try that a worker holds waits for from the hub, in words; empty for nothing, or where nobody says so."""
        said = self._read(self.connection.hget, keys.RQ_WORKER + worker, "awaits")
        return str(decode(said).get(execution_id, "")) if said else ""

    def is_suspended(self) -> bool:
        """Tell whether `rq suspend` keeps workers from claiming."""
        return bool(self._read(self.connection.exists, keys.RQ_SUSPENDED))

    def ready_before(self, run_key: str, index: int, queue: str) -> int:
        """Return how many tasks are ready on a queue before this one; 0 when it is not ready there."""
        return self._read(status.ready_before, self.connection, run_key, index, queue)

    def unserved(self) -> list[Unserved]:
        """Return the queues with waiting tasks that no live worker serves, as the leader saw them last."""
        return self._read(unserved.standing, self.connection)

    def now(self) -> datetime:
        """Return Redis' time, by which leases and order go."""
        seconds, micros = self._read(self.connection.time)
        return from_micros(seconds * 1_000_000 + micros)

    def pools(self) -> dict[str, PoolStatus]:
        """Return the pools by name."""
        return self._read(status.pools, self.connection)

    def forget_cached(self) -> None:
        """Read again from Redis what its runs stand for: one was removed, and another may get its key."""
        self._runs.cache_clear()

    def _read(self, ask: Callable[..., T], *args: Any) -> T:
        """Call `ask`, which changes nothing, again over a broken link; raises redis-py's error when Redis does not answer."""
        return patiently(self.connection, ask, *args)
