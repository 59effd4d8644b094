"""The questions that people ask when a DAG, or a task of it, did not run as expected, each with its answer and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial

from rqflow import clock
from rqflow.actions import query, unsigned, why, why_dag
from rqflow.actions.verdict import Verdict
from rqflow.actions.why import Why
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.lock import has_leader
from rqflow.broker.status import WorkerStatus
from rqflow.dag import series, timetable
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import Conflict, DagNotFound
from rqflow.settings import Settings
from rqflow.states import TERMINAL_RUN_STATES, RunState, TaskState
from rqflow.store import dag_files, dags, deletions, runs, schedules
from rqflow.store.dags import DagRecord
from rqflow.store.engine import Connection, Engine, reading
from rqflow.store.runs import RunFilter, RunRecord

OK, WARNING, PROBLEM = Verdict
#: Runs, and names, that an answer lists at most.
_RUNS, _NAMES = 5, 5
_UNFINISHED = frozenset(RunState) - TERMINAL_RUN_STATES


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One question that people ask, and what is so."""

    question: str
    verdict: Verdict
    answer: str
    #: What to do; empty where nothing is to be done.
    remedy: str = ""


def _ok(question: str, answer: str, remedy: str = "") -> Answer:
    return Answer(question=question, verdict=OK, answer=answer, remedy=remedy)


def ask(broker: Broker, engine: Engine, settings: Settings, dag_id: str, task_id: str | None = None, *, viewer: tzinfo = UTC,
        visible: Collection[str] | None = None) -> list[Answer]:
    """Return the answers about a DAG, and about one of its tasks; what cannot be asked any more after a bad one is left out.

    Tasks of DAGs that are not `visible` (None: all are) are not named.
    """
    with reading(engine) as connection:
        record, buried = dags.get(connection, dag_id), deletions.tombstones(connection).get(dag_id)
        broken = [one for one in dag_files.broken(connection) if dag_id in one.dag_ids or (record is not None and one.path == record.file)]
        if buried is not None or record is None:
            return [_unknown(connection, dag_id, buried is not None)]
        version = dags.version(connection, record.version) if record.version else None
        followed = schedules.get(connection, dag_id)
        newest = runs.search(connection, RunFilter(dag_id=dag_id), limit=_RUNS)
        active = [run.run_id for run in runs.search(connection, RunFilter(dag_id=dag_id, states=_UNFINISHED))]
    answers = [_ok("Is the DAG known?", f"yes, from {record.file or 'a submit'}, last changed {record.updated_at:%Y-%m-%d %H:%M:%S} UTC")]
    if broken:
        answers.append(Answer(question="Can its file be loaded?", verdict=PROBLEM, answer=f"no: {broken[0].errors[0]}; the last good version stays",
                              remedy="Mend the file; rqflow dag list --errors shows all"))
    answers += _of_record(record)
    if version is None:
        return [*answers, Answer(question="Is a version of it known?", verdict=PROBLEM, answer="none", remedy="rqflow submit FILE")]
    due = followed.next_run_at if followed else None
    answers += _of_schedule(version, due, settings, viewer)
    answers += [_of_room(version, active), _of_leader(broker, version)]
    answers.append(_of_next(broker, engine, dag_id, viewer))
    answers.append(_of_last(newest))
    if task_id is None:
        return answers
    return [*answers, *_of_task(broker, engine, version, newest, task_id, partial(why.task, broker, viewer=viewer, visible=visible))]


def _unknown(connection: Connection, dag_id: str, is_deleted: bool) -> Answer:
    """Say that there is no such DAG, and which one may be meant."""
    if is_deleted:
        return Answer(question="Is the DAG known?", verdict=PROBLEM, answer=f"no: {dag_id} was deleted, and stays so though its file may be there",
                      remedy="rqflow submit FILE, or rqflow dag sync --restore, brings it back")
    try:
        dags.find(connection, dag_id)
    except DagNotFound as error:
        return Answer(question="Is the DAG known?", verdict=PROBLEM, answer=f"no. {error.hint}".strip(),
                      remedy="rqflow submit FILE; rqflow dag validate FILE says whether it makes this DAG")
    raise AssertionError("asked before")


def _of_record(record: DagRecord) -> Iterator[Answer]:
    """Say what of the DAG itself keeps scheduled runs from starting."""
    if not record.is_active:
        yield Answer(question="Is its file there?", verdict=PROBLEM, answer=f"{record.file} was removed from the folder of DAGs, or makes it no more",
                     remedy="Put the file back, or: rqflow submit FILE")
    if record.is_paused:
        signed = record.pause_reason == unsigned.NEVER_SIGNED
        yield Answer(question="Is it paused?", verdict=PROBLEM, answer=f"yes: {record.paused_because}; runs that were started by hand go on",
                     remedy=unsigned.HOW.replace("`", "") if signed else f"rqflow dag unpause {record.dag_id}")
    else:
        yield _ok("Is it paused?", "no")
    if record.unsigned:
        blocks = record.unsigned == record.version
        yield Answer(question="Is it signed?", verdict=PROBLEM if blocks else WARNING, answer=unsigned.words(blocks).partition(": `")[0],
                     remedy=unsigned.HOW.replace("`", ""))


