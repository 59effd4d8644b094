"""What people do to a run and its tasks: a deed that destroys, or changes many, has a page, with scripts a dialog, that says what it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.api import runs, tasks
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.reruns import Reruns
from rqflow.api.runs import CancelRun, DeleteRun, MarkRun, Note
from rqflow.api.tasks import ClearTasks, KillTask, MarkTasks, OneTask, RunNow
from rqflow.exceptions import NotPermitted, RqflowError, UsageError
from rqflow.states import TaskState
from rqflow.store.runs import RunRecord
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.problems import status_of
from rqflow.web.rendering import BAD, OK, WARN, page
from rqflow.web.run_pages import run_pages_of

router = APIRouter(include_in_schema=False, prefix="/runs/{run_key}")
#: Rows of a preview, and what a person may be told of in words.
MOST_ROWS = 200
_SCOPES = ("upstream", "downstream", "only_failed", "past", "future", "same_version")
_TOLD = {403, 409, 422}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoped:
    """What of a run is meant, as a form says it."""

    #: Empty: all of the run.
    task_id: str = ""
    state: str = ""
    upstream: bool = False
    downstream: bool = False
    only_failed: bool = False
    past: bool = False
    future: bool = False
    same_version: bool = False
    seen_at: datetime | None = None
    #: Beside which task the page stood.
    back: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Scoped:
        """Read it; raises UsageError."""
        try:
            seen_at = clock.aware(datetime.fromisoformat(given["seen_at"])) if given.get("seen_at") else None
        except ValueError as error:
            raise UsageError(f"seen_at: {given['seen_at'][:50]!r} is no time") from error
        scopes = {name: given.get(name, "") in {"1", "true", "on"} for name in _SCOPES}
        return cls(task_id=given.get("task", ""), state=given.get("state", ""), seen_at=seen_at, back=given.get("back", ""), **scopes)


def _url(record: RunRecord, task_id: str) -> str:
    return f"/runs/{record.run_key}" + (f"/tasks/{quote(task_id, safe='')}" if task_id else "")


def _may(hub: Hub, run_key: str) -> RunRecord:
    """Return the run, if the person may change it. Raises RunNotFound, NotPermitted."""
    if hub.person.role.value == "viewer":
        record = hub.run(run_key)
        raise NotPermitted(f"{hub.person.name} is viewer, and to change run {record.run_id} takes operator",
                           hint="An admin may give another role: `rqflow user edit NAME --role ROLE`.")
    return hub.run(run_key, changes=True)


def _told(action: Callable[[], Response], error_page: Callable[[RqflowError], HTMLResponse]) -> Response:
    """Do something; what a person can do something about is said on the same page."""
    try:
        return action()
    except RqflowError as error:
        if status_of(error) not in _TOLD:
            raise
        found = error_page(error)
        found.status_code = status_of(error)
        return found


def _refused(request: Request, record: RunRecord, title: str, back: str, error: RqflowError) -> HTMLResponse:
    return page(request, "run_refused.html", run=record, title=title, back=_url(record, back), error=error.message, hint=error.hint)


def _finished(request: Request, record: RunRecord, back: str, message: str, kind: str = OK) -> Response:
    run_pages_of(request.app).forget(record.run_key)
    return done(request, _url(record, back), message, kind)


# -------------------------------------------------------------------- clear, mark


def _rerun(request: Request, hub: Hub, record: RunRecord, verb: str, wanted: Scoped, error: RqflowError | None = None) -> HTMLResponse:
    """Show what would be cleared or marked; nothing of it where it cannot be told."""
    seen_at = clock.utcnow()
    found, problem = Reruns(tasks=()), error
    if error is None:
        try:
            found = _perform(hub, record, verb, wanted, seen_at=None, dry_run=True)
        except RqflowError as raised:
            if status_of(raised) not in _TOLD | {404}:
                raise
            problem = raised
    else:
        found = _perform(hub, record, verb, wanted, seen_at=None, dry_run=True) if status_of(error) == 409 else found
    answer = page(
        request, "run_rerun.html", run=record, verb=verb, wanted=wanted, found=found, rows=found.tasks[:MOST_ROWS],
        back=_url(record, wanted.back or wanted.task_id), runs=len({one.run_key for one in found.tasks}),
        counts=dict(Counter(one.state.value for one in found.tasks)), seen_at=seen_at, problem=problem.message if problem else "",
        hint=problem.hint if problem else "")
    if problem:
        answer.status_code = status_of(problem)
    return answer


def _perform(hub: Hub, record: RunRecord, verb: str, wanted: Scoped, *, seen_at: datetime | None, dry_run: bool) -> Reruns:
    task = wanted.task_id or "*"
    if verb == "clear":
        return perform(hub, tasks.clear_tasks, ClearTasks(
            run=record.run_key, task=task, upstream=wanted.upstream, downstream=wanted.downstream, only_failed=wanted.only_failed, past=wanted.past,
            future=wanted.future, same_version=wanted.same_version, seen_at=seen_at, dry_run=dry_run))
    if not wanted.task_id:
        return perform(hub, runs.mark_run, MarkRun(run=record.run_key, state=wanted.state, dry_run=dry_run))
    return perform(hub, tasks.mark_tasks, MarkTasks(
        run=record.run_key, task=task, state=wanted.state, upstream=wanted.upstream, downstream=wanted.downstream, past=wanted.past,
        future=wanted.future, seen_at=seen_at, dry_run=dry_run))


def _asked(hub: Hub, record: RunRecord, verb: str, given: Mapping[str, str]) -> Scoped:
    """Return what a page that is opened is about: as its address says, else what people mean most often."""
    chosen = dict(given)
    if verb == "clear" and "chosen" not in given:
        task = chosen.get("task", "")
        chosen.setdefault("downstream" if task else "only_failed", "1" if task or _has_failed(hub, record) else "")
    if verb == "mark":
        chosen["state"] = chosen.get("state") or TaskState.SUCCESS.value
    return Scoped.of(chosen)


def _has_failed(hub: Hub, record: RunRecord) -> bool:
    failed = ClearTasks(run=record.run_key, only_failed=True, same_version=True, dry_run=True)
    return bool(perform(hub, tasks.clear_tasks, failed).tasks)


@router.get("/clear")
def clear_page(request: Request, hub: TheHub, run_key: str) -> Response:
    """Show what a clear would let run again."""
    record = _may(hub, run_key)
    return _rerun(request, hub, record, "clear", _asked(hub, record, "clear", request.query_params))


@router.post("/clear")
def clear(request: Request, hub: TheHub, run_key: str, filled: Filled) -> Response:
    """Let tasks run again."""
    return _change(request, hub, _may(hub, run_key), "clear", Scoped.of(filled))


@router.get("/mark")
def mark_page(request: Request, hub: TheHub, run_key: str) -> Response:
    """Show what a mark would change."""
    record = _may(hub, run_key)
    return _rerun(request, hub, record, "mark", _asked(hub, record, "mark", request.query_params))


@router.post("/mark")
def mark(request: Request, hub: TheHub, run_key: str, filled: Filled) -> Response:
    """Give tasks, or the run, a state by hand."""
    return _change(request, hub, _may(hub, run_key), "mark", Scoped.of(filled))


def _change(request: Request, hub: Hub, record: RunRecord, verb: str, wanted: Scoped) -> Response:
    try:
        found = _perform(hub, record, verb, wanted, seen_at=wanted.seen_at, dry_run=False)
    except RqflowError as error:
        if status_of(error) not in _TOLD:
            raise
        return _rerun(request, hub, record, verb, wanted, error)
    message, kind = _outcome(verb, wanted, found)
    return _finished(request, record, wanted.back or wanted.task_id, message, kind)


def _outcome(verb: str, wanted: Scoped, found: Reruns) -> tuple[str, str]:
    """Say what was done, and what was not."""
    changed, left = [one for one in found.tasks if one.done], [one for one in found.tasks if not one.done]
    what = "run again" if verb == "clear" else f"marked {wanted.state}"
    who = changed[0].task_id if len(changed) == 1 else f"{len(changed):,} tasks"
    runs = len({one.run_key for one in changed})
    said = f"{who}{f' of {runs} runs' if runs > 1 else ''} {'runs again' if verb == 'clear' and len(changed) == 1 else what}." if changed else ""
    if not left:
        return (said, OK) if said else ("There was nothing to do.", WARN)
    reasons = "; ".join(dict.fromkeys(one.reason for one in left))
    return f"{said} Not done: {reasons}".strip(), WARN if changed else BAD


# -------------------------------------------------------------------- the whole run


@router.get("/note")
def note_page(request: Request, hub: TheHub, run_key: str, back: str = "") -> Response:
    """Show the field for a remark."""
    record = _may(hub, run_key)
    return page(request, "run_note.html", run=record, back=back, url=_url(record, back), text=record.note, problem="")


@router.post("/note")
def note(request: Request, hub: TheHub, run_key: str, filled: Filled) -> Response:
    """Write the remark about a run."""
    record, back, text = _may(hub, run_key), filled.get("back", ""), filled.get("note", "").replace("\r\n", "\n")

    def write() -> Response:
        perform(hub, runs.note_run, Note(run=record.run_key, note=text))
        return _finished(request, record, back, "The note is written." if text.strip() else "The note is gone.")

    return _told(write, lambda error: page(request, "run_note.html", run=record, back=back, url=_url(record, back), text=text,
                                                    problem=error.message))


@router.get("/cancel")
def cancel_page(request: Request, hub: TheHub, run_key: str, back: str = "") -> Response:
    """Ask whether a run is to be cancelled."""
    record = _may(hub, run_key)
    view = run_pages_of(request.app).of(hub, record.run_key)
    return page(request, "run_cancel.html", run=record, view=view, back=back, url=_url(record, back))


@router.post("/cancel")
def cancel(request: Request, hub: TheHub, run_key: str, filled: Filled) -> Response:
    """Cancel a run."""
    record, back = _may(hub, run_key), filled.get("back", "")

    def do() -> Response:
        found = perform(hub, runs.cancel_run, CancelRun(run=record.run_key, force=filled.get("force") == "1"))
        said = "is cancelled" if found.is_finished else "is being cancelled: it ends when its running tasks have"
        return _finished(request, record, back, f"Run {record.run_id} {said}.")

    return _told(do, lambda error: _refused(request, record, f"Cancel {record.run_id}", back, error))


@router.get("/delete")
def delete_page(request: Request, hub: TheHub, run_key: str, back: str = "") -> Response:
    """Ask whether a run is to be deleted."""
    record = _may(hub, run_key)
    view = run_pages_of(request.app).of(hub, record.run_key)
    return page(request, "run_delete.html", run=record, view=view, back=back, url=_url(record, back))


@router.post("/delete")
def delete(request: Request, hub: TheHub, run_key: str, filled: Filled) -> Response:
    """Delete a run."""
    record, back = _may(hub, run_key), filled.get("back", "")

    def do() -> Response:
        perform(hub, runs.delete_run, DeleteRun(run=record.run_key, keep_logs=filled.get("keep_logs") == "1"))
        run_pages_of(request.app).forget(record.run_key)
        return done(request, f"/dags/{quote(record.dag_id, safe='')}", f"Run {record.run_id} of {record.dag_id} is deleted.")

    return _told(do, lambda error: _refused(request, record, f"Delete {record.run_id}", back, error))


# -------------------------------------------------------------------- one task


@router.get("/tasks/{task_id}/kill")
def kill_page(request: Request, hub: TheHub, run_key: str, task_id: str) -> Response:
    """Ask whether a task is to be ended."""
    record = _may(hub, run_key)
    task = perform(hub, tasks.get_task, OneTask(run=record.run_key, task_id=task_id))
    return page(request, "run_kill.html", run=record, task=task, url=_url(record, task_id))


@router.post("/tasks/{task_id}/kill")
def kill(request: Request, hub: TheHub, run_key: str, task_id: str, filled: Filled) -> Response:
    """End a task."""
    record = _may(hub, run_key)

    def do() -> Response:
        perform(hub, tasks.get_task, OneTask(run=record.run_key, task_id=task_id))
        found = perform(hub, tasks.kill_task, KillTask(run=record.run_key, task_id=task_id, force=filled.get("signal") == "KILL"))
        said = "is cancelled" if found.state == TaskState.CANCELLED.value else f"was sent {'KILL' if filled.get('signal') == 'KILL' else 'TERM'}"
        return _finished(request, record, task_id, f"{task_id} {said}; it has no further try.")

    return _told(do, lambda error: _refused(request, record, f"Kill {task_id}", task_id, error))


@router.get("/tasks/{task_id}/mark-lost")
def lost_page(request: Request, hub: TheHub, run_key: str, task_id: str) -> Response:
    """Ask whether what runs of a task is gone."""
    record = _may(hub, run_key)
    task = perform(hub, tasks.get_task, OneTask(run=record.run_key, task_id=task_id))
    return page(request, "run_lost.html", run=record, task=task, url=_url(record, task_id))


@router.post("/tasks/{task_id}/mark-lost")
def mark_lost(request: Request, hub: TheHub, run_key: str, task_id: str) -> Response:
    """Declare lost what runs of a task."""
    record = _may(hub, run_key)

    def do() -> Response:
        found = perform(hub, tasks.mark_lost, OneTask(run=record.run_key, task_id=task_id))
        return _finished(request, record, task_id, f"{task_id} is declared lost; it is {found.state.replace('_', ' ')} now.")

    return _told(do, lambda error: _refused(request, record, f"Declare {task_id} lost", task_id, error))


@router.post("/tasks/{task_id}/run-now")
def run_now(request: Request, hub: TheHub, run_key: str, task_id: str) -> Response:
    """Start a task at once that waits for its time."""
    record = _may(hub, run_key)

    def do() -> Response:
        perform(hub, tasks.run_now, RunNow(run=record.run_key, task_id=task_id))
        return _finished(request, record, task_id, f"{task_id} waits for a worker now, and for nothing else.")

    return _told(do, lambda error: _refused(request, record, f"Run {task_id} now", task_id, error))
