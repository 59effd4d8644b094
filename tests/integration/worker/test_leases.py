"""Workers that cannot be reached, are cut off for longer than a grace, sleep, or die with claims in their hands."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rqflow.broker.watch import Held, Watch
from rqflow.dag.run import RunInfo
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.scheduler.recovery import Recovery
from rqflow.states import TaskState
from rqflow.store.engine import Engine, open_engine
from tests.integration.worker.conftest import Site
from tests.profile import GRACE, KILL_GRACE, LEASE
from tests.proxy import Proxy
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until

#: Holds a lock that nobody else may hold at the same time, says so, and ends when told.
ALONE = "mkdir alone || { echo two at once >> doubled; exit 1; }; trap 'rmdir alone' EXIT; echo $$ >> started; while [ ! -e go ]; do sleep 0.05; done"
#: The same, but it takes a while to end when it is told to.
CLINGING = ALONE.replace("trap 'rmdir alone' EXIT", f"trap 'trap - TERM; sleep {KILL_GRACE / 2}; exit 1' TERM; trap 'rmdir alone' EXIT")
#: A broken link is noticed after this many seconds.
NOTICED = "1s"


@pytest.fixture
def tunnel(redis_url: str) -> Iterator[Proxy]:
    """The tunnel of a worker to the site's Redis."""
    with Proxy(redis_url.partition("://")[2].partition("?")[0]) as proxy:
        yield proxy


