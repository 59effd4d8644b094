"""Runs as they go on, and logs as they grow: at the hub of this home, or at one elsewhere, which is asked about once a second."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from rqflow import clock
from rqflow.actions import follow, logs, query
from rqflow.actions.follow import Deadline, Snapshot
from rqflow.actions.loglines import Stamp
from rqflow.actions.model import Run, TaskInstance
from rqflow.api.logs import MOST, TASKS, LastLines, LogPart, ReadLog, last_lines, read_log
from rqflow.api.runs import OneRun, get_run, head_run
from rqflow.broker.faults import refusal
from rqflow.broker.lock import has_leader
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.definitions import of_run
from rqflow.cli.hub import Ask, asking
from rqflow.dag.version import Version
from rqflow.deploy import background
from rqflow.deploy.background import Started
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import NotFound, ServiceUnreachable
from rqflow.states import TERMINAL_STATES, RunState, TaskState

T = TypeVar("T")

#: Seconds between two looks at a hub elsewhere, at least; times as long as a look takes, so that a big run does not keep it busy.
EVERY, REST = 1.0, 4.0


class Observer(Protocol):
    """Shows runs and their logs."""

    def run(self, name: str) -> Run:
        """Return the run that a RUN argument names, with its tasks; raises RunNotFound."""

    def version(self, run: Run) -> Version:
        """Return the version that it runs."""

    def snapshots(self, run: Run, version: Version, *, timeout: timedelta | None) -> Iterator[Snapshot]:
        """Yield it again and again, the last time when it has ended. Raises TimedOut."""

    def ended(self, run_key: str) -> Run:
        """Return a run that has ended, with all that is known of it."""

    def wait(self, run_keys: Sequence[str], *, timeout: timedelta | None, until_any: bool) -> dict[str, RunState]:
        """Wait until all of them, or one, have ended; return the states of those. Raises TimedOut."""

    def read(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log; raises NotFound when there is none."""

    def follow(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log as they come, until the try has ended."""

    def follow_run(self, run: Run, names: Collection[str]) -> Iterator[tuple[TaskInstance, bytes]]:
        """Yield what these tasks print as it comes, until the run has ended."""

    def stamp(self, run: Run, task_id: str, try_number: int) -> Stamp:
        """Return what says when each byte of a log came, of those that were read."""

    def tail(self, run: Run, task: TaskInstance, size: int) -> bytes:
        """Return the last bytes of the log of a task's current try; nothing when there is none."""

    def last_line(self, run: Run, task: TaskInstance) -> str:
        """Return its last line; empty: there is none."""

    def held_back(self, run: Run, task_id: str, try_number: int) -> str:
        """Return in words why the rest of a log is not there; empty: it is."""

    def refusal(self) -> str:
        """Return why Redis takes no writes; empty: it does."""

    def served(self) -> set[str] | None:
        """Return the queues that workers serve; None: nobody knows."""

    def has_scheduler(self) -> bool:
        """Tell whether a scheduler runs, or is on its way."""


@contextmanager
def observing(app: App) -> Iterator[Observer]:
    """Give what shows runs and logs of the hub that is meant."""
    if app.server:
        with asking(app) as ask:
            yield Away(ask)
        return
    with open_services(app.settings) as services:
        yield Here(services)


@dataclass(frozen=True, slots=True)
class Here:
    """The hub of this home; `started` are processes that were started for it."""

    services: Services
    started: Sequence[Started] = ()

    def run(self, name: str) -> Run:
        """Return the run that a RUN argument names."""
        return query.named(self.services.broker, self.services.engine, name)

    def version(self, run: Run) -> Version:
        """Return the version that it runs."""
        return query.version_of(self.services.broker, self.services.engine, run)

    def snapshots(self, run: Run, version: Version, *, timeout: timedelta | None) -> Iterator[Snapshot]:
        """Yield it ten times a second."""
        return follow.snapshots(self.services.broker, self.services.engine, run.run_key, version, timeout=timeout)

    def ended(self, run_key: str) -> Run:
        """Return a run that has ended."""
        return follow.recorded(self.services.broker, self.services.engine, run_key)

    def wait(self, run_keys: Sequence[str], *, timeout: timedelta | None, until_any: bool) -> dict[str, RunState]:
        """Wait for ends."""
        return follow.wait(self.services.broker, self.services.engine, run_keys, timeout=timeout, until_any=until_any)

    def read(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log."""
        return logs.read(self.services.settings, run, task_id, try_number)

    def follow(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log as they come."""
        return logs.follow(self.services.broker, self.services.engine, self.services.settings, run, task_id, try_number)

    def follow_run(self, run: Run, names: Collection[str]) -> Iterator[tuple[TaskInstance, bytes]]:
        """Yield what tasks print as it comes."""
        return logs.follow_run(self.services.broker, self.services.engine, self.services.settings, run, names)

    def stamp(self, run: Run, task_id: str, try_number: int) -> Stamp:
        """Return what says when each byte came."""
        return logs.stamp(self.services.settings, run, task_id, try_number)

    def tail(self, run: Run, task: TaskInstance, size: int) -> bytes:
        """Return the last bytes of a log."""
        return logs.tail(self.services.settings, run, task, size)

    def last_line(self, run: Run, task: TaskInstance) -> str:
        """Return the last line of a log."""
        return logs.last_line(self.services.settings, run, task.task_id, task.try_number) if task.try_number else ""

    def held_back(self, run: Run, task_id: str, try_number: int) -> str:
        """Return why the rest of a log is not there."""
        return logs.held_back(self.services.broker, self.services.settings, run, task_id, try_number)

    def refusal(self) -> str:
        """Return why Redis takes no writes."""
        return refusal(self.services.connection)

    def served(self) -> set[str]:
        """Return the queues that workers serve, or one that is on its way."""
        coming = any(one.name == background.WORKER and one.is_running() for one in self.started)
        own = {queue.strip() for queue in self.services.settings.worker.queues.split(",")} if coming else set()
        return own | {queue for worker in background.live_workers(self.services) for queue in worker.queues}

    def has_scheduler(self) -> bool:
        """Tell whether one runs; on the embedded default one is started."""
        return self.services.is_embedded or has_leader(self.services.connection)


@dataclass(slots=True)
class Away:
    """A hub elsewhere."""

    ask: Ask
    #: When the parts of the logs came that were read: {(task, try): (offsets, moments)}.
    _moments: dict[tuple[str, int], tuple[list[int], list[datetime]]] = field(default_factory=dict)
    _held: dict[tuple[str, int], str] = field(default_factory=dict)
    #: The tasks as they were at the last look, whether their last lines are wanted anew, the lines by (task, try), and which change no more.
    _shown: tuple[TaskInstance, ...] = ()
    _wants_lines: bool = False
    _lines: dict[tuple[str, int], str] = field(default_factory=dict)
    _final: set[tuple[str, int]] = field(default_factory=set)
    _lost: bool = False

    def run(self, name: str) -> Run:
        """Return the run that a RUN argument names."""
        return self.ask(get_run, OneRun(run=name))

    def version(self, run: Run) -> Version:
        """Return the version that it runs."""
        return of_run(self.ask, run.run_key)[0]

    def snapshots(self, run: Run, version: Version, *, timeout: timedelta | None) -> Iterator[Snapshot]:  # noqa: ARG002 - which the hub knows
        """Yield it once a second."""
        deadline = Deadline(timeout)
        while True:
            began = clock.monotonic()
            now = self._patiently(run.run_key)
            if now is not None:
                is_new, self._shown, self._wants_lines = now.tasks != self._shown, now.tasks, True
                yield Snapshot(state=now.state, tasks=now.tasks, is_new=is_new)
                if now.is_finished:
                    return
            deadline.check("the run")
            deadline.sleep(max(EVERY, (clock.monotonic() - began) * REST))

    def _patiently(self, run_key: str, *, head: bool = False) -> Run | None:
        """Return a run; None while nobody answers, which is said once."""
        return self._unless_away(lambda: self.ask(head_run if head else get_run, OneRun(run=run_key)))

    def _next_part(self, run: Run, task_id: str, try_number: int, start: int) -> tuple[LogPart, bytes] | None:
        """Return a part of a log that grows; None, after a while, while nobody answers."""
        found = self._unless_away(lambda: self._part(run, task_id, try_number, start, follow=True))
        if found is None:
            clock.sleep(EVERY)
        return found

    def _unless_away(self, look: Callable[[], T]) -> T | None:
        try:
            found = look()
        except ServiceUnreachable as error:
            if not self._lost:
                output.problem(f"warning: {error.message}; it is asked again until it does")
            self._lost = True
            return None
        if self._lost:
            output.problem("it answers again")
        self._lost = False
        return found

    def ended(self, run_key: str) -> Run:
        """Return a run that has ended."""
        return self.run(run_key)

    def wait(self, run_keys: Sequence[str], *, timeout: timedelta | None, until_any: bool) -> dict[str, RunState]:
        """Wait for ends."""
        deadline = Deadline(timeout)
        ended: dict[str, RunState] = {}
        while True:
            for run_key in dict.fromkeys(run_keys):
                now = self._patiently(run_key, head=True) if run_key not in ended else None
                if now is not None and now.is_finished:
                    ended[run_key] = now.state
            if len(ended) == len(set(run_keys)) or (ended and until_any):
                return ended
            deadline.check("what was waited for")
            deadline.sleep(EVERY)

    def _part(self, run: Run, task_id: str, try_number: int, start: int, *, follow: bool, limit: int = MOST) -> tuple[LogPart, bytes]:
        asked = ReadLog(run=run.run_key, task_id=task_id, try_number=try_number, start=start, limit=limit, follow=follow, base64=True)
        found = self.ask(read_log, asked)
        offsets, moments = self._moments.setdefault((task_id, try_number), ([], []))
        for one in found.times:
            if not offsets or one.offset > offsets[-1]:
                offsets.append(one.offset)
                moments.append(one.at)
        self._held[task_id, try_number] = found.held_back
        return found, base64.b64decode(found.content)

    def read(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log."""
        at = 0
        while True:
            found, data = self._part(run, task_id, try_number, at, follow=at > 0)
            if data:
                yield data
            at = found.end
            if at >= found.size or not data:
                return

    def follow(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log as they come."""
        at = 0
        while True:
            part = self._next_part(run, task_id, try_number, at)
            if part is None:
                continue
            found, data = part
            if data:
                yield data
            at = found.end
            if found.is_over:
                return
            if at >= found.size:
                clock.sleep(EVERY)

    def follow_run(self, run: Run, names: Collection[str]) -> Iterator[tuple[TaskInstance, bytes]]:
        """Yield what tasks print as it comes."""
        seen: dict[tuple[str, int], int] = {}
        over: set[tuple[str, int]] = set()
        while True:
            for task in run.tasks:
                key = task.task_id, task.try_number
                while task.task_id in names and task.tries and key not in over:
                    part = self._next_part(run, *key, seen.get(key, 0))
                    if part is None:
                        continue
                    found, data = part
                    if data:
                        yield task, data
                    seen[key] = found.end
                    if found.is_over:
                        over.add(key)
                    if found.end >= found.size:
                        break
            if run.is_finished and over.issuperset(seen):
                return
            clock.sleep(EVERY)
            run = self._patiently(run.run_key) or run

    def stamp(self, run: Run, task_id: str, try_number: int) -> Stamp:  # noqa: ARG002 - of the log that is read
        """Return what says when each byte came."""
        offsets, moments = self._moments.setdefault((task_id, try_number), ([], []))
        return lambda offset: moments[max(bisect_right(offsets, offset) - 1, 0)] if moments else None

    def tail(self, run: Run, task: TaskInstance, size: int) -> bytes:
        """Return the last bytes of a log."""
        try:
            return self._part(run, task.task_id, task.try_number, -size, follow=False, limit=size)[1] if task.try_number else b""
        except NotFound:
            return b""

    def last_line(self, run: Run, task: TaskInstance) -> str:
        """Return the last line of a log, as it was at the last look: those of all tasks are asked for at once, when one is first wanted after it."""
        if self._wants_lines:
            self._wants_lines = False
            self._learn_lines(run)
        return self._lines.get((task.task_id, task.try_number), "")

    def _learn_lines(self, run: Run) -> None:
        """Ask for the last lines of tasks that run, and of those that have ended since; of a hub that does not tell them, for none."""
        begun = [one for one in self._shown if one.try_number and (one.state is TaskState.RUNNING or one.state in TERMINAL_STATES)]
        wanted = [one for one in begun if (one.task_id, one.try_number) not in self._final][:TASKS]
        if not wanted:
            return
        asked = LastLines(run=run.run_key, task_id=[one.task_id for one in wanted], try_number=[one.try_number for one in wanted])
        with suppress(NotFound, ServiceUnreachable):  # a hub of an older release, or one that `snapshots` waits for
            found = self.ask(last_lines, asked)
            self._lines |= {(one.task_id, one.try_number): found.get(one.task_id, "") for one in wanted}
            self._final |= {(one.task_id, one.try_number) for one in wanted if one.state in TERMINAL_STATES and found.get(one.task_id)}

    def held_back(self, run: Run, task_id: str, try_number: int) -> str:  # noqa: ARG002 - of the log that was read
        """Return why the rest of a log is not there."""
        return self._held.get((task_id, try_number), "")

    def refusal(self) -> str:
        """Return nothing: its page says so."""
        return ""

    def served(self) -> set[str] | None:
        """Return None: nobody knows here."""
        return None

    def has_scheduler(self) -> bool:
        """Return True: its page says when none does."""
        return True
