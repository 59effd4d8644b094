"""The units, carried out as systemd would: each one's own command and environment, its socket, its watchdog, and what KillMode=process ends."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rqflow.deploy import units
from rqflow.deploy.units import SYSTEM, UNITS
from tests.e2e.lab import COMMAND, Lab, states
from tests.waiting import until

#: Seconds that systemd waits for a sign of life, in these tests.
WATCHDOG = 1.5
HELD = """
from rqflow import DAG, BashOperator
with DAG("held"):
    BashOperator(task_id="a", bash_command="echo $$ >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.05; done")
"""


class Unit:
    """A unit that runs, as systemd sees it."""

    def __init__(self, lab: Lab, name: str, instance: str = "default") -> None:
        """Start it."""
        command = lab.root / "rqflow"
        command.write_text(f"#!/bin/sh\nexec {' '.join(COMMAND)} \"$@\"\n")
        command.chmod(0o755)
        installation = replace(SYSTEM, command=str(command), home=str(lab.home), workers=str(lab.root / "workers"))
        text = units.rendered(name, installation).replace("%i", instance)
        self.settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
        self.address = str(lab.root / f"{instance}.notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        Path(self.address).unlink(missing_ok=True)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self.told: list[str] = []
        self.lab, self.log = lab, lab.root / f"{name}.log"
        self.start()

    def start(self) -> None:
        environ = {**self.lab.environ, "NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
        environ.update([self.settings["Environment"].strip('"').split("=", 1)])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(shlex.split(self.settings["ExecStart"]), env=environ, cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)

    def hear(self) -> list[str]:
        """Take in what it has told."""
        while True:
            try:
                self.told += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.told

    def says(self, what: str, times: int = 1) -> None:
        """Wait until it has told something so often."""
        until(lambda: self.hear().count(what) >= times, what=f"{what} {times} times; it told {self.told}: {self.log.read_text()[-2000:]}")

    def is_alive_for(self, seconds: float) -> None:
        """See that systemd would not lose its patience."""
        over, last, count = time.monotonic() + seconds, time.monotonic(), self.hear().count("WATCHDOG=1")
        while time.monotonic() < over:
            if (now := self.hear().count("WATCHDOG=1")) > count:
                last, count = time.monotonic(), now
            assert time.monotonic() - last < WATCHDOG, "systemd would have ended it"
            assert self.process.poll() is None
            time.sleep(0.05)

    def reload(self) -> None:
        """Do as ExecReload says."""
        assert self.settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Do as systemd does with KillMode=process: TERM to the main process alone."""
        self.process.send_signal(signal.SIGTERM)
        until(lambda: (self.hear(), self.process.poll())[1] is not None, what="its end")
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self._socket.close()


