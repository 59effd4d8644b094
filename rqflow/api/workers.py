"""Operations on workers."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions import forget_worker, halting, steering
from rqflow.actions.sights import fleet
from rqflow.actions.sights.fleet import Worker
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.broker.names import member_of
from rqflow.broker.status import WorkerStatus
from rqflow.deploy.joining import hub as joining
from rqflow.exceptions import NotFound, UsageError
from rqflow.security.roles import Role
from rqflow.worker.loop import DRAIN, KEEP, KILL

#: How a worker may be told to end.
ENDS = (KEEP, DRAIN, KILL)


@operation("workers.list", "GET", "/workers", Role.VIEWER)
def list_workers(hub: Hub, _: Nothing) -> Page[Worker]:
    """List the workers with the tasks that they run: those that live, and those that are not heard of and did not sign off."""
    return Page(items=tuple(fleet.workers(hub.broker, hub.visible_dag_ids())))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneWorker:
    """Which worker."""

    worker: str = about("Its name, the unique beginning of it, or a host with one worker.")


@operation("workers.get", "GET", "/workers/{worker}", Role.VIEWER)
def get_worker(hub: Hub, asked: OneWorker) -> Worker:
    """Show a worker with the tasks that it runs."""
    return fleet.worker(hub.broker, asked.worker, hub.visible_dag_ids())


@dataclass(frozen=True, kw_only=True, slots=True)
class Steered:
    """A worker, and whether what was asked is news to it."""

    worker: str
    changed: bool = True


@operation("workers.pause", "POST", "/workers/{worker}/pause", Role.ADMIN)
def pause_worker(hub: Hub, asked: OneWorker) -> Steered:
    """Let a worker take no tasks, over its restarts too; what runs there goes on."""
    found = _live(hub, asked.worker)
    halting.pause_worker(hub.broker, found, by=hub.person.name)
    return Steered(worker=found.name)


@operation("workers.resume", "POST", "/workers/{worker}/resume", Role.ADMIN)
def resume_worker(hub: Hub, asked: OneWorker) -> Steered:
    """Let a worker take tasks again."""
    found = _live(hub, asked.worker)
    return Steered(worker=found.name, changed=halting.resume_worker(hub.broker, found, by=hub.person.name))


@operation("workers.drain", "POST", "/workers/{worker}/drain", Role.ADMIN)
def drain_worker(hub: Hub, asked: OneWorker) -> Steered:
    """Let a worker take no new tasks, and end when its own have."""
    return _stopped(hub, asked.worker, DRAIN)


@dataclass(frozen=True, kw_only=True, slots=True)
class StopWorker(OneWorker):
    """How it ends."""

    how: str = about("keep: its tasks go on, and the next worker there takes them over; drain: it ends when its tasks have; kill: its tasks are "
                     "ended, and run elsewhere or again; not given: as its --on-stop says.", "")


@operation("workers.stop", "POST", "/workers/{worker}/stop", Role.ADMIN)
def stop_worker(hub: Hub, asked: StopWorker) -> Steered:
    """Let a worker end, as after SIGTERM."""
    if asked.how and asked.how not in ENDS:
        raise UsageError(f"how: {asked.how[:50]!r} is none of {', '.join(ENDS)}")
    return _stopped(hub, asked.worker, asked.how or None)


def _stopped(hub: Hub, name: str, how: str | None) -> Steered:
    found = _live(hub, name)
    halting.stop_worker(hub.broker, found, how, by=hub.person.name)
    return Steered(worker=found.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What is left of the name of a worker that is forgotten, and in words what else was done."""

    worker: str
    done: tuple[str, ...]


@operation("workers.forget", "DELETE", "/workers/{worker}", Role.ADMIN)
def forget_one(hub: Hub, asked: OneWorker) -> Forgotten:
    """Wait no more for a worker that is gone for good; one that joined is not let in any more.

    What it ran counts as running until it is marked lost.
    """
    try:
        known = forget_worker.forget(hub.broker, hub.engine, asked.worker, by=hub.person.name)
    except NotFound:
        done = joining.forget(hub.engine, member_of(asked.worker), by=hub.person.name)
        if not done:
            raise
        return Forgotten(worker=asked.worker, done=tuple(done))
    return Forgotten(worker=known, done=tuple(joining.forget(hub.engine, member_of(asked.worker), by=hub.person.name)))


def _live(hub: Hub, name: str) -> WorkerStatus:
    """Return the live worker that a name means. Raises NotFound, UsageError."""
    return steering.workers(hub.broker, [name])[0]