class Hub:
    """The leader's recovery, one look at a time."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self._site, self._engine = site, engine
        self._recovery = self.another()

    def another(self) -> Recovery:
        """The recovery of the next leader."""
        return Recovery(self._site.broker, EpochKeeper(self._site.broker, self._engine))

    def until(self, run: RunInfo, **wanted: Any) -> Any:
        """Go on looking until the task is as wanted."""
        def is_so() -> Any:
            self._recovery.step()
            found = self._site.task(run)
            return found if all(getattr(found, name) == value for name, value in wanted.items()) else None

        return until(is_so, what=f"the task to be {wanted}: {self._site.said()}")

    def until_unreachable(self, run: RunInfo) -> Any:
        def is_so() -> Any:
            self._recovery.step()
            found = self._site.task(run)
            return found if found.unreachable_since else None

        return until(is_so, what=f"the task to be unreachable: {self._site.said()}")

    def look(self) -> None:
        self._recovery.step()


@pytest.fixture
def hub(site: Site, sqlite_template: Path, tmp_path: Path) -> Iterator[Hub]:
    engine = open_engine(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'hub.db')}")
    yield Hub(site, engine)
    engine.dispose()


def behind(site: Site, tunnel: Proxy, name: str = "work", **environ: str) -> subprocess.Popen[bytes]:
    """Start a worker on the far side of the tunnel."""
    return site.start(url=tunnel.redis_url, work_dir=str(site.folder / name), environ={"RQFLOW__REDIS__SOCKET_TIMEOUT": NOTICED, **environ})


def waiting_for_a_bell(site: Site, tunnel: Proxy, name: str) -> subprocess.Popen[bytes]:
    """Start a worker behind the tunnel; when it next asks for work there is some, because it does so by a bell and by no heartbeat."""
    worker = behind(site, tunnel, name, RQFLOW__WORKER__HEARTBEAT="60s")
    until(lambda: any(client["cmd"] == "blpop" and "b" in client["flags"] for client in site.db.client_list()), what="the worker to wait for a bell")
    return worker


def begin(site: Site, command: str = ALONE, **task: Any) -> RunInfo:
    return site.run(a_version(specs=[a_task("t", command, fields={"cwd": str(site.folder)}, **task)]))


def pids(site: Site) -> list[int]:
    path = site.folder / "started"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def go(site: Site) -> None:
    (site.folder / "go").touch()


def assert_never_two_at_once(site: Site) -> None:
    assert not (site.folder / "doubled").exists()


@pytest.mark.parametrize("fault", ["reset", "black_hole"])
def test_link_lost_is_not_task_lost(site: Site, tunnel: Proxy, hub: Hub, fault: str) -> None:
    """Reliability 5, 6, 9: the task counts as running still, is shown as unreachable, and ends once."""
    run = begin(site)
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    getattr(tunnel, fault)()
    status = hub.until_unreachable(run)
    assert (status.state, status.assumed_until) == (TaskState.RUNNING, None)
    go(site)
    until(lambda: not is_alive(pids(site)[0]), what="the task to end")
    hub.look()
    assert site.task(run).state is TaskState.RUNNING
    tunnel.heal()
    status = hub.until(run, state=TaskState.SUCCESS)
    assert (status.try_number, len(pids(site)), status.unreachable_since) == (1, 1, None)


def test_worker_heard_of_again_has_its_task_running_as_before(site: Site, tunnel: Proxy, hub: Hub) -> None:
    run = begin(site, grace=60.0)
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    tunnel.refuse()
    status = hub.until_unreachable(run)
    assert (status.assumed_until - status.unreachable_since).total_seconds() == 60.0
    tunnel.heal()
    hub.until(run, state=TaskState.RUNNING, unreachable_since=None)
    assert [event["state"] for event in site.events() if event["kind"] == "note"] == ["unreachable", "reachable"]
    assert is_alive(pids(site)[0])
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 1


def test_without_a_grace_nothing_is_killed_however_long_the_hub_is_away(site: Site, tunnel: Proxy, hub: Hub) -> None:
    """Reliability 8, second half."""
    run = begin(site)
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    tunnel.refuse()
    since = hub.until_unreachable(run).unreachable_since
    until(lambda: hub.look() or (site.broker.now() - since).total_seconds() > 3 * LEASE, what="three leases to pass")
    assert is_alive(pids(site)[0])
    assert site.task(run).state is TaskState.RUNNING
    tunnel.heal()
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 1
    assert len(pids(site)) == 1


@pytest.mark.parametrize("worker_is", ["alive", "killed", "stopped"])
def test_after_its_grace_a_task_is_dead_before_it_runs_elsewhere(site: Site, tunnel: Proxy, hub: Hub, worker_is: str) -> None:
    """Reliability 8: the shepherd ends it, whatever became of the worker; only then is there a second try."""
    run = begin(site, grace=GRACE, retries=1, retry_delay=0.0)
    worker = behind(site, tunnel, "far")
    until(lambda: pids(site), what="the task to start")
    tunnel.refuse()
    if worker_is == "killed":
        worker.kill()
    elif worker_is == "stopped":
        worker.send_signal(signal.SIGSTOP)
    site.start(work_dir=str(site.folder / "near"))
    hub.until(run, try_number=2, state=TaskState.RUNNING)
    assert not is_alive(pids(site)[0])
    until(lambda: len(pids(site)) == 2, what="the second try to start")
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 2
    assert_never_two_at_once(site)
    if worker_is == "alive":
        tunnel.heal()
        late = until(lambda: [event for event in site.events() if event["kind"] == "late"], what="the late end to be told")
        assert [(event["try"], event["state"]) for event in late] == [(1, "lost")]
        assert site.task(run).state is TaskState.SUCCESS
    worker.send_signal(signal.SIGCONT)


def test_a_task_whose_links_hold_outlives_its_grace(site: Site, tunnel: Proxy, hub: Hub) -> None:
    run = begin(site, grace=GRACE)
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    started_at = site.task(run).started_at
    until(lambda: (site.broker.now() - started_at).total_seconds() > 1.5 * GRACE, what="more than a grace to pass")
    hub.look()
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 1


def test_fence_outlives_the_shepherd(site: Site, tunnel: Proxy, hub: Hub) -> None:
    run = begin(site, grace=GRACE)
    behind(site, tunnel)
    pid = until(lambda: pids(site), what="the task to start")[0]
    tunnel.refuse()
    os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    until(lambda: not is_alive(pid), what="the next shepherd to end it")
    hub.until(run, state=TaskState.LOST)
    assert len(pids(site)) == 1


def test_a_machine_that_slept_over_its_grace_ends_its_task_at_once(site: Site, hub: Hub) -> None:
    """Reliability 14: worker, shepherd and task stand still, as in a laptop that sleeps, and go on after the task was given away."""
    run = begin(site, grace=GRACE, retries=1, retry_delay=0.0)
    worker = site.start(work_dir=str(site.folder / "laptop"))
    pid = until(lambda: pids(site), what="the task to start")[0]
    shepherd = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    asleep = [worker.pid, shepherd, pid]
    for one in asleep:
        os.kill(one, signal.SIGSTOP)
    hub.until(run, try_number=2)
    (site.folder / "alone").rmdir()
    for one in (shepherd, worker.pid, pid):
        # The shepherd may have ended the task already.
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)
    until(lambda: not is_alive(pid), what="the old try to be ended")
    site.start(work_dir=str(site.folder / "other"))
    until(lambda: len(pids(site)) == 2, what="the second try to start")
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 2
    late = until(lambda: [event for event in site.events() if event["kind"] == "late"], what="the late end to be told")
    assert [(event["try"], event["state"]) for event in late] == [(1, "lost")]


def test_what_a_person_declared_lost_is_ended_when_its_worker_comes_back(site: Site, tunnel: Proxy, hub: Hub) -> None:
    """Reliability 10: its late result is evidence of its try, and changes nothing. The next try, in the same hands, waits for its end."""
    run = begin(site, CLINGING, retries=1, retry_delay=0.0)
    behind(site, tunnel, "far")
    pid = until(lambda: pids(site), what="the task to start")[0]
    tunnel.black_hole()
    status = hub.until_unreachable(run)
    assert Watch(site.broker).lose(Held(run.key, 0, status.execution_id), reason="declared lost by ann") == "queued"
    tunnel.heal()
    until(lambda: not is_alive(pid), what="the old try to be ended")
    until(lambda: len(pids(site)) == 2, what="the second try to start")
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 2
    assert_never_two_at_once(site)
    late = until(lambda: [event for event in site.events() if event["kind"] == "late"], what="the late end to be told")
    assert [(event["try"], event["state"], "declared lost" in event["reason"]) for event in late] == [(1, "lost", True)]


@pytest.mark.parametrize(("on_lost", "state"), [("fail", "lost"), ("wait", "parked")])
def test_on_lost_decides_what_becomes_of_a_lost_task(site: Site, tunnel: Proxy, hub: Hub, on_lost: str, state: str) -> None:
    run = begin(site, grace=GRACE, retries=3, retry_delay=0.0, on_lost=on_lost)
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    tunnel.refuse()
    status = hub.until(run, state=TaskState(state))
    assert "its grace is over" in status.reason
    assert ("a person must clear or mark it" in status.reason) == (on_lost == "wait")
    lost = [event for event in site.events() if event["kind"] == "ti" and event["state"] == "lost"]
    assert [event["try"] for event in lost] == [1]
    if on_lost == "wait":
        tunnel.heal()
        site.broker.clear(run.key, [0], "ann")
        go(site)
        assert hub.until(run, state=TaskState.SUCCESS).try_number == 2
        assert_never_two_at_once(site)


def test_cancel_of_what_cannot_be_reached_takes_effect_when_it_comes_back(site: Site, tunnel: Proxy, hub: Hub) -> None:
    """Reliability 22, 23."""
    run = begin(site)
    behind(site, tunnel)
    pid = until(lambda: pids(site), what="the task to start")[0]
    tunnel.black_hole()
    hub.until_unreachable(run)
    assert site.broker.cancel_run(run.key, "ann") == "running"
    hub.look()
    status = site.task(run)
    assert (status.state, status.cancel_requested) == (TaskState.RUNNING, True)
    tunnel.heal()
    hub.until(run, state=TaskState.CANCELLED)
    assert not is_alive(pid)


def test_claims_of_a_worker_killed_before_it_started_them_go_back_to_the_queue(site: Site, tunnel: Proxy) -> None:
    """Reliability 13: the claim was made, its answer never came; the same try starts, once."""
    worker = waiting_for_a_bell(site, tunnel, "work")
    tunnel.drop_reply(b'"wanted"', times=None)
    run = begin(site)
    site.until(run, "running")
    worker.kill()
    worker.wait()
    tunnel.heal()
    assert pids(site) == []
    behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    go(site)
    status = site.until(run, "success")
    assert (status.try_number, len(pids(site))) == (1, 1)
    assert len(site.broker.workers()) == 1


def test_claim_whose_answer_comes_after_it_was_given_up_is_never_started(site: Site, tunnel: Proxy, hub: Hub) -> None:
    far = waiting_for_a_bell(site, tunnel, "far")
    tunnel.drop_reply(b'"wanted"', times=None)
    run = begin(site, grace=GRACE, retries=1, retry_delay=0.0)
    site.until(run, "running")
    tunnel.refuse()
    site.start(work_dir=str(site.folder / "near"))
    hub.until(run, try_number=2, state=TaskState.RUNNING)
    until(lambda: pids(site), what="the second try to start")
    tunnel.heal()
    late = until(lambda: [event for event in site.events() if event["kind"] == "late"], what="the first try to be told of")
    assert [(event["try"], event["state"]) for event in late] == [(1, "lost")]
    assert far.poll() is None
    go(site)
    assert hub.until(run, state=TaskState.SUCCESS).try_number == 2
    assert len(pids(site)) == 1


def test_tasks_of_a_machine_that_was_restarted_are_lost(site: Site) -> None:
    """Reliability 2, 4: worker, shepherd and task are gone, and the boot is another one."""
    run = begin(site)
    worker = site.start()
    pid = until(lambda: pids(site), what="the task to start")[0]
    shepherd = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for one in (worker.pid, shepherd):
        os.kill(one, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for file in ("names", "shepherd.journal"):
        path = site.folder / "work" / file
        path.write_text(path.read_text().replace(boot, "0" * 36))
    site.start()
    status = site.until(run, "lost")
    assert status.try_number == 1


def test_a_power_cut_that_took_the_journals_end_is_no_reason_to_run_a_task_twice(site: Site) -> None:
    """Reliability 3, 4."""
    run = begin(site)
    worker = site.start()
    pid = until(lambda: pids(site), what="the task to start")[0]
    shepherd = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for one in (worker.pid, shepherd):
        os.kill(one, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    (site.folder / "work" / "shepherd.journal").unlink()
    names = site.folder / "work" / "names"
    names.write_text(names.read_text().split()[0] + " another-boot\n")
    site.start()
    assert "restarted" in site.until(run, "lost").reason
    assert len(pids(site)) == 1


def test_time_that_nobody_watched_counts_for_no_lease_and_no_grace(site: Site, tunnel: Proxy, hub: Hub) -> None:
    """Reliability 8, 73: the hub's own absence, and steps of its clock, are no reason to declare anything lost."""
    run = begin(site, grace=GRACE, retries=1)
    worker = behind(site, tunnel)
    until(lambda: pids(site), what="the task to start")
    worker.send_signal(signal.SIGSTOP)
    status = hub.until_unreachable(run)
    until(lambda: site.broker.now() > status.assumed_until, what="the grace to pass while no leader watches")
    hub.another().step()
    assert site.task(run).state is TaskState.RUNNING
    worker.send_signal(signal.SIGCONT)


def test_a_grace_too_short_for_its_worker_is_named(site: Site) -> None:
    run = begin(site, grace=1.0)
    site.work()
    assert site.task(run).state is TaskState.FAILED
    assert "grace of 1 s is too short" in site.log(run)
