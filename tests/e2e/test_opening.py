"""rqflow open over a real sshd: what it finds there, the tunnel, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.lab import base_environ
from tests.network.sshd import CONFIG
from tests.profile import ENVIRON, PATIENCE
from tests.services import program
from tests.waiting import until


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


class Hub:
    """An account that has rqflow, behind an sshd of its own on this machine, and a person elsewhere who may log in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.home = folder / "hub"
        (self.home / ".local" / "bin").mkdir(parents=True)
        command = self.home / ".local" / "bin" / "rqflow"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rqflow.cli.main "$@"\n')
        command.chmod(0o755)
        for name in ("host_key", "id"):
            subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "id.pub", folder / "authorized_keys")
        variables = " ".join(f"{name}={value}" for name, value in {**ENVIRON, "HOME": self.home}.items())
        text = CONFIG.format(port=self.port, folder=folder, home=self.home).replace(f"SetEnv HOME={self.home}", f"SetEnv {variables}")
        (folder / "sshd_config").write_text(text.replace("0.0.0.0", "127.0.0.1"))
        (folder / "ssh_config").write_text(f"IdentityFile {folder}/id\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
                                           "StrictHostKeyChecking no\nLogLevel ERROR\n")
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: object, **environ: str) -> subprocess.Popen[str]:
        """A process, with nothing of this one's environment that says where rqflow is."""
        made = subprocess.Popen([str(word) for word in words], env={**base_environ(), **ENVIRON, **environ}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd="/")
        self.processes.append(made)
        return made

    def rqflow(self, *words: object) -> subprocess.Popen[str]:
        """A command of the person elsewhere."""
        return self.start(sys.executable, "-m", "rqflow.cli.main", "--home", self.folder / "laptop", *words,
                          RQFLOW__TUNNELS__SSH_CONFIG=str(self.folder / "ssh_config"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    made = Hub(tmp_path)
    sshd = made.start(program("sshd"), "-D", "-e", "-f", tmp_path / "sshd_config")
    until(lambda: listens(made.port), what="sshd to listen")
    yield made
    assert sshd.poll() is None
    for process in made.processes:
        process.kill()
    for process in made.processes:  # after all are killed: what sshd began keeps its pipe open as long as its ssh lives
        process.communicate()


@pytest.mark.skipif(os.getuid() != 0, reason="sshd lets in the account that it runs as alone")
def test_the_page_of_a_hub_is_opened_over_ssh(hub: Hub) -> None:
    login = f"root@127.0.0.1:{hub.port}"
    nobody = hub.rqflow("open", "--no-browser", login)
    said = nobody.communicate(timeout=PATIENCE)[1]
    assert (nobody.returncode, "none was started on this machine" in said, "`rqflow up` there starts it" in said) == (7, True, True), said
    server = hub.start(sys.executable, "-m", "rqflow.cli.main", "webserver", "-p", "0", HOME=str(hub.home))
    until(lambda: list(hub.home.glob("rqflow/state/*/webserver.url")), what="the web server to listen")
    opened = hub.rqflow("open", "--no-browser", login)
    assert opened.stdout is not None
    url = opened.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), opened.communicate()
    assert requests.get(f"{url}/healthz", timeout=PATIENCE).text == "ok\n"
    taken = hub.rqflow("open", "--no-browser", "-p", url.rpartition(":")[2], login)
    assert (taken.wait(PATIENCE), "listens on port" in taken.communicate()[1]) == (5, True)
    opened.send_signal(signal.SIGINT)
    assert opened.wait(PATIENCE) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/healthz", timeout=PATIENCE)
    assert server.poll() is None, "it goes on"


@pytest.mark.skipif(os.getuid() != 0, reason="sshd lets in the account that it runs as alone")
def test_a_hub_that_cannot_be_reached_is_said(hub: Hub) -> None:
    for login, code, words in ((f"root@127.0.0.1:{free_port()}", 7, "cannot be reached by ssh"), ("a b@@", 2, "Write it like ann@hub.example"),
                               (f"nobody-there@127.0.0.1:{hub.port}", 4, "lets nobody log in")):
        asked = hub.rqflow("open", "--no-browser", login)
        said = asked.communicate(timeout=PATIENCE)[1]
        assert (asked.returncode, words in said, "Traceback" in said) == (code, True, False), said


def test_without_a_web_server_it_is_said_how_one_is_started(hub: Hub) -> None:
    asked = hub.rqflow("open")
    said = asked.communicate(timeout=PATIENCE)[1]
    assert (asked.returncode, "`rqflow webserver` alone" in said) == (7, True)
    with_server = hub.rqflow("--server", "https://hub.test/", "open", "--url")
    assert with_server.communicate(timeout=PATIENCE)[0] == "https://hub.test\n"
