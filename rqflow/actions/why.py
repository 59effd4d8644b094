"""Why a task does not run: one true reason, and what lifts it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cached_property

from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.control import Halt
from rqflow.broker.epochs import Epochs, EpochSeen
from rqflow.broker.events import EventStream
from rqflow.broker.lock import has_leader
from rqflow.broker.status import PoolStatus, TaskStatus, WorkerStatus
from rqflow.dag import partial
from rqflow.dag.run import RunInfo
from rqflow.dag.timetable import by_clocks
from rqflow.dag.version import TaskSpec, Version, amend
from rqflow.exceptions import Conflict
from rqflow.states import TERMINAL_STATES, RunState, TaskState

#: The state of a worker that takes nothing because a person said so.
_PAUSED = "paused"
#: Names that a reason lists at most.
_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """The reason why a task is where it is, and what changes that; the latter is empty when it has ended."""

    task_id: str
    state: TaskState
    reason: str
    lifted_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What is seen of a task and of what it may wait for."""

    task: TaskSpec
    status: TaskStatus
    #: {task_id: state} of the tasks that it depends on.
    upstream: Mapping[str, TaskState] = field(default_factory=dict)
    workers: Sequence[WorkerStatus] = ()
    epoch: EpochSeen
    has_leader: bool = True
    is_suspended: bool = False
    #: Who paused its queue.
    halt: Halt | None = None
    #: Why Redis takes no writes; empty: it does.
    refusal: str = ""
    unrecorded: int = 0
    max_unrecorded: int = 1_000_000
    #: Its pool, and "task of run" of those that hold its slots.
    pool: PoolStatus | None = None
    holders: Sequence[str] = ()
    #: Tasks that are ready on its queue before it.
    before_it: int = 0
    #: The runs that must end before its own, which waits for room, may start; empty: it has started.
    active_runs: Sequence[str] = ()
    #: What it waits for from the hub, in words, before it can begin.
    awaited: str = ""
    #: The zone of its DAG, by name, and that of who asks.
    zone: str = "UTC"
    viewer: tzinfo = UTC

    def at(self, moment: datetime | None) -> str:
        """Say a time by the clock of the DAG, and by the viewer's."""
        return by_clocks(moment, self.zone, self.viewer) if moment else "?"


def explain(view: View) -> Why:
    """Return the one reason that counts: what is asked first is what would have to be mended first. Pure."""
    status = view.status
    reason, lifted_by = _of_state(view)
    if status.cancel_requested and status.state is TaskState.RUNNING:
        reason = f"a cancel is requested; {reason}"
    return Why(task_id=status.task_id, state=status.state, reason=reason, lifted_by=lifted_by)


def _of_state(view: View) -> tuple[str, str]:
    state = view.status.state
    if state is TaskState.REMOVED:
        return _removed(view.task)
    if state in TERMINAL_STATES:
        return f"it has ended: {state.value}{f', {view.status.reason}' if view.status.reason else ''}", ""
    if state is TaskState.RUNNING:
        return _running(view)
    if view.active_runs:
        return (f"its run waits: max_active_runs of its DAG is reached by {_list(view.active_runs)}",
                "the end of one of those; a larger `max_active_runs` in the DAG counts for runs made after it is submitted")
    if state is TaskState.PENDING:
        return _pending(view)
    stopped = _stopped(view)
    if stopped:
        return stopped
    if state in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE}:
        return _delayed(view)
    return _parked(view) if state is TaskState.PARKED else _queued(view)


def removed(task: TaskSpec) -> Why:
    """Return why a run has no instance of a task, which is so for ever. Pure."""
    reason, lifted_by = _removed(task)
    return Why(task_id=task.task_id, state=TaskState.REMOVED, reason=reason, lifted_by=lifted_by)


def _removed(task: TaskSpec) -> tuple[str, str]:
    outside = " and ".join(f"{name} {moment}" for name, moment in (("start_date", task.start_date), ("end_date", task.end_date)) if moment)
    return f"its run has no instance of it: the logical date lies outside of its {outside or 'dates'}", ""


def _running(view: View) -> tuple[str, str]:
    status = view.status
    if view.awaited:
        return f"it is to begin on {status.worker}, which waits for the hub's answer: {view.awaited}", "`rqflow scheduler` on the hub"
    if status.unreachable_since is None:
        return f"it runs on {status.worker} since {view.at(status.started_at)}", "its own end; `rqflow run cancel` ends it before"
    until = f"until {view.at(status.assumed_until)}" if status.assumed_until else "for as long as it takes"
    return (f"its worker {status.worker} is unreachable since {view.at(status.unreachable_since)}; it is assumed to run still, {until}",
            "its worker being heard of; when you know that it is gone: `rqflow task mark-lost RUN TASK`")


def _pending(view: View) -> tuple[str, str]:
    waits = [f"{name} ({state.value})" for name, state in view.upstream.items() if state not in TERMINAL_STATES]
    if not waits:
        return f"what it depends on has ended; its trigger rule {view.task.trigger_rule} is being decided", "a moment"
    return f"trigger rule {view.task.trigger_rule}: it waits for {_list(waits)}", f"the end of {'that' if len(waits) == 1 else 'those'}"


