"""Runs of DAGs and tasks in one go, for trying them out: one task after the other, nothing recorded, no Redis.

What a try is, is not told anew here: the worker's own parts prepare it, a shepherd in a folder of its own runs it, and the worker's own
parts say what its end means. Delays of retries are not waited for; those of sensors are.
"""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from rqflow import clock, settings
from rqflow.actions import describe
from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim, End
from rqflow.broker.mirror import Mirrored
from rqflow.dag.run import RunInfo
from rqflow.dag.trigger_rule import Counts, Decision, decide
from rqflow.dag.version import TaskSpec, Version
from rqflow.deploy import known, statedir
from rqflow.exceptions import TaskFailed
from rqflow.settings import Settings
from rqflow.states import FAILURE_STATES, RunState, TaskState
from rqflow.worker.conclude import Machine, conclude, refuse
from rqflow.worker.environment import of_try, umask
from rqflow.worker.logship import blotted
from rqflow.worker.prepare import OutputsExist, Preparer
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Ended
from rqflow.worker.tries import Try
from rqflow.worker.workdir import WorkDir

#: Seconds between two looks at a growing log.
EVERY = 0.05
#: Seconds between TERM and KILL after Ctrl-C.
KILL_GRACE = 2.0
_DECIDED = {Decision.SKIP: TaskState.SKIPPED, Decision.UPSTREAM_FAILED: TaskState.UPSTREAM_FAILED, Decision.CANCEL: TaskState.CANCELLED}
#: Takes pieces of the log of the task that runs.
Echo = Callable[[bytes], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one task."""

    task_id: str
    state: TaskState
    try_number: int = 0
    max_tries: int = 1
    reason: str = ""
    duration: float | None = None
    exit_code: int | None = None


@dataclass(kw_only=True, slots=True)
class Memory:
    """Stands for the live state: one run, and what its tasks have handed over. Has what a Preparer uses of a Broker."""

    run: RunInfo
    its_version: Version
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    #: What is stored of Variables and Connections.
    outside: Mirrored = field(default_factory=Mirrored)
    #: None: it must be looked up each time.
    outside_generation: str | None = None
    #: Whether only what was signed is run: what is tried out here is one's own.
    verifies: bool = False
    gate: Any = None

    def mirrored(self, known: str | None = None) -> Mirrored | None:
        """Return the stored Variables and Connections, None when they are known."""
        return self.outside if self.outside.generation != known else None

    def run_info(self, run_key: str) -> RunInfo | None:
        """Return the run."""
        return self.run if run_key == self.run.key else None

    def version(self, sha: str) -> Version | None:
        """Return the version."""
        return self.its_version if sha == self.its_version.sha else None

    def version_to_run(self, sha: str) -> Version | None:
        """Return the version."""
        return self.version(sha)

    def xcoms(self, run_key: str, task_ids: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
        """Return the XComs, all of them or those of `task_ids`."""
        wanted = None if task_ids is None or run_key != self.run.key else set(task_ids)
        return {task_id: dict(values) for task_id, values in self.values.items() if wanted is None or task_id in wanted}


class LocalRun:
    """One run in this process and one shepherd."""

    def __init__(self, memory: Memory, work_dir: WorkDir, preparer: Preparer, shepherd: ShepherdClient, echo: Echo) -> None:
        """Put the parts together; `opened` makes them."""
        self.run = memory.run
        self.version = memory.its_version
        self.states: dict[int, TaskState] = {}
        self._memory, self._work_dir, self._preparer, self._shepherd, self._echo = memory, work_dir, preparer, shepherd, echo
        self._told_to_skip: set[int] = set()
        self._machine = Machine(statedir.this_machine().host, "")

    def all_tasks(self, only: Iterable[int] | None = None) -> Iterator[Result]:
        """Run the tasks in topological order, or those of `only` whatever the others are; yield the result of each."""
        chosen = None if only is None else set(only)
        for task in self.version.tasks:
            if chosen is not None:
                if task.index in chosen:
                    yield self._tries(task)
                continue
            decided = self._decide(task)
            if decided is Decision.RUN:
                yield self._tries(task)
            else:
                self.states[task.index] = _DECIDED.get(decided, TaskState.SKIPPED)
                yield Result(task_id=task.task_id, state=self.states[task.index])

    def state(self) -> RunState:
        """Return how the run ended: failed when a leaf did."""
        leaves = [self.states[task.index] for task in self.version.tasks if task.index in self.states and not task.downstream]
        failed = any(state in FAILURE_STATES for state in leaves or self.states.values())
        return RunState.FAILED if failed else RunState.SUCCESS

    def one_try(self, task: TaskSpec, try_number: int = 1) -> Result:
        """Run one try of a task; raises KeyboardInterrupt after its processes are gone."""
        claim = _claim(self.run, task, try_number)
        began = clock.monotonic()
        while True:
            held = Try(claim=claim, folder=self._work_dir.take(), log=self._work_dir.take_log())
            self._preparer.recall(held)
            told = self._end(held)
            self._memory.values.setdefault(task.task_id, {}).update(told.xcoms)
            if told.state is not TaskState.UP_FOR_RESCHEDULE:
                break
            clock.sleep(told.retry_in)
            claim = replace(claim, execution_id=uuid4().hex, waited=clock.monotonic() - began, looks=claim.looks + 1)
        self._told_to_skip.update(told.skip)
        return Result(task_id=task.task_id, state=told.state, try_number=try_number, max_tries=claim.max_tries, reason=told.reason,
                      duration=clock.monotonic() - began, exit_code=told.facts.get("exit_code"))

    def _decide(self, task: TaskSpec) -> Decision:
        if task.index in self._told_to_skip:
            return Decision.SKIP
        ended = Counter(self.states[index] for index in task.upstream)
        return decide(task.trigger_rule, Counts(
            total=len(task.upstream), success=ended[TaskState.SUCCESS], failed=ended[TaskState.FAILED] + ended[TaskState.LOST],
            upstream_failed=ended[TaskState.UPSTREAM_FAILED], skipped=ended[TaskState.SKIPPED], cancelled=ended[TaskState.CANCELLED]))

    def _tries(self, task: TaskSpec) -> Result:
        """Run a task until it succeeds or has no try left."""
        if task.operator == "empty" and not task.needs_source:
            self.states[task.index] = TaskState.SUCCESS
            return Result(task_id=task.task_id, state=TaskState.SUCCESS)
        number = 1
        result = self.one_try(task, number)
        while result.state is TaskState.UP_FOR_RETRY:
            number += 1
            result = self.one_try(task, number)
        self.states[task.index] = result.state
        return result

    def _end(self, held: Try) -> End:
        """Run a try, handing on its log, and return what a worker would tell of its end."""
        try:
            request = self._preparer.request(held)
        except (OutputsExist, TaskFailed, OSError) as error:
            told = refuse(held, error, self._machine)
            self._hand_on(held.log, 0)
            return told
        self._shepherd.start(request)
        self._shepherd.flush()
        ended, at, interrupted = self._wait(held)
        told = conclude(held, ended, self._machine)
        self._hand_on(held.log, at)
        self._shepherd.accepted([held.id])
        self._shepherd.forget([held.id])
        self._shepherd.flush()
        if interrupted:
            raise KeyboardInterrupt
        return told

    def _wait(self, held: Try) -> tuple[Ended, int, bool]:
        """Hand on the log as it grows until the try has ended, and say how far that got. Ctrl-C ends the try, which is told too."""
        at, interrupted = 0, False
        while True:
            try:
                ready, _, _ = select.select([self._shepherd], [], [], EVERY)
                ends = [end for end in (self._shepherd.receive() if ready else []) if end.id == held.id]
                at += self._hand_on(held.log, at, grows=True)
                if ends:
                    return ends[0], at, interrupted
            except KeyboardInterrupt:
                interrupted = True
                self._shepherd.kill(held.id, "cancelled", KILL_GRACE)
                self._shepherd.flush()

    def _hand_on(self, log: str, at: int, *, grows: bool = False) -> int:
        try:
            with Path(log).open("rb") as stream:
                stream.seek(at)
                data = stream.read()
        except FileNotFoundError:
            return 0
        if data and (masker := self._preparer.confided.masker(log)):
            data = blotted(log, at, len(data), masker, grows=grows)
        if data:
            self._echo(data)
        return len(data)


@contextmanager
def opened(run: RunInfo, version: Version, given: Settings, folder: Path, *, echo: Echo) -> Iterator[LocalRun]:
    """Give a run that works in `folder`, whose tasks inherit this process' environment. Raises Conflict when `folder` is in use."""
    memory = Memory(run=run, its_version=version, outside=known.mirrored(given))
    work_dir = WorkDir(folder)
    work_dir.hold()
    environ = settings.environment()
    # What a Preparer calls is all that Memory has of a Broker.
    # No hub is asked: what is tried out starts no other run.
    alone = replace(given, redis=replace(given.redis, url=""))
    preparer = Preparer(cast(Broker, memory), alone, work_dir, environ)
    shepherd = ShepherdClient(work_dir.path, env=environ, linger=0.0)
    try:
        shepherd.connect()
        shepherd.environment(preparer.inherited, umask())
        yield LocalRun(memory, work_dir, preparer, shepherd, echo)
    finally:
        shepherd.close()
        work_dir.release()


def surroundings(version: Version, task: TaskSpec, run: RunInfo, try_number: int) -> dict[str, str]:
    """Return the variables that a try gets besides those of its worker; raises TemplateError when its own cannot be rendered."""
    return describe.environment(version, task, run) | of_try(_claim(run, task, try_number), run)


def _claim(run: RunInfo, task: TaskSpec, try_number: int) -> Claim:
    return Claim(run_key=run.key, index=task.index, task_id=task.task_id, try_number=try_number, execution_id=uuid4().hex, job_id=task.task_id,
                 queue=task.queue, version=run.version, started_at=0, max_tries=task.retries + 1)
