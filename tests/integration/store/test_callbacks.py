"""Calls of authors' functions in the history, on each kind of database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rqflow.recorder.apply import apply
from rqflow.states import CallbackState
from rqflow.store import callbacks
from rqflow.store.callbacks import Callback
from rqflow.store.engine import Engine, reading, run_in_transaction
from tests.integration.recorder.events import START, about, moment

ONE, OTHER = "a" * 16, "b" * 16


def a_row(callback_id: str = ONE, **changes: Any) -> dict[str, Any]:
    known = {"callback_id": callback_id, "kind": "failure", "dag_id": "d", "run_key": "r" * 16, "task_id": "t", "try_number": 1, "seq": 5,
             "version": None, "detail": "exit code 3 é", "created_at": moment(0)}
    return {**known, **changes}


def write(engine: Engine, *rows: dict[str, Any]) -> None:
    run_in_transaction(engine, lambda connection: callbacks.note(connection, rows))


def look(engine: Engine) -> dict[str, Callback]:
    with reading(engine) as connection:
        return {one.callback_id: one for one in callbacks.of_run(connection, "r" * 16)}


def open_ids(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return [one.callback_id for one in callbacks.open_calls(connection, 10)]


def test_a_call_comes_back_as_it_was_noted_and_is_noted_once(engine: Engine) -> None:
    write(engine, a_row(), a_row())
    write(engine, a_row())
    assert look(engine) == {ONE: Callback(**a_row(), state=CallbackState.WAITING, worker="", sends=0, reason="", output="", started_at=None, ended_at=None)}


def test_what_a_later_event_says_of_a_try_stays_however_they_come(engine: Engine) -> None:
    retry = a_row(kind="retry", seq=9, detail="lost")
    write(engine, a_row(), retry)
    write(engine, a_row(OTHER, kind="retry", seq=9, detail="lost"))
    write(engine, a_row(OTHER))
    assert [(one.kind, one.seq, one.detail) for one in look(engine).values()] == [("retry", 9, "lost")] * 2


def test_a_repeated_event_does_not_undo_how_far_a_call_is(engine: Engine) -> None:
    write(engine, a_row())
    assert run_in_transaction(engine, lambda connection: callbacks.send(connection, ONE, "host.dir"))
    write(engine, a_row(), a_row(seq=6))
    (one,) = look(engine).values()
    assert (one.state, one.worker, one.sends) == (CallbackState.SENT, "host.dir", 1)
    assert not run_in_transaction(engine, lambda connection: callbacks.send(connection, ONE, "other.dir")), "somebody has it"


def test_a_call_that_was_lost_waits_and_is_given_again(engine: Engine) -> None:
    write(engine, a_row())
    for number in (1, 2):
        assert run_in_transaction(engine, lambda connection: callbacks.send(connection, ONE, "host.dir"))
        assert look(engine)[ONE].sends == number
        run_in_transaction(engine, lambda connection: callbacks.wait(connection, ONE, "worker host.dir is gone"))
        assert (look(engine)[ONE].state, look(engine)[ONE].reason) == (CallbackState.WAITING, "worker host.dir is gone")


def test_the_first_end_that_is_told_counts(engine: Engine) -> None:
    write(engine, a_row(), a_row(OTHER, seq=7))
    run_in_transaction(engine, lambda connection: callbacks.send(connection, ONE, "host.dir"))
    event = {"kind": "callback", **about(), "id": ONE, "task": "t", "try": 1, "state": "success", "called": "on_failure_callback", "worker": "host.dir",
             "reason": "", "output": "told é\n", "seq": START + 20, "started_at": START + 10}
    run_in_transaction(engine, lambda connection: apply(connection, [event]))
    run_in_transaction(engine, lambda connection: apply(connection, [event, {**event, "state": "failed", "seq": START + 30, "worker": "other.dir"}]))
    run_in_transaction(engine, lambda connection: callbacks.wait(connection, ONE, "no"))
    one = look(engine)[ONE]
    assert (one.state, one.worker, one.output, one.started_at, one.ended_at) == (CallbackState.SUCCESS, "host.dir", "told é\n", moment(10), moment(20))
    assert open_ids(engine) == [OTHER]


def test_what_there_is_no_function_for_is_forgotten_unless_a_worker_has_it(engine: Engine) -> None:
    write(engine, a_row(), a_row(OTHER))
    run_in_transaction(engine, lambda connection: callbacks.send(connection, ONE, "host.dir"))
    run_in_transaction(engine, lambda connection: callbacks.forget(connection, [ONE, OTHER]))
    assert open_ids(engine) == [ONE]


def test_calls_of_old_events_keep_nobody_up(engine: Engine) -> None:
    write(engine, a_row())
    with reading(engine) as connection:
        assert callbacks.count_open(connection, moment(0)) == 1
        assert callbacks.count_open(connection, moment(0) + timedelta(seconds=1)) == 0


def test_calls_are_given_some_at_a_time_each_after_the_one_before(engine: Engine) -> None:
    write(engine, a_row(), a_row(OTHER), a_row("c" * 16, seq=4))
    with reading(engine) as connection:
        first = callbacks.open_calls(connection, 2)
        rest = callbacks.open_calls(connection, 2, after=first[-1])
        assert callbacks.open_calls(connection, 2, after=rest[-1]) == []
    assert [one.callback_id for one in (*first, *rest)] == ["c" * 16, ONE, OTHER]