@pytest.fixture
def unit(new_lab: Callable[..., Lab], lab_redis: str) -> Iterator[Callable[..., Unit]]:
    lab, made = new_lab(redis_url=lab_redis), []

    def start(name: str, **options: str) -> Unit:
        made.append(Unit(lab, name, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize("name", ["rqflow-scheduler.service", "rqflow-webserver.service", "rqflow-worker@.service"])
def test_a_service_says_that_it_is_ready_that_it_lives_that_it_begins_anew_and_that_it_ends(unit: Callable[..., Unit], name: str) -> None:
    one = unit(name)
    one.says("READY=1")
    one.says("WATCHDOG=1")
    one.is_alive_for(2 * WATCHDOG)
    pid, was_ready = one.process.pid, one.hear().count("READY=1")
    one.reload()
    one.says("RELOADING=1")
    one.says("READY=1", was_ready + 1)
    one.is_alive_for(WATCHDOG)
    assert one.process.pid == pid
    assert one.stop() == 0
    one.says("STOPPING=1", 2)


@pytest.mark.parametrize("name", ["rqflow-scheduler.service", "rqflow-worker@.service"])
def test_a_service_that_waits_for_redis_lives(new_lab: Callable[..., Lab], tmp_path: Path, name: str) -> None:
    one = Unit(new_lab(redis_url=f"unix://{tmp_path}/none.sock"), name)
    try:
        one.says("STATUS=waits for Redis")
        one.says("READY=1")
        one.is_alive_for(4 * WATCHDOG)
    finally:
        one.close()


def test_a_tunnel_to_a_host_that_is_off_is_ready_lives_and_tells_how_it_is(new_lab: Callable[..., Lab]) -> None:
    one = Unit(new_lab(environ={"RQFLOW__TUNNELS__HUB": "-L nobody@127.0.0.1:1 redis"}), "rqflow-tunnel@.service", instance="hub")  # type: ignore[arg-type]
    try:
        one.says("READY=1")
        one.says("STATUS=hub: connection refused")
        one.is_alive_for(2 * WATCHDOG)
        one.reload()
        one.says("STATUS=hub: connection refused", 2)
        assert one.stop() == 0
        one.says("STOPPING=1")
    finally:
        one.close()


def test_a_restart_and_a_reload_of_a_worker_end_no_task(unit: Callable[..., Unit]) -> None:
    scheduler, worker = unit("rqflow-scheduler.service", instance="hub"), unit("rqflow-worker@.service")
    lab = worker.lab
    worker.says("STATUS=serves default with 4 slots")
    run_id = lab.submit(lab.dag(HELD.replace("{folder}", str(lab.folder))))
    began = lab.folder / "began"
    until(lambda: began.exists() and began.read_text(), what="the task to run")
    worker.reload()
    worker.says("STATUS=serves default with 4 slots", 2)
    assert worker.stop() == 0
    worker.start()
    worker.says("STATUS=serves default with 4 slots", 3)
    (lab.folder / "go").touch()
    assert states(lab.finish(run_id)) == {"a": "success"}
    assert len(began.read_text().split()) == 1
    assert scheduler.stop() == 0


def test_settings_that_cannot_be_used_are_not_taken_over(unit: Callable[..., Unit]) -> None:
    one = unit("rqflow-worker@.service")
    one.says("STATUS=serves default with 4 slots")
    file = one.lab.home / "rqflow.cfg"
    file.write_text("[worker]\nslots = many\n")
    one.reload()
    until(lambda: "not reloaded" in one.log.read_text(), what="a word about it")
    one.is_alive_for(WATCHDOG)
    file.write_text("[worker]\nslots = 7\n")
    one.reload()
    one.says("STATUS=serves default with 7 slots")


@contextmanager
def installed(folder: Path, account: str | None) -> Iterator[list[Path]]:
    """Write the units for a command that is there."""
    made = replace(SYSTEM, command="/bin/true", home=str(folder), workers=str(folder / "workers"), account=account)
    for name in UNITS:
        (folder / name).write_text(units.rendered(name, made))
    yield [folder / name for name in UNITS]


@pytest.mark.parametrize("account", ["root", None])
def test_systemd_understands_the_units(tmp_path: Path, account: str | None) -> None:
    with installed(tmp_path, account) as files:
        for name in ("rqflow-scheduler.service", "rqflow.target", "rqflow-worker@default.service", "rqflow-tunnel@hub.service"):
            if name not in UNITS:
                (tmp_path / name).write_text((tmp_path / f"{name.partition('@')[0]}@.service").read_text())
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / name], capture_output=True, text=True,
                                  check=False, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
            assert done.returncode == 0, done.stderr
            assert str(tmp_path) not in done.stderr, done.stderr
        assert all(file.exists() for file in files)


@pytest.mark.parametrize("name", ["rqflow-scheduler.service", "rqflow-webserver.service", "rqflow-tunnel@hub.service"])
def test_what_runs_no_tasks_is_exposed_to_little(tmp_path: Path, name: str) -> None:
    with installed(tmp_path, "daemon"):
        (tmp_path / "rqflow-tunnel@.service").rename(tmp_path / "rqflow-tunnel@hub.service")
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", tmp_path / name],
                              capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

