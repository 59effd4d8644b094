"""What happens to a hub beside what people do there: slas that are missed, messages that are refused, files that cannot be loaded, strangers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from rqflow import clock
from rqflow.actions.people import sessions, setup
from rqflow.states import CallbackState
from rqflow.store import callbacks, dag_files, notices, sla
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import Connection, run_in_transaction
from rqflow.store.notices import Delivery
from rqflow.store.runs import RunRecord
from tests.integration.web.site import Site


def misses(site: Site, run: RunRecord, *task_ids: str) -> None:
    """Tasks that did not end in their sla."""
    now = clock.utcnow()
    run_in_transaction(site.engine, lambda connection: sla.record(connection, [
        {"run_key": run.run_key, "task_id": one, "dag_id": run.dag_id, "due_at": now - timedelta(hours=1), "seen_at": now} for one in task_ids]))


def a_refused_message(site: Site, run: RunRecord, task_id: str = "a", *, to: str = "<ada>@x.test", why: str = "550 <b>nobody</b> is called so") -> str:
    """A mail that the server of somebody refused; its id."""
    now = clock.utcnow()

    def write(connection: Connection) -> str:
        notices.note(connection, [{"notice_key": "k1", "kind": notices.FAILURE, "dag_id": run.dag_id, "run_key": run.run_key, "task_id": task_id,
                                   "try_number": 1, "seq": 1, "detail": "{}"}])
        notices.settle(connection, ["k1"], [Delivery(notice_key="k1", recipient=f"mailto:{to}", dag_id=run.dag_id, run_key=run.run_key,
                                                     kind=notices.FAILURE)], now)
        (heap,) = notices.heaps(connection, now + timedelta(days=1))
        message = notices.put_together(connection, heap, now)
        assert notices.claim(connection, notices.find(connection, message), now + timedelta(days=1), now + timedelta(days=1))
        notices.end(connection, message, notices.REFUSED, now, why)
        return message

    return run_in_transaction(site.engine, write)


def happen(site: Site, run: RunRecord, task_id: str, word: Callable[[str], str]) -> dict[str, str]:
    """All of it to one task; `word` gives the text for a field of that name. Returns what parts of paths are then: message, secret."""
    now = clock.utcnow()
    misses(site, run, task_id)
    message = a_refused_message(site, run, task_id, to=word("recipient"), why=word("refusal"))

    def write(connection: Connection) -> None:
        dag_files.put(connection, DagFileRecord(path=word("broken file"), is_present=True, dag_ids=(), errors=(f'{word("broken file")}:3: {word("problem")}',),
                                                inputs={}, loaded_by=word("loader"), loaded_at=now))
        callbacks.note(connection, [{"callback_id": "c1", "kind": "failure", "dag_id": run.dag_id, "run_key": run.run_key, "task_id": task_id, "try_number": 1,
                                     "seq": 1, "version": None, "detail": word("reason"), "created_at": now}])
        callbacks.end(connection, [{"callback_id": "c1", "state": CallbackState.FAILED.value, "worker": word("host"), "reason": word("call reason"),
                                    "output": word("output"), "started_at": now, "ended_at": now}])
        sessions.begin(connection, "ann", ip="192.0.2.1", agent=word("agent"), lifetime=timedelta(days=1), how=word("how"))

    run_in_transaction(site.engine, write)
    stranger = site.browser()
    assert stranger.post("/login", data={"username": word("stranger"), "password": word("password")}).status_code == 401
    return {"message": message, "secret": setup.make(site.engine, by="ann", username="carl").secret}
