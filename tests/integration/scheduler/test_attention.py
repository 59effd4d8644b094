"""What draws the attention of an idle hub: one look at the history for several chores."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from rqflow import clock
from rqflow.scheduler.attention import EVERY, Attention
from rqflow.store import attention, callbacks, dags, deletions, schedules
from rqflow.store.attention import Wanted
from rqflow.store.callbacks import note
from rqflow.store.deletions import Stage
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.schedules import Followed
from tests.profile import PATIENCE
from tests.unit.builders import a_version

SETTLE = timedelta(minutes=10)
NOTHING = Wanted(removals=False, backfills=False, callbacks=False, schedules=False)
CALL = {"callback_id": "c" * 16, "kind": "failure", "dag_id": "d", "run_key": "r" * 16, "task_id": "t", "try_number": 1, "seq": 1, "version": None,
        "detail": "", "created_at": clock.EPOCH}


def look(engine: Engine) -> Wanted:
    with reading(engine) as connection:
        return attention.look(connection, clock.utcnow(), SETTLE)


def test_nothing_is_wanted_of_an_empty_history(engine: Engine) -> None:
    assert look(engine) == NOTHING


def test_a_call_draws_attention_until_it_has_ended(engine: Engine) -> None:
    run_in_transaction(engine, lambda connection: note(connection, [CALL]))
    assert look(engine).callbacks
    run_in_transaction(engine, lambda connection: callbacks.send(connection, "c" * 16, "host.dir"))
    assert look(engine).callbacks
    ended = {"callback_id": "c" * 16, "state": "success", "ended_at": clock.utcnow()}
    run_in_transaction(engine, lambda connection: callbacks.end(connection, [ended]))
    assert look(engine) == NOTHING


def test_a_removal_draws_attention_while_it_goes_on_and_once_more_when_it_has_settled(engine: Engine) -> None:
    run_in_transaction(engine, lambda connection: dags.save_version(connection, a_version(["a"], dag_id="d")))
    run_in_transaction(engine, lambda connection: deletions.bury_dag(connection, "d", who="me", keeps_logs=False, now=clock.utcnow()))
    assert look(engine).removals
    run_in_transaction(engine, lambda connection: deletions.advance(connection, deletions.DAG, "d", Stage.SETTLING, clock.utcnow()))
    assert look(engine) == NOTHING
    with reading(engine) as connection:
        assert attention.look(connection, clock.utcnow() + 2 * SETTLE, SETTLE).removals


def test_a_run_that_is_due_draws_attention_unless_its_dag_is_paused(engine: Engine) -> None:
    version = a_version(["a"], dag_id="d")
    run_in_transaction(engine, lambda connection: dags.save_version(connection, version))
    followed = Followed(series="s", start=clock.EPOCH, upto=None, next_run_at=clock.utcnow())
    run_in_transaction(engine, lambda connection: schedules.put(connection, "d", followed))
    assert look(engine) == replace(NOTHING, schedules=True)
    run_in_transaction(engine, lambda connection: schedules.set_paused(connection, "d", True, clock.utcnow()))
    assert look(engine) == NOTHING


def test_who_waits_is_woken_when_there_is_something_for_him_and_when_he_is_to_stop(engine: Engine) -> None:
    one = Attention(engine, SETTLE)
    stop, woken = threading.Event(), threading.Event()

    def wait() -> None:
        one.wait("callbacks", stop, at_most=10 * PATIENCE)
        woken.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    one.step()
    assert not woken.wait(2 * EVERY), "there is nothing"
    run_in_transaction(engine, lambda connection: note(connection, [CALL]))
    one.step()
    assert woken.wait(PATIENCE)
    woken.clear()
    waiter = threading.Thread(target=lambda: (one.wait("backfills", stop, at_most=10 * PATIENCE), woken.set()))
    waiter.start()
    stop.set()
    assert woken.wait(PATIENCE)
    waiter.join()