def _of_schedule(version: Version, due: datetime | None, settings: Settings, viewer: tzinfo) -> Iterator[Answer]:
    """Say what its schedule means."""
    now, by_hand = clock.utcnow(), f"rqflow run start {version.dag_id}"
    if version.schedule is None:
        yield Answer(question="What is its schedule?", verdict=WARNING, answer="none: runs are started by hand alone", remedy=by_hand)
        return
    yield _ok("What is its schedule?", f"{timetable.plain(version.schedule)}, by the clock of {version.timezone}")
    start = series.moment(version.start_date) if version.start_date else None
    if start is not None and start > now:
        yield Answer(question="Has its start_date come?", verdict=PROBLEM, answer=f"no: {timetable.by_clocks(start, version.timezone, viewer)}",
                     remedy=f"the time; or {by_hand}")
    elif start is not None:
        yield _ok("Has its start_date come?", f"yes: {version.start_date}")
    if version.end_date and due is None:
        yield Answer(question="Is its end_date over?", verdict=PROBLEM, answer=f"yes: {version.end_date}, so that no date is left",
                     remedy="a later end_date in the file")
    makes_up = series.makes_up(version, settings.scheduler.catchup_by_default)
    said = "as its file says" if version.catchup is not None else "as scheduler.catchup_by_default says, for its file says nothing"
    if makes_up:
        yield _ok("Are past dates made up for (catchup)?", f"yes, {said}")
    else:
        yield _ok("Are past dates made up for (catchup)?", f"no, {said}: of the dates that passed while it was paused only the last one has a run",
                  f"rqflow backfill start {version.dag_id} --from DATE --to DATE runs them")


def _of_room(version: Version, active: Sequence[str]) -> Answer:
    question, most = "Is there room for another run (max_active_runs)?", 1 if series.is_continuous(version) else version.max_active_runs
    if len(active) >= most:
        return Answer(question=question, verdict=PROBLEM, answer=f"no: {len(active)} of {most} are active: {', '.join(active[:_NAMES])}",
                      remedy="their end; rqflow why RUN says where each task of one is; or a larger max_active_runs in the file")
    return _ok(question, f"yes: {len(active)} of {most} are active")


def _of_leader(broker: Broker, version: Version) -> Answer:
    if has_leader(broker.connection):
        return _ok("Does a scheduler run?", "yes, one leads")
    verdict = WARNING if version.schedule is None else PROBLEM
    return Answer(question="Does a scheduler run?", verdict=verdict, answer="none leads: nothing starts by schedule, no retry comes back",
                  remedy="rqflow up, or rqflow scheduler")


def _of_next(broker: Broker, engine: Engine, dag_id: str, viewer: tzinfo) -> Answer:
    found = why_dag.dag(broker, engine, dag_id, viewer)
    more = ". A run stands for the time before it starts: its logical date is one interval earlier" if found.next_run_at else ""
    return _ok("When does its next run start?", f"{found.reason}{more}", found.lifted_by.replace("`", ""))


def _of_last(newest: Sequence[RunRecord]) -> Answer:
    question = "How did its last runs end?"
    if not newest:
        return Answer(question=question, verdict=WARNING, answer="it never had a run")
    said = ", ".join(f"{run.run_id} {run.state.value}" for run in newest)
    if newest[0].state is RunState.FAILED:
        return Answer(question=question, verdict=PROBLEM, answer=said, remedy=f"rqflow run logs {newest[0].run_id} --failed")
    return _ok(question, said)


def _of_task(broker: Broker, engine: Engine, version: Version, newest: Sequence[RunRecord], task_id: str,
             why_task: Callable[[Version, str, int], Why]) -> Iterator[Answer]:
    """Say what a task needs, and where it is in the newest run."""
    spec = next((one for one in version.tasks if one.task_id == task_id), None)
    if spec is None:
        names = ", ".join(one.task_id for one in version.tasks[:_NAMES])
        yield Answer(question="Has the DAG this task?", verdict=PROBLEM, answer=f"no; it has {names}{' …' if len(version.tasks) > _NAMES else ''}",
                     remedy=f"rqflow task list {version.dag_id}")
        return
    yield _ok("Has the DAG this task?", f"yes: {spec.operator_name}")
    above = [version.tasks[index].task_id for index in spec.upstream]
    waits = f"{spec.trigger_rule} of {', '.join(above[:_NAMES])}{' …' if len(above) > _NAMES else ''}"
    yield _ok("What must have ended before it (trigger rule)?", waits if above else "nothing: it is one of the first")
    yield from _of_past(spec)
    yield _ok("How often is it tried (retries)?", f"{spec.retries + 1} times, {spec.retry_delay:g} s apart" if spec.retries else
              "once: a failure is one for good", "" if spec.retries else "retries=2 in the file")
    yield from _of_queue(broker, spec, broker.workers())
    yield _of_pool(broker, spec)
    yield _of_newest(broker, engine, newest, spec, why_task)


