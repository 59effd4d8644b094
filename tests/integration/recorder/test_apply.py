from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rqflow import clock
from rqflow.dag.run import SCHEDULED, RunInfo, run_key
from rqflow.recorder.apply import apply
from rqflow.states import TERMINAL_STATES, RunState, TaskState
from rqflow.store import deletions, runs, tasks, xcoms
from rqflow.store import events as event_log
from rqflow.store.engine import Engine, reading, run_in_transaction, transaction
from rqflow.store.events import EventFilter
from rqflow.store.tables import metadata
from tests.integration.recorder.events import START, a_late_end, a_run_event, a_task_event, about, an_end, an_xcom, moment

KEY = run_key("d", "r")


def record(engine: Engine, *events: Any) -> None:
    run_in_transaction(engine, lambda connection: apply(connection, events))


def the_task(engine: Engine, task: str = "t") -> tasks.TaskRecord:
    with reading(engine) as connection:
        found = tasks.get(connection, KEY, task)
    assert found is not None
    return found


def the_tries(engine: Engine) -> list[tasks.TryRecord]:
    with reading(engine) as connection:
        return tasks.tries(connection, KEY)


def the_log(engine: Engine, *kinds: str) -> list[event_log.EventRecord]:
    with reading(engine) as connection:
        return event_log.search(connection, EventFilter(kinds=kinds or None))


def everything(engine: Engine) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with reading(engine) as connection:
        return {name: sorted(map(str, connection.execute(table.select()))) for name, table in metadata.tables.items()}


def test_try_is_recorded_from_start_to_end(engine: Engine) -> None:
    record(engine, a_run_event("running", 0), a_task_event("queued", 0), a_task_event("running", 1))
    (begun,) = the_tries(engine)
    assert (begun.state, begun.started_at, begun.ended_at, begun.host) == (TaskState.RUNNING, moment(1), None, "")
    record(engine, an_end("success", 9), a_run_event("success", 10))
    (ended,) = the_tries(engine)
    assert (ended.state, ended.host, ended.pid, ended.exit_code, ended.signal) == (TaskState.SUCCESS, "node7", 4711, 0, None)
    assert (ended.cpu_seconds, ended.max_rss_bytes, ended.log_bytes, ended.facts) == (0.25, 1 << 33, 123, {})
    assert (ended.started_at, ended.ended_at, ended.queue, ended.execution_id) == (moment(1), moment(9), "default", "e1")
    task = the_task(engine)
    assert (task.state, task.try_number, task.max_tries, task.worker, task.ended_at) == (TaskState.SUCCESS, 1, 3, "w.1", moment(9))
    with reading(engine) as connection:
        run = runs.find(connection, "r")
        assert tasks.counts(connection, [KEY]) == {KEY: {TaskState.SUCCESS: 1}}
    assert (run.state, run.started_at, run.ended_at) == (RunState.SUCCESS, moment(0), moment(10))
    assert [entry.event for entry in reversed(the_log(engine, "ti"))] == ["queued", "running", "success"]


def test_retries_leave_one_row_each(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("up_for_retry", 2, reason="exit code 3", facts={"exit_code": 3}))
    record(engine, a_task_event("queued", 3, try_number=2), a_task_event("running", 4, try_number=2))
    record(engine, an_end("failed", 5, try_number=2, reason="signal 9", facts={"signal": 9}))
    found = [(one.try_number, one.state, one.reason, one.exit_code, one.signal) for one in the_tries(engine)]
    assert found == [(1, TaskState.UP_FOR_RETRY, "exit code 3", 3, None), (2, TaskState.FAILED, "signal 9", None, 9)]


def test_older_event_changes_nothing(engine: Engine) -> None:
    record(engine, an_end("success", 9), an_xcom('"new"', 9))
    before = everything(engine)
    record(engine, an_end("success", 9), an_xcom('"new"', 9))
    assert everything(engine) == before
    record(engine, a_task_event("running", 1), a_task_event("queued", 0), an_xcom('"old"', 8))
    after = everything(engine)
    assert {name for name, rows in after.items() if rows != before[name]} == {"event_log"}


def test_later_try_wins_whatever_its_seq(engine: Engine) -> None:
    record(engine, an_end("up_for_retry", 5, try_number=1))
    record(engine, a_task_event("running", 2, try_number=2))
    record(engine, a_task_event("running", 6, try_number=1))
    task = the_task(engine)
    assert (task.try_number, task.seq, task.state) == (2, START + 2, TaskState.RUNNING)