def _stopped(view: View) -> tuple[str, str] | None:
    """Return what keeps all tasks from starting, if anything does."""
    if view.refusal:
        return f"Redis takes no writes: {view.refusal}", "room for Redis, or another one; nothing is lost meanwhile"
    if not view.epoch.is_open or view.epoch.about != view.epoch.server:
        if not view.has_leader:
            return "Redis began anew, and no scheduler runs that puts it right", "`rqflow scheduler`"
        return "Redis began anew, and the scheduler is putting it right from the history", "a moment"
    if view.unrecorded > view.max_unrecorded:
        return f"{view.unrecorded:,} events are not in the database yet, more than {view.max_unrecorded:,}", "a recorder: `rqflow scheduler`"
    if not view.has_leader and view.status.state in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE}:
        return f"it is due at {view.at(view.status.due_at)}, and no scheduler runs that would bring it back", "`rqflow scheduler`"
    return None


def _delayed(view: View) -> tuple[str, str]:
    status = view.status
    if status.state is TaskState.UP_FOR_RESCHEDULE:
        return f"what it waits for is not there; its next look is due at {view.at(status.due_at)}", "what it waits for, or its timeout"
    what = f"try {status.try_number + 1} of {status.max_tries}"
    return (f"{what} is due at {view.at(status.due_at)}{f'; {status.reason}' if status.reason else ''}",
            f"the time: {view.at(status.due_at)}; `rqflow task run-now` starts it before")


def _parked(view: View) -> tuple[str, str]:
    held, reason, labels = f", held by {_list(view.holders)}" if view.holders else "", view.status.reason, view.task.worker_labels
    if reason.startswith("pool ") and view.pool:
        return f"{reason}: {view.pool.used} of {view.pool.slots} slots are in use{held}", f"a free slot, or `rqflow pool set {view.task.pool} N`"
    if labels and "label" in reason:
        return f"{reason}: {_list(labels)}", f"a worker that has them: `rqflow worker --label {labels[0]}`"
    if reason.startswith("retry_on_other_worker"):
        return reason, "a free slot of another worker that serves its queue; when none lives any more, whichever asks next"
    if "on_lost=wait" in reason:
        return reason, "`rqflow task clear` or `rqflow task mark`"
    if reason.startswith(("depends_on_past", "wait_for_downstream")):
        return reason, "its end" if reason.endswith("has not ended") else "`rqflow task clear` or `rqflow task mark` there"
    return f"{reason}{held}", "the end of one of those"


def _queued(view: View) -> tuple[str, str]:
    queue = view.task.queue
    if queue in view.epoch.closed_queues:
        waiting = [machine.name for machine in view.epoch.machines.values() if queue in machine.queues and machine.name not in view.epoch.announced]
        return (f"Redis began anew, and what {_list(waiting) or 'a worker'} may still run on the queue {queue} is not known",
                "that worker; when it is gone for good: `rqflow worker forget NAME`")
    if view.halt:
        return (f"the queue {queue} is paused since {view.at(view.halt.since)} by {view.halt.by}", f"`rqflow queue resume {queue}`")
    serving = [worker for worker in view.workers if queue in worker.queues]
    if not serving:
        return f"no live worker serves the queue {queue}", f"`rqflow worker -Q {queue}`"
    if view.is_suspended:
        return "workers are suspended by `rq suspend`", "`rq resume`"
    working = [worker for worker in serving if worker.state != _PAUSED]
    if not working:
        return (f"the workers that serve the queue {queue} are paused: {_list([worker.name for worker in serving])}",
                f"`rqflow worker resume {serving[0].name}`")
    busy = [f"{worker.name} ({worker.running}/{worker.slots})" for worker in working]
    if all(worker.running >= worker.slots for worker in working):
        before = f", and {view.before_it} task{'s are' if view.before_it > 1 else ' is'} before it" if view.before_it else ""
        return f"all slots of {_list(busy)} are taken{before}", "the end of a task there, or another worker"
    return f"it is ready, and {_list(busy)} may take it now", "a moment"


def task(broker: Broker, version: Version, run_key: str, index: int, *, refusal: str = "", viewer: tzinfo = UTC,
         visible: Collection[str] | None = None) -> Why:
    """Return why a task of a run that Redis has is where it is; raises Conflict for a run that Redis does not have.

    Tasks of DAGs that are not `visible` (None: all are) are not named.
    """
    wanted = [index, *version.tasks[index].upstream]
    statuses = {one.index: one for one in broker.task_statuses(run_key, wanted)} if broker.run_exists(run_key) else {}
    if index not in statuses:
        raise Conflict("Redis does not have this run any more: it has ended, and `rqflow run show` tells how")
    return _Look(broker, version, run_key, statuses, visible).why(index, refusal=refusal, viewer=viewer)