def _of_past(spec: TaskSpec) -> Iterator[Answer]:
    past = [name for name in ("depends_on_past", "wait_for_downstream") if getattr(spec, name)]
    if past:
        yield _ok("Does it depend on the run before?", f"yes ({', '.join(past)}): while that failed, or has not ended, it waits",
                  "rqflow task clear or rqflow task mark there")
    else:
        yield _ok("Does it depend on the run before?", "no")


def _of_queue(broker: Broker, spec: TaskSpec, workers: Sequence[WorkerStatus]) -> Iterator[Answer]:
    question = f"Does a live worker serve its queue, {spec.queue}?"
    serving = [one for one in workers if spec.queue in one.queues]
    if not serving:
        others = sorted({queue for one in workers for queue in one.queues})
        yield Answer(question=question, verdict=PROBLEM, answer=f"none; those that live serve {', '.join(others)}" if others else "no worker lives",
                     remedy=f"rqflow worker -Q {spec.queue}")
        return
    yield _ok(question, ", ".join(f"{one.name} ({one.state}, {one.running} of {one.slots} slots)" for one in serving[:_NAMES]))
    if halt := control.paused_queues(broker).get(spec.queue):
        yield Answer(question="Is the queue paused?", verdict=PROBLEM, answer=f"yes, by {halt.by} since {halt.since:%Y-%m-%d %H:%M:%S} UTC",
                     remedy=f"rqflow queue resume {spec.queue}")
    wanted = set(spec.worker_labels)
    if wanted and not any(wanted <= set(one.labels) for one in serving):
        yield Answer(question="Has one of them its labels?", verdict=PROBLEM, answer=f"none has {', '.join(spec.worker_labels)}",
                     remedy=f"rqflow worker -Q {spec.queue} --label {spec.worker_labels[0]}")
    if all(one.running >= one.slots for one in serving):
        yield Answer(question="Is a slot free?", verdict=WARNING, answer="all are taken", remedy="rqflow top; more slots, or another worker")


def _of_pool(broker: Broker, spec: TaskSpec) -> Answer:
    pool, question = broker.pools().get(spec.pool), f"Is there room in its pool, {spec.pool}?"
    if pool is None:
        return Answer(question=question, verdict=PROBLEM, answer="there is no such pool", remedy=f"rqflow pool set {spec.pool} N")
    if pool.slots is None:
        return _ok(question, "yes: it limits nothing")
    if pool.used + spec.pool_slots > pool.slots:
        return Answer(question=question, verdict=WARNING, answer=f"no: {pool.used} of {pool.slots} slots are in use, and {pool.parked} tasks wait",
                      remedy=f"a free slot, or rqflow pool set {spec.pool} N")
    return _ok(question, f"yes: {pool.used} of {pool.slots} slots are in use")


def _of_newest(broker: Broker, engine: Engine, newest: Sequence[RunRecord], spec: TaskSpec, why_task: Callable[[Version, str, int], Why]) -> Answer:
    """Say where the task is in the newest run, and why."""
    if not newest:
        return _ok("Where is it in the newest run?", "there was no run yet")
    run = newest[0]
    question = f"Where is it in the newest run, {run.run_id}?"
    version = query.version_of(broker, engine, run)
    index = next((one.index for one in version.tasks if one.task_id == spec.task_id), None)
    if index is None:
        return Answer(question=question, verdict=WARNING, answer="that run is of a version without it", remedy=f"rqflow run start {run.dag_id}")
    try:
        found = why_task(version, run.run_key, index)
        state, said, remedy = found.state, f"{found.state.value}: {found.reason}", found.lifted_by.replace("`", "")
    except Conflict:
        task = next((one for one in query.show(broker, engine, run.run_key).tasks if one.task_id == spec.task_id), None)
        if task is None:
            return _ok(question, "nothing happened to it")
        state, said, remedy = task.state, f"{task.state.value}{f': {task.reason}' if task.reason else ''}", ""
    if state in {TaskState.FAILED, TaskState.LOST, TaskState.UPSTREAM_FAILED}:
        return Answer(question=question, verdict=PROBLEM, answer=said, remedy=remedy or f"rqflow task logs {run.run_id} {spec.task_id}")
    return _ok(question, said, remedy)
