"""People steer queues and workers: paused, drained, stopped, emptied; each as the commands do it."""

from __future__ import annotations

import signal

import pytest

from rqflow.actions import steering
from rqflow.broker import control, standing
from rqflow.broker.messages import Ending
from rqflow.broker.status import WorkerStatus
from rqflow.dag.run import RunInfo
from rqflow.exceptions import NotFound, UsageError
from rqflow.worker.loop import DRAIN, KILL
from tests.integration.worker.conftest import Site
from tests.profile import KILL_GRACE, PATIENCE
from tests.unit.builders import a_version
from tests.waiting import until


def registered(site: Site) -> WorkerStatus:
    """Wait for the worker, until it hears commands too."""
    # What it says of itself is in two records.
    worker = until(lambda: [one for one in site.broker.workers() if one.clock_offset is not None and one.version], what="the worker to register, and to beat")[0]
    until(lambda: site.db.pubsub_numsub(f"rq:pubsub:{worker.name}")[0][1], what="the worker to listen")
    return worker


def test_r17_a_worker_is_paused_and_drained(site: Site) -> None:
    held = site.run(a_version(["t"], commands={"t": "sleep 1"}))
    process = site.start(slots=2)
    site.until(held, "running")
    worker = registered(site)
    control.pause_worker(site.broker, worker.name, "ann")
    until(lambda: site.broker.workers()[0].state == "paused", what="the worker to pause")
    about = steering.about(site.broker, worker)
    assert (about["paused_by"], [task["task_id"] for task in about["tasks"]]) == ("ann", ["t"])
    other = site.run(a_version(["t"]), run_id="r2")
    site.until(held, "success")
    assert site.task(other).state == "queued"
    assert control.resume_worker(site.broker, worker.name)
    site.until(other, "success")
    last = site.run(a_version(["t"], commands={"t": "sleep 1"}), run_id="r3")
    site.until(last, "running")
    steering.stop(site.broker, worker, DRAIN)
    until(lambda: site.broker.workers()[0].state == "draining", what="the worker to say that it drains")
    late = site.run(a_version(["t"]), run_id="r4")
    assert process.wait(PATIENCE) == 0
    assert (site.task(last).state, site.task(late).state) == ("success", "queued")
    steering.wait_gone(site.broker, [worker.name], None)


def test_r17_a_worker_stopped_now_gives_its_task_back_with_its_try(site: Site) -> None:
    run = site.command("sleep 1000")
    process = site.start()
    site.until(run, "running")
    steering.stop(site.broker, registered(site), KILL)
    assert process.wait(KILL_GRACE + PATIENCE) == 0
    status = site.task(run)
    assert (status.state, status.try_number) == ("queued", 1)


def test_a_paused_queue_gives_no_work_and_says_since_when(site: Site) -> None:
    site.start()
    registered(site)
    control.pause_queue(site.broker, "default", "ann")
    run = site.command("true")
    one, = control.queues(site.broker)
    assert (one.name, one.waiting, one.running, one.workers, one.paused_by) == ("default", 1, 0, 1, "ann")
    assert steering.queue(site.broker, "default") == one
    assert control.resume_queue(site.broker, "default")
    assert not control.resume_queue(site.broker, "default")
    site.until(run, "success")
    with pytest.raises(NotFound):
        steering.queue(site.broker, "nope")


def test_a_queue_is_emptied(site: Site) -> None:
    run = site.run(a_version({"t": [], "below": ["t"]}))
    assert [one.task_id for one in steering.empty(site.broker, "default", "ann")] == ["t"]
    assert site.states(run) == {"t": "cancelled", "below": "cancelled"}
    assert steering.empty(site.broker, "default", "ann") == []


def test_workers_are_named_by_the_beginning_or_their_host(site: Site) -> None:
    for name in ("one.aa.1", "one.ab.2", "two.cc.3"):
        site.db.sadd("rq:workers", f"rq:worker:{name}")
        site.db.hset(f"rq:worker:{name}", mapping={"hostname": name.split(".")[0], "queues": "default"})
    assert [one.name for one in steering.workers(site.broker, ["two", "one.aa", "two.cc.3"])] == ["two.cc.3", "one.aa.1"]
    with pytest.raises(UsageError, match=r"one is not one worker: one\.aa\.1, one\.ab\.2"):
        steering.workers(site.broker, ["one"])
    with pytest.raises(NotFound, match="there is no live worker nope"):
        steering.workers(site.broker, ["nope"])