def test_mark_and_skip_make_no_try_and_leave_the_one_that_ran(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("failed", 2), a_task_event("success", 3, reason="marked by ada"))
    record(engine, a_task_event("skipped", 3, task="s", try_number=0), a_task_event("upstream_failed", 3, task="u", try_number=1))
    assert [(one.task_id, one.state) for one in the_tries(engine)] == [("t", TaskState.FAILED)]
    assert the_task(engine).state is TaskState.SUCCESS
    assert the_task(engine, "s").state is TaskState.SKIPPED


def test_cleared_task_forgets_worker_and_times_and_keeps_its_tries(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("failed", 2), a_task_event("pending", 3))
    task = the_task(engine)
    assert (task.state, task.worker, task.started_at, task.ended_at) == (TaskState.PENDING, "", None, None)
    assert the_tries(engine)[0].state is TaskState.FAILED


def test_try_that_went_back_to_its_queue_shows_so(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), a_task_event("queued", 2))
    assert the_tries(engine)[0].state is TaskState.QUEUED
    record(engine, a_task_event("running", 3, execution="e2", worker="w.2"))
    assert (the_tries(engine)[0].state, the_tries(engine)[0].worker) == (TaskState.RUNNING, "w.2")


def test_rescheduled_try_runs_again_under_its_number(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("up_for_reschedule", 2), a_task_event("queued", 3))
    record(engine, a_task_event("running", 4))
    assert [one.state for one in the_tries(engine)] == [TaskState.RUNNING]
    record(engine, an_end("success", 5))
    assert [one.state for one in the_tries(engine)] == [TaskState.SUCCESS]


def test_late_end_is_evidence_of_its_try_only(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), a_task_event("lost", 2), a_task_event("running", 3, try_number=2))
    record(engine, a_late_end("success", 4))
    first, second = the_tries(engine)
    assert (first.state, first.exit_code) == (TaskState.LOST, None)
    assert first.late is not None
    assert (first.late["state"], first.late["facts"]["exit_code"]) == ("success", 0)
    assert (second.state, second.late) == (TaskState.RUNNING, None)
    assert (the_task(engine).state, the_task(engine).try_number) == (TaskState.RUNNING, 2)
    assert [entry.event for entry in the_log(engine, "late")] == ["success"]


def test_end_that_was_told_twice_is_no_late_end(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("success", 2), a_late_end("success", 3))
    assert [(one.state, one.late) for one in the_tries(engine)] == [(TaskState.SUCCESS, None)]


def test_late_end_of_a_try_that_nobody_knows_is_kept(engine: Engine) -> None:
    record(engine, a_late_end("failed", 4, try_number=2))
    (kept,) = the_tries(engine)
    assert kept.late is not None
    assert (kept.try_number, kept.state, kept.late["state"]) == (2, TaskState.LOST, "failed")


def test_late_end_that_names_only_the_index_finds_its_task(engine: Engine) -> None:
    nameless = {name: value for name, value in a_late_end("success", 4).items() if name not in {"task", "dag", "run_id"}}
    record(engine, a_task_event("running", 1), a_task_event("lost", 2))
    record(engine, nameless, {**nameless, "index": 77})
    assert the_tries(engine)[0].late["state"] == "success"
    unknown = next(entry for entry in the_log(engine, "late") if entry.event == "task unknown")
    assert json.loads(unknown.detail)["index"] == 77


def test_run_that_sql_does_not_know_is_kept_and_filled_in_later(engine: Engine) -> None:
    record(engine, a_task_event("running", 1))
    with reading(engine) as connection:
        run = runs.find(connection, "r")
    assert (run.state, run.info, run.seq) == (RunState.RUNNING, None, 0)
    info = RunInfo(dag_id="d", run_id="r", run_type=SCHEDULED, version="v", logical_date=moment(0), data_interval_start=moment(0),
                   data_interval_end=moment(1), created_at=moment(2))
    assert run_in_transaction(engine, lambda connection: runs.create(connection, info)) is False
    record(engine, a_run_event("success", 3))
    with reading(engine) as connection:
        run = runs.find(connection, "r")
    assert (run.info, run.state) == (info, RunState.SUCCESS)
    assert the_task(engine).state is TaskState.RUNNING


