"""Workers and queues: who runs what, what waits where, and letting them pause, go on, end."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.actions import steering
from rqflow.actions.sights import fleet
from rqflow.api.operation import must_permit, perform
from rqflow.api.queues import (
    OneQueue,
    RequeueFailed,
    empty_queue,
    pause_queue,
    requeue_failed,
    resume_queue,
)
from rqflow.api.workers import ENDS, OneWorker, StopWorker, drain_worker, forget_one, get_worker, pause_worker, resume_worker, stop_worker
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.rendering import WARN, page

router = APIRouter(include_in_schema=False)
PLACE = "/workers"
#: Tasks that a page lists before it says how many more there are.
MOST = 100
#: What becomes of the tasks of a worker that is told to end so.
_BECOMES = {"kill": "its tasks are ended, and run elsewhere or again", "keep": "its tasks go on"}


@router.get("/workers")
def workers_page(request: Request, hub: TheHub, only: str = "") -> HTMLResponse:
    """Show the workers and the queues; with only=fleet the part that changes."""
    away, visible = hub.away, hub.visible_dag_ids()
    return page(request, "_fleet.html" if only == "fleet" else "workers.html", away=away, now=clock.utcnow(), min_free=hub.settings.logs.min_free,
                workers=[] if away else fleet.workers(hub.broker, visible), queues=[] if away else fleet.queues(hub.broker, lambda: hub.engine))


@router.get("/workers/{worker}")
def worker_page(request: Request, hub: TheHub, worker: str, only: str = "") -> HTMLResponse:
    """Show a worker with what it runs."""
    found = perform(hub, get_worker, OneWorker(worker=worker))
    return page(request, "_worker.html" if only == "worker" else "worker.html", worker=found, now=clock.utcnow(), min_free=hub.settings.logs.min_free)


@router.post("/workers/{worker}/pause")
def pause_one(request: Request, hub: TheHub, worker: str) -> Response:
    """Let a worker take no tasks."""
    found = perform(hub, pause_worker, OneWorker(worker=worker))
    return done(request, PLACE, f"Worker {found.worker} takes no tasks until somebody resumes it. What runs there goes on.")


@router.post("/workers/{worker}/resume")
def resume_one(request: Request, hub: TheHub, worker: str) -> Response:
    """Let a worker take tasks again."""
    found = perform(hub, resume_worker, OneWorker(worker=worker))
    return done(request, PLACE, f"Worker {found.worker} {'takes tasks again' if found.changed else 'was not paused'}.")


@router.get("/workers/{worker}/stop")
def stop_page(request: Request, hub: TheHub, worker: str, how: str = "drain") -> HTMLResponse:
    """Ask how a worker is to end."""
    must_permit(hub, stop_worker)
    return page(request, "worker_stop.html", worker=perform(hub, get_worker, OneWorker(worker=worker)), how=how if how in ENDS else "drain")


@router.post("/workers/{worker}/stop")
def stop_one(request: Request, hub: TheHub, worker: str, filled: Filled) -> Response:
    """Let a worker end."""
    how = filled.get("how", "")
    if how == "drain":
        found = perform(hub, drain_worker, OneWorker(worker=worker))
        return done(request, PLACE, f"Worker {found.worker} takes no new tasks, and ends when its own have.")
    found = perform(hub, stop_worker, StopWorker(worker=worker, how=how))
    return done(request, PLACE, f"Worker {found.worker} is told to stop; {_BECOMES.get(how, 'what becomes of its tasks says its --on-stop')}.")


@router.get("/workers/{worker}/forget")
def forget_page(request: Request, hub: TheHub, worker: str) -> HTMLResponse:
    """Ask whether a worker is gone for good."""
    must_permit(hub, forget_one)
    return page(request, "worker_forget.html", worker=perform(hub, get_worker, OneWorker(worker=worker)))


@router.post("/workers/{worker}/forget")
def forget(request: Request, hub: TheHub, worker: str) -> Response:
    """Wait no more for a worker."""
    found = perform(hub, forget_one, OneWorker(worker=worker))
    return done(request, PLACE, "; ".join([f"Nobody waits for {found.worker} any more", *found.done]) + ".")


@router.post("/queues/{queue}/pause")
def pause_a_queue(request: Request, hub: TheHub, queue: str) -> Response:
    """Let a queue give no work."""
    perform(hub, pause_queue, OneQueue(queue=queue))
    return done(request, PLACE, f"Queue {queue} gives no work until somebody resumes it. What runs goes on.")


@router.post("/queues/{queue}/resume")
def resume_a_queue(request: Request, hub: TheHub, queue: str) -> Response:
    """Let a queue give work again."""
    found = perform(hub, resume_queue, OneQueue(queue=queue))
    return done(request, PLACE, f"Queue {queue} {'gives work again' if found.changed else 'was not paused'}.")


@router.get("/queues/{queue}/empty")
def empty_page(request: Request, hub: TheHub, queue: str) -> HTMLResponse:
    """Show what emptying a queue would cancel."""
    must_permit(hub, empty_queue)
    return page(request, "queue_deed.html", queue=steering.queue(hub.broker, queue), tasks=None, news=(), most=MOST, deed="empty", place=PLACE)


@router.post("/queues/{queue}/empty")
def empty_a_queue(request: Request, hub: TheHub, queue: str) -> Response:
    """Cancel what waits on a queue."""
    cancelled = perform(hub, empty_queue, OneQueue(queue=queue)).items
    return done(request, PLACE, f"Queue {queue}: {counted(len(cancelled), 'task')} cancelled.")


@router.get("/queues/{queue}/requeue-failed")
def requeue_page(request: Request, hub: TheHub, queue: str) -> HTMLResponse:
    """Show what would run again."""
    chosen = perform(hub, requeue_failed, RequeueFailed(queue=queue, dry_run=True))
    return page(request, "queue_deed.html", queue=steering.queue(hub.broker, queue), tasks=chosen.tasks, news=chosen.news, most=MOST,
                deed="requeue-failed", place=PLACE)


@router.post("/queues/{queue}/requeue-failed")
def requeue(request: Request, hub: TheHub, queue: str) -> Response:
    """Let what has failed on a queue run again."""
    changed = perform(hub, requeue_failed, RequeueFailed(queue=queue)).tasks
    refused = [one for one in changed if not one.done]
    said = f"Queue {queue}: {counted(len(changed) - len(refused), 'task')} will run again."
    if not refused:
        return done(request, PLACE, said)
    return done(request, PLACE, f"{said} {counted(len(refused), 'task')} not: {refused[0].reason}", WARN)


def counted(number: int, what: str) -> str:
    """Return a number of things in words: 1 task, 2 tasks."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
