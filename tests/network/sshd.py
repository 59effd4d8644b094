"""The sshd of a host: real, with a configuration, a host key and an authorized_keys of its own, in the foreground, ended by pid."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.processes import send
from tests.services import program
from tests.waiting import until

if TYPE_CHECKING:
    from tests.network.hosts import Host

#: What sshd wants to be there when it drops its rights.
_PRIVILEGES = Path("/run/sshd")
CONFIG = """\
Port {port}
ListenAddress 0.0.0.0
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
LogLevel VERBOSE
SetEnv HOME={home}
"""


class Sshd:
    """The sshd of one host; it does not run before `start`."""

    def __init__(self, host: Host) -> None:
        """Make its host key."""
        self._host, self.folder, self.port = host, host.folder / "sshd", 22
        #: Further lines of sshd_config, such as "AllowTcpForwarding no", for the next start. The first of a keyword counts.
        self.options: list[str] = []
        self.authorized_keys = self.folder / "authorized_keys"
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir()
        self.authorized_keys.touch()
        self.new_host_key()

    def new_host_key(self) -> None:
        """Give it another host key, from the next start on: the host was set up anew, or is another one."""
        for path in self.folder.glob("host_key*"):
            path.unlink()
        subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key"], check=True)

    @property
    def public_key(self) -> str:
        """Its host key as known_hosts has it, without the name."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its host key, SHA256:…"""
        command = [program("ssh-keygen"), "-l", "-f", self.folder / "host_key.pub"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    def start(self, *options: str) -> None:
        """Start it with these lines of sshd_config, which stay for later starts, and wait until it listens."""
        self.options += options
        _PRIVILEGES.mkdir(mode=0o755, exist_ok=True)
        text = CONFIG.format(port=self.port, folder=self.folder, home=self._host.home)
        (self.folder / "config").write_text("".join(f"{line}\n" for line in self.options) + text)
        self._process = self._host.start(program("sshd"), "-D", "-e", "-f", self.folder / "config", log="sshd.log")
        until(self._listens, what=f"sshd to listen: {self._host.folder}/sshd.log")

    def sessions(self) -> list[psutil.Process]:
        """Return the processes that serve those who have come."""
        if self._process is None or self._process.poll() is not None:
            return []
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def stop(self) -> None:
        """End the one that listens; those who are there stay."""
        assert self._process
        self._process.terminate()
        self._process.wait()
        self._host.servers.remove(self._process)

    def kill(self) -> None:
        """End it and all sessions by -9: nobody is told."""
        found = self.sessions()
        self.stop()
        send(signal.SIGKILL, found)
        psutil.wait_procs(found, timeout=5)

    def freeze(self) -> None:
        """Let all of it stand still: connections are there, and nothing comes back."""
        if self._process:
            send(signal.SIGSTOP, [*self.sessions(), psutil.Process(self._process.pid)])

    def thaw(self) -> None:
        """Let it go on."""
        if self._process:
            send(signal.SIGCONT, [psutil.Process(self._process.pid), *self.sessions()])

    def log(self) -> str:
        """Return what it has said."""
        return (self._host.folder / "sshd.log").read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log()
        return f":{self.port}" in self._host.run("ss", "-Hltn", f"sport = :{self.port}")