def test_xcoms_are_replaced_and_deleted(engine: Engine) -> None:
    record(engine, an_xcom('{"a": "é\\u0000"}', 1), an_xcom('"x"', 1, key="k"), an_xcom("null", 2, task="u"))
    record(engine, an_xcom("7", 2), an_xcom(None, 2, key="k"))
    with reading(engine) as connection:
        assert xcoms.of_run(connection, KEY) == {"t": {"return_value": "7"}, "u": {"return_value": "null"}}
        assert xcoms.of_run(connection, KEY, ["u"]) == {"u": {"return_value": "null"}}


@pytest.mark.parametrize("broken", [
    {}, {"kind": "what"}, {**a_task_event("running", 1), "state": "dancing"}, {**a_task_event("running", 1), "run": ""},
    {**a_task_event("running", 1), "run": "0" * 16}, an_xcom("x" * 2_000_000, 1),
    {**a_task_event("running", 1), "task": "x" * 251}, {**a_task_event("running", 1), "seq": "-1"}, {**a_task_event("running", 1), "seq": "9" * 40},
    {**a_task_event("running", 1), "try": 1 << 40}, {**a_run_event("running", 1), "dag": "nul\0"}, an_xcom("1", 1, task="\ud800"), "no object",
    {**an_end("success", 1), "ended_at": "9" * 18}, {**a_task_event("running", 1), "started_at": "soon"},
])
def test_event_that_cannot_be_read_is_kept_and_disturbs_no_other(engine: Engine, broken: Any) -> None:
    record(engine, a_task_event("running", 1, task="before"), broken, a_task_event("running", 1, task="after"))
    record(engine, broken)
    with reading(engine) as connection:
        assert [task.task_id for task in tasks.of_run(connection, KEY)] == ["after", "before"]
    kept = the_log(engine, "unreadable")[0].detail
    assert len(kept) == event_log.MOST_KEPT or json.loads(kept)["event"] == broken


def test_what_a_person_did_in_redis_alone_is_a_deed_once(engine: Engine) -> None:
    deed = {"kind": "deed", "id": "0123456789abcdef", "seq": START, "state": "worker_paused", "who": "ann", "given": {"worker": "w\ud800.1"}}
    record(engine, deed, deed)
    record(engine, deed, {**deed, "id": "not an id, for it is too long"}, {**deed, "id": "fedcba9876543210", "given": []})
    assert [(one.event, one.who, one.detail) for one in the_log(engine, event_log.AUDIT)] == [
        ("worker_paused", "ann", ""), ("worker_paused", "ann", '{"worker": "w\\ud800.1"}')]
    assert len(the_log(engine, event_log.UNREADABLE)) == 1


def test_odd_text_and_facts_are_written_as_far_as_the_columns_go(engine: Engine) -> None:
    facts = {"exit_code": "137", "pid": 1 << 40, "signal": None, "cpu_seconds": float("inf"), "host": "h" * 300, "note": "\0\ud800", "gpu": [1, 2]}
    record(engine, an_end("failed", 2, reason="nul \0 surrogate \ud800 " + "long " * 500, facts=facts, worker="w" * 400))
    (one,) = the_tries(engine)
    assert (one.exit_code, one.pid, one.signal, one.cpu_seconds, one.host, one.worker) == (137, None, None, None, "h" * 250, "w" * 250)
    assert one.facts["gpu"] == [1, 2]
    assert one.facts["note"] == "\0\ud800"
    assert one.reason.startswith("nul \ufffd surrogate")
    assert len(one.reason) == 1000


def test_ids_that_differ_in_case_or_spaces_stay_apart(engine: Engine) -> None:
    names = ["t", "T", "t ", "é" * 250, "ｔ"]
    record(engine, *(event for name in names for event in (a_task_event("running", 1, task=name), an_xcom('"v"', 1, task=name, key=name))))
    with reading(engine) as connection:
        assert sorted(task.task_id for task in tasks.of_run(connection, KEY)) == sorted(names)
        assert xcoms.of_run(connection, KEY) == {name: {name: '"v"'} for name in names}


def test_two_recorders_at_once_do_no_harm(engine: Engine) -> None:
    events = [event for n in range(60) for event in (a_task_event("running", 1, task=f"t{n}"), an_end("success", 2, task=f"t{n}"))]
    batches = [events[at:at + 20] for at in range(0, len(events), 20)] * 3
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda batch: record(engine, *batch), batches))
    with reading(engine) as connection:
        assert tasks.counts(connection, [KEY]) == {KEY: {TaskState.SUCCESS: 60}}
        assert len(tasks.tries(connection, KEY)) == 60


# -- any order, any repetition, any batches

