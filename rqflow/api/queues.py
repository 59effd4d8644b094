"""Operations on queues."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions import halting, requeue, reruns, steering
from rqflow.actions.sights import fleet
from rqflow.actions.sights.fleet import Queue
from rqflow.actions.steering import Held
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.api.reruns import Reruns, changed_rows, chosen_rows
from rqflow.security.roles import Role


@operation("queues.list", "GET", "/queues", Role.VIEWER)
def list_queues(hub: Hub, _: Nothing) -> Page[Queue]:
    """List the queues with the tasks that wait, run and have failed there, of runs that Redis has."""
    return Page(items=tuple(fleet.queues(hub.broker, lambda: hub.engine)))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneQueue:
    """Which queue."""

    queue: str = about("Its name.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Halted:
    """A queue, whether it gives no work now, and whether that is news."""

    queue: str
    is_paused: bool
    changed: bool


@operation("queues.pause", "POST", "/queues/{queue}/pause", Role.ADMIN)
def pause_queue(hub: Hub, asked: OneQueue) -> Halted:
    """Let a queue give no work; what runs goes on, and runs start as ever."""
    was_paused = steering.queue(hub.broker, asked.queue).paused_since is not None
    halting.pause_queue(hub.broker, asked.queue, by=hub.person.name)
    return Halted(queue=asked.queue, is_paused=True, changed=not was_paused)


@operation("queues.resume", "POST", "/queues/{queue}/resume", Role.ADMIN)
def resume_queue(hub: Hub, asked: OneQueue) -> Halted:
    """Let a queue give work again."""
    was_paused = halting.resume_queue(hub.broker, asked.queue, by=hub.person.name)
    hub.go_on()
    return Halted(queue=asked.queue, is_paused=False, changed=was_paused)


@operation("queues.empty", "POST", "/queues/{queue}/empty", Role.ADMIN)
def empty_queue(hub: Hub, asked: OneQueue) -> Page[Held]:
    """Cancel the tasks that wait for a worker on a queue; what runs goes on."""
    cancelled = halting.empty_queue(hub.broker, asked.queue, by=hub.person.name)
    hub.go_on()
    return Page(items=tuple(cancelled))


@dataclass(frozen=True, kw_only=True, slots=True)
class RequeueFailed(OneQueue):
    """Whether it is done."""

    dry_run: bool = about("Only list the tasks that would run again.", False)


@operation("queues.requeue_failed", "POST", "/queues/{queue}/requeue-failed", Role.ADMIN)
def requeue_failed(hub: Hub, asked: RequeueFailed) -> Reruns:
    """Let the tasks of a queue run again that have failed, of runs that Redis has."""
    steering.queue(hub.broker, asked.queue)
    chosen = requeue.failed(hub.broker, hub.engine, asked.queue)
    if asked.dry_run:
        return chosen_rows(chosen, hub=hub, same_version=False)
    done = changed_rows(reruns.clear(hub.broker, hub.engine, chosen, by=hub.person.name))
    hub.go_on()
    return done