def run(broker: Broker, version: Version, run_key: str, *, refusal: str = "", viewer: tzinfo = UTC,
        visible: Collection[str] | None = None) -> list[Why]:
    """Return why each task of a run that has not ended is where it is, as `task` does; none for a run that Redis does not have: it has ended."""
    if not broker.run_exists(run_key):
        return []
    statuses = {one.index: one for one in broker.task_statuses(run_key)}
    look = _Look(broker, version, run_key, statuses, visible)
    return [look.why(index, refusal=refusal, viewer=viewer) for index, one in statuses.items() if one.state not in TERMINAL_STATES]


class _Look:
    """What is seen of Redis for tasks of one run: what several of them may wait for is asked for once."""

    def __init__(self, broker: Broker, version: Version, run_key: str, statuses: Mapping[int, TaskStatus], visible: Collection[str] | None) -> None:
        self._broker, self._run_version, self._run_key, self._statuses, self._visible = broker, version, run_key, statuses, visible

    def why(self, index: int, *, refusal: str, viewer: tzinfo) -> Why:
        """Return why a task is where it is."""
        broker, status = self._broker, self._statuses[index]
        # What holds a task that a person let run again is what the version says that it follows now.
        later = broker.version(status.version) if status.version else None
        version = amend(self._run_version, later) if later else self._run_version
        spec = partial.as_in(self._info, version.tasks[index])
        is_parked = status.state is TaskState.PARKED
        return explain(View(
            task=spec, status=status,
            upstream={version.tasks[up].task_id: self._statuses[up].state for up in spec.upstream if up in self._statuses},
            workers=self._workers, epoch=self._epoch, has_leader=self._has_leader, is_suspended=self._is_suspended, halt=self._halts.get(spec.queue),
            refusal=refusal, unrecorded=self._unrecorded, max_unrecorded=broker.settings.broker.max_unrecorded,
            pool=self._pools.get(spec.pool) if is_parked else None, holders=self._holders(version, spec, status) if is_parked else (),
            before_it=broker.ready_before(self._run_key, index, spec.queue) if status.state is TaskState.QUEUED else 0,
            awaited=broker.awaited(status.worker, status.execution_id) if status.state is TaskState.RUNNING else "",
            active_runs=self._active_runs, zone=version.timezone, viewer=viewer))

    @cached_property
    def _info(self) -> RunInfo | None:
        return self._broker.run_info(self._run_key)

    @cached_property
    def _workers(self) -> Sequence[WorkerStatus]:
        return self._broker.workers()

    @cached_property
    def _epoch(self) -> EpochSeen:
        return Epochs(self._broker.connection).look()

    @cached_property
    def _has_leader(self) -> bool:
        return has_leader(self._broker.connection)

    @cached_property
    def _is_suspended(self) -> bool:
        return self._broker.is_suspended()

    @cached_property
    def _halts(self) -> Mapping[str, Halt]:
        return control.paused_queues(self._broker)

    @cached_property
    def _unrecorded(self) -> int:
        return EventStream(self._broker.connection).backlog()

    @cached_property
    def _pools(self) -> Mapping[str, PoolStatus]:
        return self._broker.pools()

    @cached_property
    def _active_runs(self) -> list[str]:
        """The ids of the running runs of the DAG for which this run of it waits."""
        own = self._broker.run_status(self._run_key)
        if own is None or own.state is not RunState.QUEUED:
            return []
        others = self._broker.run_statuses(self._broker.live_runs()).values()
        return [one.run_id for one in others if one.dag_id == self._run_version.dag_id and one.state is RunState.RUNNING]

    @cached_property
    def _running(self) -> list[tuple[RunInfo, Version, int]]:
        """All tasks that run: their run, its version, and their place in that."""
        found = []
        for run_key in self._broker.live_runs():
            info = self._broker.run_info(run_key)
            theirs = self._broker.version(info.version) if info else None
            if info and theirs:
                found += [(info, theirs, one.index) for one in self._broker.task_statuses(run_key) if one.state is TaskState.RUNNING]
        return found

    def _holders(self, version: Version, spec: TaskSpec, status: TaskStatus) -> list[str]:
        """Return "task of run" of those that hold the slots which a parked task waits for."""
        held = [(info, theirs.tasks[index]) for info, theirs, index in self._running
                if _shares(theirs, partial.as_in(info, theirs.tasks[index]), version, spec, status.reason)]
        return [f"{one.task_id} of {info.run_id}" if self._visible is None or info.dag_id in self._visible else "a task of a DAG that you do not see"
                for info, one in held]


def _shares(theirs: Version, other: TaskSpec, version: Version, spec: TaskSpec, reason: str) -> bool:
    """Tell whether another task takes slots of the limit that `reason` names."""
    if reason.startswith("pool "):
        return other.pool == spec.pool
    if theirs.dag_id != version.dag_id:
        return False
    return reason.startswith("max_active_tasks") or (reason.startswith("max_active_tis") and other.task_id == spec.task_id)


def _list(names: Sequence[str]) -> str:
    shown = list(names[:_NAMES])
    return ", ".join(shown) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
