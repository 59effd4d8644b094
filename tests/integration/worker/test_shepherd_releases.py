"""Shepherds and workers of different releases: what one does not know, it passes over; what one does not send, has its default."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Lines, connect, meeting_place, pack
from tests.accounts import closed_folder
from tests.integration.worker.conftest import LINGER, PATH, ROOT, Herd, Site
from tests.profile import PATIENCE
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until

#: A shepherd as a release before the first would have it: fewer operations, fewer fields each way, a lower number.
OLD = """
import sys
from rqflow.worker import shepherd, shepherd_protocol as protocol
shepherd.PROTOCOL = protocol.PROTOCOL = 0
for kind, later in ((protocol.Start, ("umask", "timeout", "outputs", "memory", "cpus", "nice", "nofile", "account", "parcel")),
                    (protocol.Ended, ("oom", "notes", "left", "partial", "accepted"))):
    names = protocol._DEFAULTS[kind]
    for name in later:
        del names[name]
    protocol._VALUES[kind] = protocol.attrgetter(*names)
begin = shepherd.Shepherd.__init__
def without(self, *given):
    begin(self, *given)
    del self._operations["hold"], self._operations["accepted"]
shepherd.Shepherd.__init__ = without
sys.exit(shepherd.main())
"""


def old_shepherd(folder: Path) -> int:
    """Start one in a work_dir; its pid."""
    folder.mkdir(exist_ok=True)
    with (folder / "shepherd.log").open("ab") as log:
        subprocess.run([sys.executable, "-c", OLD, str(folder), "60"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                       start_new_session=True, check=True)
    client = ShepherdClient(folder, env={"PATH": PATH}, linger=LINGER, role="")
    until(lambda: connected(folder), what="the old shepherd to listen")
    client.connect()
    client.close()
    return client.pid


def connected(folder: Path) -> bool:
    found = connect(folder, 5.0)
    if found:
        found.close()
    return found is not None


def test_new_worker_works_with_a_shepherd_that_an_older_one_left(site: Site) -> None:
    pid = old_shepherd(site.folder / "work")
    worker = site.start()
    run = site.run(a_version({"good": [], "bad": ["good"], "waits": ["good"]}, commands={"bad": "exit 3", "waits": "sleep 300"}))
    assert site.until(run, "failed", "bad").reason == "exit code 3"
    site.until(run, "running", "waits")
    assert "starting a shepherd" not in site.said(), "it uses the one that is there"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    site.start()
    until(lambda: "took over 1 running tasks" in site.said(), what="the next worker to take over")
    site.broker.cancel_run(run.key, "ada")
    site.until(run, "cancelled", "waits")
    assert is_alive(pid)


def test_what_an_older_shepherd_cannot_do_is_said_or_refused(site: Site) -> None:
    old_shepherd(site.folder / "work")
    site.start(environ={"RQFLOW__WORKER__ACCOUNTS": "nobody", "RQFLOW__WORKER__NICE": "3"})
    run = site.run(a_version(specs=[a_task("limited", "nice"), a_task("other", "id -un", run_as_user="nobody")]))
    site.until(run, "success", "limited")
    until(lambda: "its limits are not kept: the shepherd here is of an older release" in site.log(run, "limited"), what="its log")
    if os.geteuid() == 0 and closed_folder() is None:  # else it is refused before
        assert site.until(run, "failed", "other").reason.startswith("the shepherd here is of an older release")


def test_shepherd_passes_over_what_only_a_newer_worker_says(herd: Herd) -> None:
    herd.client._ask(pack("dance", partner="nobody"))
    herd.client._ask(pack("environment", env={"PATH": PATH, "BASE": "2"}, umask="022", colour="green"))
    assert herd.output("echo $BASE") == b"2\n"
    herd.client._ask(pack("start", id=f"new-{herd.unique}", argv=["sh", "-c", "echo new"], log=str(herd.folder / f"new-{herd.unique}.log"),
                          cwd=str(herd.folder), nice=5))
    herd.client.flush()
    assert herd.end(f"new-{herd.unique}").status == 0


def test_shepherd_serves_a_worker_that_says_only_what_the_first_release_said(herd: Herd) -> None:
    herd.client.close()
    with connect(herd.folder, PATIENCE) as link:
        link.sendall(pack("hello", role="worker") + pack("environment", env={"PATH": PATH})
                     + pack("start", id=f"old-{herd.unique}", argv=["sh", "-c", "exit 4"], log=str(herd.folder / "old.log"), cwd=str(herd.folder)))
        told = until_told(link, "ended")
        assert (told["id"], os.waitstatus_to_exitcode(told["status"])) == (f"old-{herd.unique}", 4)
        link.sendall(pack("kill", id="nobody") + pack("forget", ids=[told["id"]]))
    assert herd.again()[1:] == ([], [])


def until_told(link: socket.socket, operation: str) -> dict[str, Any]:
    """The first message of this kind."""
    lines = Lines()
    while True:
        for message in lines.feed(link.recv(1 << 20)):
            if message["op"] == operation:
                return message


def test_worker_passes_over_what_only_a_newer_shepherd_says(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with meeting_place(tmp_path) as address:
        listener.bind(address)
    listener.listen()
    client = ShepherdClient(tmp_path, env={"PATH": PATH}, linger=LINGER)

    def newer() -> None:
        link, _ = listener.accept()
        link.recv(1 << 16)
        running = {"id": "r", "pid": 7, "memo": "", "mood": "good"}
        link.sendall(pack("weather", sky="blue") + pack("hello", protocol=99, pid=1, running=[running], ended=[{"id": "e", "status": 0, "joules": 5}]))
        link.recv(1 << 16)
        link.sendall(pack("progress", id="r", percent=5) + pack("ended", id="r", status=0, joules=7))
        link.recv(1)
        link.close()

    thread = threading.Thread(target=newer)
    thread.start()
    running, ended = client.connect()
    assert ([one.id for one in running], [one.id for one in ended]) == (["r"], ["e"])
    client.environment({}, 0o022)
    client.flush()
    assert [one.id for one in until(client.receive, what="the end")] == ["r"]
    client.close()
    thread.join()
    listener.close()


def test_end_that_comes_with_the_answer_to_the_greeting_is_not_lost(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with meeting_place(tmp_path) as address:
        listener.bind(address)
    listener.listen()
    client = ShepherdClient(tmp_path, env={"PATH": PATH}, linger=LINGER)

    def answer() -> None:
        link, _ = listener.accept()
        link.recv(1 << 16)
        running = [{"id": "stays", "pid": 7}, {"id": "ends", "pid": 8}]
        link.sendall(pack("hello", protocol=1, pid=1, running=running, ended=[]) + pack("ended", id="ends", status=0))
        link.recv(1)
        link.close()

    thread = threading.Thread(target=answer)
    thread.start()
    running, ended = client.connect()
    assert ([one.id for one in running], [one.id for one in ended]) == (["stays"], ["ends"])
    client.close()
    thread.join()
    listener.close()
