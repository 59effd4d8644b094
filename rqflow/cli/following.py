"""Following the runs that `submit` has started: the table, who is missing, the summary, the exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

from rqflow import clock
from rqflow.actions import follow
from rqflow.actions import submit as action
from rqflow.actions.follow import Snapshot
from rqflow.actions.model import Run, TaskInstance
from rqflow.broker.faults import LINK_ERRORS
from rqflow.cli import show
from rqflow.cli.app import App
from rqflow.cli.observing import Observer, observing
from rqflow.cli.output import Printer, duration, note, problem
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy.background import Started
from rqflow.exceptions import NotFinished
from rqflow.states import FAILURE_STATES

#: Seconds for which a run may wait on queues that nobody serves before following it ends.
STALL_PATIENCE = 5.0
#: Seconds between two looks whether Redis takes writes.
LOOK_EVERY = 2.0
#: Failed tasks whose log is shown in the summary, and bytes of each.
TAILS, TAIL_BYTES = 3, 2000


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it ends the watching alone, as Ctrl-C does."""

    #: Which signal comes again when this one was lost (runtime.heeding_interrupts).
    number = signal.SIGTERM


def detach(stop: KeyboardInterrupt, runs: Sequence[RunInfo | Run]) -> int:
    """Say how to go on with the runs that have been started when somebody stops watching; return the exit code."""
    if runs:
        note(f"\nNo longer watching; the run{'s go' if len(runs) > 1 else ' goes'} on.")
    for run in runs:
        note(f"  wait for it:  rqflow run wait {run.run_id}\n  cancel it:    rqflow run cancel {run.run_id}")
    return 143 if isinstance(stop, Terminated) else 130


def watch_known(app: App, printer: Printer, name: str, timeout: timedelta | None) -> int:
    """Watch a run that was started before; return the exit code. Raises RunNotFound."""
    with observing(app) as observer:
        run = observer.run(name)
        try:
            with terminable():
                return Follower(observer=observer, printer=printer, timeout=timeout).watch(run, observer.version(run))
        except KeyboardInterrupt as stop:
            return detach(stop, [run])


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the block when SIGTERM arrives."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Follower:
    """Watches runs for one person."""

    observer: Observer
    printer: Printer
    timeout: timedelta | None
    #: Processes that were started here for what is watched.
    started: Sequence[Started] = ()

    def announce(self, runs: Sequence[tuple[RunInfo, Version]]) -> int:
        """Say that the runs have started, and what they wait for; return the exit code."""
        for run, version in runs:
            if self.printer.format != "table":
                self.printer.record({name: getattr(run, name) for name in show.ANNOUNCED}, name="run_id")
            self._missing(version)
            note(f"run {run.run_id} of {run.dag_id} started")
        return 0

    def follow(self, runs: Sequence[tuple[RunInfo, Version]]) -> int:
        """Watch the runs one after the other; return 0 when all were a success, 1 when not."""
        code = 0
        for run, version in runs:
            self._missing(version)
            note(f"run {run.run_id} of {run.dag_id} started")
            code = max(code, self.watch(self.observer.run(run.key), version))
        return code

    def watch(self, run: Run, version: Version) -> int:
        """Watch one run until its end; return 0 when it was a success, 1 when not."""
        snapshots = self.observer.snapshots(run, version, timeout=self.timeout)
        from rqflow.cli import live  # here: takes as long as the first task waits for its worker, which has begun by now

        def last_line(task: TaskInstance) -> str:
            return self.observer.last_line(run, task)

        live.watch(self._unless_stalled(run, self._with_refusals(snapshots)), self.printer, run.run_id, last_line)
        ended = self.observer.ended(run.run_key)
        self._summary(ended)
        return show.exit_code(ended.state)

    def _summary(self, ended: Run) -> None:
        """Print the result; of the first tasks that failed the end of their logs too."""
        if self.printer.format == "table" and not self.printer.fields:
            self.printer.records([show.task_row(task) for task in ended.tasks], show.TASK_COLUMNS)
        else:
            show.run(self.printer, ended)
        failed = [task for task in ended.tasks if task.state in FAILURE_STATES and task.tries]
        for task in failed[:TAILS]:
            self._tail(ended, task)
        note(f"run {ended.run_id} of {ended.dag_id}: {ended.state.value} in {duration(ended.duration)}")

    def _tail(self, ended: Run, task: TaskInstance) -> None:
        tail = self.observer.tail(ended, task, TAIL_BYTES) if self.printer.shows_parts else b""
        if tail:
            problem(f"==> end of the log of {task.task_id}, try {task.try_number} <==\n{tail.decode('utf-8', 'replace')}")

    def _with_refusals(self, snapshots: Iterator[Snapshot]) -> Iterator[Snapshot]:
        """Pass the snapshots on; say when Redis takes no writes, for then neither hub nor workers get on."""
        told, looked_at = "", 0.0
        for snapshot in snapshots:
            yield snapshot
            if clock.monotonic() - looked_at >= LOOK_EVERY:
                looked_at = clock.monotonic()
                refused = self.observer.refusal()
                if refused and refused != told:
                    problem(f"warning: the run goes on when Redis takes writes again, and it says: {refused}")
                told = refused

    def _unless_stalled(self, run: Run, snapshots: Iterator[Snapshot]) -> Iterator[Snapshot]:
        """Pass the snapshots on; raise NotFinished when the run has waited for a while on queues that nobody serves."""
        since: float | None = None
        for snapshot in snapshots:
            yield snapshot
            try:
                stuck = follow.stall(snapshot, self._is_served)
            except LINK_ERRORS:  # nobody knows; the next snapshot comes when Redis is back
                stuck = []
            since = (since or clock.monotonic()) if stuck else None
            if since is not None and clock.monotonic() - since > STALL_PATIENCE:
                queue = stuck[0].queue
                raise NotFinished(f"run {run.run_id} waits: no worker serves the queue {queue}; it goes on when one does",
                                  hint=self._failures() or f"Start one with `rqflow worker -Q {queue}`.")

    def _is_served(self, queue: str) -> bool:
        """Tell whether a worker serves the queue, or one that does is on its way."""
        served = self.observer.served()
        return served is None or queue in served

    def _missing(self, version: Version) -> None:
        """Say which queues nobody serves, and whether no scheduler runs."""
        served = self.observer.served()
        for queue, tasks in action.tasks_by_queue(version).items() if served is not None else ():
            if queue not in (served or ()):
                problem(f"warning: no worker serves the queue {queue} of {', '.join(tasks[:5])}: start one with `rqflow worker -Q {queue}`")
        if not self.observer.has_scheduler():
            problem("warning: no scheduler is running here: rqflow scheduler")

    def _failures(self) -> str:
        return "\n".join(f"the {one.name} that was started here has ended: {failure}" for one in self.started if (failure := one.failure()))
