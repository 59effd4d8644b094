"""Tasks that are claimed ahead of the slots: they wait with the shepherd, begin when others end, or go back to their queue."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from pathlib import Path

from rqflow.worker.ahead import PATIENCE
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import PROTOCOL
from tests.integration.worker.conftest import Herd, Site
from tests.profile import PATIENCE as LONG
from tests.unit.builders import a_version
from tests.waiting import is_alive, until

#: Tells when it begins, and waits for a word.
WAITS = "echo $RQFLOW_TASK_ID >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.02; done"


def began(site: Site) -> list[str]:
    path = site.folder / "began"
    return path.read_text().split() if path.exists() else []


def waits(herd: Herd, patience: float = LONG, slots: int = 1) -> str:
    return herd.bash("echo begun", slots=slots, patience=patience)


def blocker(herd: Herd) -> str:
    """A process that ends when told."""
    return herd.bash(f"while [ ! -e {herd.folder}/go ]; do sleep 0.01; done")


# -------------------------------------------------------------------- the shepherd

def test_a_process_that_waits_for_its_slot_starts_when_another_has_ended(herd: Herd) -> None:
    assert herd.client.has_slots
    first = blocker(herd)
    names = [waits(herd) for _ in range(3)]
    herd.run("true")
    assert [herd.log(name) for name in names] == [b""] * 3
    (herd.folder / "go").touch()
    ends = [herd.end(name) for name in (first, *names)]
    assert [end.status for end in ends] == [0] * 4
    for before, after in itertools.pairwise(ends):
        assert before.ended <= after.started, "one slot, one process"


def test_a_process_that_waited_too_long_is_never_started(herd: Herd) -> None:
    blocker(herd)
    late = herd.end(waits(herd, patience=0.1))
    assert (late.late, late.pid, late.status) == (True, 0, None)
    (herd.folder / "go").touch()
    assert herd.run("true").status == 0
    assert herd.log(late.id) == b""
    assert late.id not in (herd.folder / "shepherd.journal").read_text()


def test_a_process_that_is_killed_while_it_waits_is_never_started(herd: Herd) -> None:
    blocker(herd)
    name = waits(herd)
    herd.client.kill(name, "cancelled", 0.0)
    herd.client.flush()
    assert herd.end(name).late
    assert herd.log(name) == b""


def test_what_waits_is_not_started_once_its_worker_is_gone(herd: Herd) -> None:
    first = blocker(herd)
    name = waits(herd)
    herd.run("true")
    _, running, _ = herd.again()
    assert [entry.id for entry in running] == [first]
    (herd.folder / "go").touch()
    herd.end(first)
    assert herd.run("true").status == 0
    assert herd.log(name) == b""


def test_ends_are_told_soon_although_others_wait(herd: Herd) -> None:
    """Ends are gathered while the next processes are at hand, for a moment only."""
    blocker(herd)
    waits(herd, slots=2)
    waits(herd, slots=1)
    began_at = time.monotonic()
    herd.run("true")
    assert time.monotonic() - began_at < LONG / 2


# -------------------------------------------------------------------- the worker

def test_short_tasks_are_claimed_ahead_and_never_run_beside_more_than_there_are_slots(site: Site) -> None:
    """Each makes a folder of the first number that is free: as many numbers as ever ran at a time."""
    alone = f"for n in 1 2 3 4 5 6; do mkdir {site.folder}/run.$n 2>/dev/null && break; done; echo $n >> {site.folder}/numbers; rmdir {site.folder}/run.$n"
    tasks = [f"t{number}" for number in range(150)]
    run = site.run(a_version(tasks, commands=dict.fromkeys(tasks, alone)))
    site.work(slots=2)
    assert set(site.states(run).values()) == {"success"}
    numbers = (site.folder / "numbers").read_text().split()
    assert (len(numbers), set(numbers) <= {"1", "2"}) == (150, True)
    turns = [sum(event["kind"] == "ti" and event["state"] == "running" for event in found) for found in told(site)]
    assert max(turns) > 2, "more than there are slots were claimed at once"
    until(lambda: all("exit code 0" in site.log(run, task) for task in tasks), what="all logs")


def told(site: Site) -> list[list[dict[str, str]]]:
    """The events of each step."""
    return [json.loads(fields[b"e"]) for _, fields in site.db.xrange("rqflow:events")]


def test_what_was_claimed_ahead_goes_to_others_when_the_slots_are_taken_for_long(site: Site) -> None:
    """Twenty short tasks, then long ones: those that one worker has too many of, the other one runs."""
    short, long = [f"s{number:02d}" for number in range(20)], [f"l{number}" for number in range(4)]
    command = WAITS.format(folder=site.folder)
    run = site.run(a_version(short + long, commands=dict.fromkeys(long, command)))
    site.start(slots=2)
    until(lambda: len(began(site)) == 2, what="one worker's slots to be taken")
    site.start(slots=2, work_dir=str(site.folder / "other"))
    until(lambda: len(began(site)) == 4, what=f"the others to begin: {site.states(run)} {site.said()}")
    (site.folder / "go").touch()
    until(lambda: set(site.states(run).values()) == {"success"}, what="all to end")
    assert sorted(began(site)) == long, "each once"
    assert {status.try_number for status in site.broker.task_statuses(run.key)} == {1}


def test_a_worker_that_is_told_to_stop_leaves_nothing_that_it_claimed_ahead(site: Site) -> None:
    tasks = [f"t{number:03d}" for number in range(400)]
    run = site.run(a_version(tasks, commands=dict.fromkeys(tasks, f"echo $RQFLOW_TASK_ID >> {site.folder}/began")))
    worker = site.start(slots=2)
    until(lambda: len(began(site)) > 60, what="some to run")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG) == 0
    assert list(site.states(run).values()).count("running") <= 2, "what has a slot, and no more"
    site.work(slots=2)
    until(lambda: set(site.states(run).values()) == {"success"}, what="all to end")
    assert sorted(began(site)) == tasks, "each once"


def test_a_worker_that_is_killed_leaves_what_it_claimed_ahead_to_the_next_one(site: Site) -> None:
    tasks = [f"t{number:03d}" for number in range(300)]
    run = site.run(a_version(tasks, commands=dict.fromkeys(tasks, f"echo $RQFLOW_TASK_ID >> {site.folder}/began")))
    worker = site.start(slots=2)
    until(lambda: len(began(site)) > 60, what="some to run")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    site.work(slots=2)
    until(lambda: set(site.states(run).values()) == {"success"}, what="all to end")
    assert sorted(began(site)) == tasks, "each once"
    assert {status.try_number for status in site.broker.task_statuses(run.key)} == {1}


def test_a_run_is_cancelled_with_what_was_claimed_ahead(site: Site) -> None:
    tasks = [f"t{number:03d}" for number in range(300)]
    run = site.run(a_version(tasks, commands=dict.fromkeys(tasks, f"echo $RQFLOW_TASK_ID >> {site.folder}/began")))
    site.start(slots=2)
    until(lambda: len(began(site)) > 60, what="some to run")
    site.broker.cancel_run(run.key, "somebody")
    until(lambda: set(site.states(run).values()) == {"success", "cancelled"}, what="the run to end")
    done = sum(state == "success" for state in site.states(run).values())
    assert done <= len(began(site)) < 300
    assert len(set(began(site))) == len(began(site)), "each once"


def test_a_shepherd_that_dies_with_starts_waiting_loses_none(site: Site) -> None:
    tasks = [f"t{number:03d}" for number in range(200)]
    command = f"echo $RQFLOW_TASK_ID >> {site.folder}/began; sleep 0.005"
    run = site.run(a_version(tasks, commands=dict.fromkeys(tasks, command), each={"retries": 3, "retry_delay": 0.0}))
    site.start(slots=2)
    until(lambda: len(began(site)) > 60, what="some to run")
    client = ShepherdClient(site.folder / "work", env={}, linger=1.0, role="")
    client.connect()
    client.close()
    os.kill(client.pid, signal.SIGKILL)
    until(lambda: not is_alive(client.pid), what="it to die")
    until(lambda: set(site.states(run).values()) == {"success"}, what=f"all to end: {site.said()[-2000:]}")
    assert set(began(site)) == set(tasks)


def test_protocol_of_today_knows_of_slots(tmp_path: Path) -> None:
    client = ShepherdClient(tmp_path, env={"PATH": os.environ["PATH"]}, linger=0.0)
    client.connect()
    assert (client.has_slots, PROTOCOL >= 2, PATIENCE < 1.0) == (True, True, True)
    pid = client.pid
    client.close()
    until(lambda: not is_alive(pid), what="the shepherd to end")