STUBBORN = "trap 'echo INT >> said' INT; trap 'echo TERM >> said' TERM; echo begun >> said; while :; do sleep 0.05; done"


def begun(site: Site) -> RunInfo:
    """A run whose task ignores signals, on a worker that would wait for an hour before it kills."""
    run = site.command(STUBBORN, retries=3, fields={"cwd": str(site.folder)})
    site.start(environ={"RQFLOW__WORKER__KILL_GRACE": "1h"})
    heard(site, "begun")
    return run


def heard(site: Site, *words: str) -> None:
    """Wait until the task has said all of this."""
    file = site.folder / "said"
    until(lambda: file.exists() and file.read_text().split() == list(words), what=f"the task to say {words}")


def test_a_person_says_how_long_a_cancelled_task_may_take(site: Site) -> None:
    run = begun(site)
    site.broker.cancel_run(run.key, "ann", Ending(grace=KILL_GRACE))
    assert site.until(run, "cancelled").try_number == 1
    heard(site, "begun", "TERM")


def test_a_cancel_that_is_under_way_is_hurried(site: Site) -> None:
    run = begun(site)
    site.broker.cancel_run(run.key, "ann")
    heard(site, "begun", "TERM")
    site.broker.cancel_run(run.key, "ann")
    assert site.task(run).state == "running"
    site.broker.cancel_run(run.key, "ann", Ending(grace=0))
    site.until(run, "cancelled")


def test_a_task_is_told_by_the_signal_that_a_person_names(site: Site) -> None:
    run = begun(site)
    site.broker.cancel_task(run.key, "t", "ann", Ending(number=signal.SIGINT))
    heard(site, "begun", "INT")
    assert site.task(run).state == "running"
    site.broker.cancel_task(run.key, "t", "ann", Ending(grace=0))
    site.until(run, "cancelled")
    heard(site, "begun", "INT")


def test_what_a_person_says_last_of_a_task_or_its_run_counts(site: Site) -> None:
    run = begun(site)
    site.broker.cancel_task(run.key, "t", "ann", Ending(grace=3600, number=signal.SIGINT))
    heard(site, "begun", "INT")
    site.broker.cancel_run(run.key, "ann", Ending(grace=3600))
    heard(site, "begun", "INT", "TERM")
    site.broker.cancel_run(run.key, "ann", Ending(grace=0))
    site.until(run, "cancelled")


def test_how_a_task_was_ended_is_forgotten_when_it_runs_again(site: Site) -> None:
    run = begun(site)
    site.broker.cancel_run(run.key, "ann", Ending(grace=0))
    site.broker.cancel_task(run.key, "t", "ann", Ending(grace=0))
    site.until(run, "cancelled")
    site.broker.clear(run.key, [0], "ann")
    heard(site, "begun", "begun")
    site.broker.cancel_run(run.key, "ann")
    heard(site, "begun", "begun", "TERM")
    assert site.task(run).state == "running"
    site.broker.cancel_run(run.key, "ann", Ending(grace=0))
    site.until(run, "cancelled")


def test_a_worker_that_is_not_heard_of_is_listed_as_such_until_it_comes_back(site: Site) -> None:
    process = site.start()
    worker = registered(site)
    assert worker.clock_offset is not None
    assert (abs(worker.clock_offset) < 1, bool(worker.disk_free), worker.linked_since is not None, bool(worker.version)) == (True, True, True, True)
    assert standing.all_workers(site.broker, site.broker.workers())[0].unreachable_since is None
    process.kill()
    process.wait()
    one, = standing.all_workers(site.broker, [])
    assert (one.name, one.state, one.queues, one.slots) == (worker.name, "unreachable", ("default",), 4)
    assert one.unreachable_since
    next_one = site.start()
    until(lambda: standing.all_workers(site.broker, site.broker.workers())[0].name != worker.name, what="the next worker to take its place")
    next_one.terminate()
    assert next_one.wait(PATIENCE) == 0
    assert not standing.all_workers(site.broker, [])