def _an_event(kind: str, where: tuple[str, str, int], step: int, choice: int) -> dict[str, Any]:
    """An event that is determined by its key: what the broker never does is to tell two things under one (try, seq)."""
    run_id, task, try_number = where
    if kind == "run":
        return a_run_event(["running", "success", "failed"][choice % 3], step, run_id)
    if kind == "xcom":
        return an_xcom(json.dumps([run_id, task, step]), step, task, run_id)
    if kind == "late":
        return a_late_end(["success", "failed"][choice % 2], step, task, try_number, run_id, execution=f"e{choice}")
    state = list(TaskState)[choice % len(TaskState)]
    if state in TERMINAL_STATES | {TaskState.UP_FOR_RETRY} and choice % 2:
        return an_end(state.value, step, task, try_number, run_id, facts={"exit_code": choice}, reason=f"reason {choice}")
    return a_task_event(state.value, step, task, try_number, run_id, execution=f"e{choice}")


_places = st.tuples(st.sampled_from("rs"), st.sampled_from("tu"), st.integers(1, 3))
_keys = st.tuples(st.sampled_from(["run", "xcom", "late", "ti", "ti", "ti"]), _places, st.integers(1, 9))


def _identity(key: tuple[str, tuple[str, str, int], int]) -> tuple[object, ...]:
    kind, where, step = key
    return kind, where[:{"run": 1, "xcom": 2}.get(kind, 3)], step


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Any], list[Sequence[Any]]]:
    """Events in the order of their making, and the batches in which they arrive: shuffled, repeated, cut anywhere."""
    keys = draw(st.lists(_keys, unique_by=_identity, min_size=1, max_size=25))
    events = [_an_event(*key, choice=draw(st.integers(0, 30))) for key in keys]
    arrived = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=10))))
    cuts = sorted(draw(st.lists(st.integers(0, len(arrived)), max_size=5)))
    return events, [arrived[start:end] for start, end in zip([0, *cuts], [*cuts, len(arrived)], strict=True)]


# A list of its own takes the place of the one in tests/conftest.py.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(delivery=deliveries())
def test_order_repetition_and_batches_do_not_matter(engine: Engine, delivery: tuple[list[Any], list[Sequence[Any]]]) -> None:
    events, batches = delivery
    results = []
    for order in ([sorted(events, key=lambda event: int(event["seq"]))], batches):
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        for batch in order:
            record(engine, *batch)
        results.append(everything(engine))
    assert results[0] == results[1]


def test_newest_state_of_a_batch_that_cannot_be_read_takes_no_older_one_with_it(engine: Engine) -> None:
    bad = {**an_end("success", 3), "index": "many"}
    record(engine, a_task_event("queued", 1), a_task_event("running", 2), bad)
    assert the_task(engine).state is TaskState.RUNNING
    with reading(engine) as connection:
        assert [tasks.tries(connection, KEY, "t")[0].state, *{one.kind for one in event_log.search(connection)} & {"unreadable"}] == [
            TaskState.RUNNING, "unreadable"]


def test_mark_that_follows_an_end_in_its_batch_leaves_the_try_as_it_ended(engine: Engine) -> None:
    record(engine, a_task_event("running", 1), an_end("failed", 2), a_task_event("success", 3))
    assert the_task(engine).state is TaskState.SUCCESS
    (ended,) = the_tries(engine)
    assert (ended.state, ended.exit_code, ended.host) == (TaskState.FAILED, 0, "node7")


def test_what_is_told_of_a_deleted_run_is_dropped_and_a_late_result_is_said(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    record(engine, a_task_event("running", 1, run_id="gone"), a_task_event("running", 1, run_id="kept"))
    with transaction(engine) as connection:
        key = about("gone")["run"]
        deletions.bury_run(connection, key, who="ann", keeps_logs=False, now=clock.utcnow())
        assert deletions.remove_rows(connection, deletions.to_do(connection, clock.EPOCH)[0])
    record(engine, an_end("success", 2, run_id="gone"), a_late_end("success", 3, run_id="gone"), an_end("success", 2, run_id="kept"))
    with reading(engine) as connection:
        assert [record.run_id for record in runs.search(connection)] == ["kept"]
        assert [record.state for record in tasks.of_run(connection, about("kept")["run"])] == [TaskState.SUCCESS]
        assert tasks.tries(connection, key) == []
    assert [record.getMessage() for record in caplog.records] == ["dropped: run gone of d was deleted, and a result of its task t comes too late"]
