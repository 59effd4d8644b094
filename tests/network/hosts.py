"""One machine of a network: a network namespace and a host name of its own, a folder, an account with keys, and the processes on it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import redis

from tests.network.sshd import Sshd
from tests.processes import matching, send
from tests.services import answers, program
from tests.waiting import is_alive, until

if TYPE_CHECKING:
    from tests.network.network import Network

_CLONE_NEWNET = 0x40000000


class Host:
    """A machine."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        """Make it; `number` is the last part of its address."""
        self.network, self.name, self.number = network, name, number
        self.address, self.folder = f"192.0.2.{number}", network.folder / name
        #: The home of the account here: what a login over ssh sees as $HOME, too.
        self.home = self.folder / "account"
        self.home.mkdir(parents=True)
        self.holder = hold("--uts")
        self.servers: list[subprocess.Popen[bytes]] = []
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")
        self.sshd = Sshd(self)

    # -- running something there --

    def command(self, *words: object) -> list[str]:
        """Return the command line that runs `words` there, from anywhere; the process keeps its pid."""
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--uts", "--", *map(str, words)]

    @property
    def spaces(self) -> list[Path]:
        """The namespaces that make it."""
        return [Path(f"/proc/{self.holder.pid}/ns/{kind}") for kind in ("net", "uts")]

    def run(self, *words: object, code: int | None = 0, stdin: str = "", environ: dict[str, str] | None = None) -> str:
        """Run something there to its end; return what it printed."""
        done = subprocess.run(self.command(*words), input=stdin, text=True, capture_output=True, check=False, timeout=60, env=environ)
        assert code is None or done.returncode == code, f"{words} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *words: object, log: str) -> subprocess.Popen[bytes]:
        """Start something there that stays; it is ended with the host. What it says is in a file of the host's folder."""
        with (self.folder / log).open("ab") as stream:
            process = subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=self.folder)
        self.servers.append(process)
        return process

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread be there for the block: sockets that it makes, and threads that it starts, stay there."""
        with open("/proc/thread-self/ns/net") as back, open(f"/proc/{self.holder.pid}/ns/net") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(back.fileno())

    def processes(self) -> list[psutil.Process]:
        """Return every process there but the one that holds the namespace."""
        mine = _namespace(self.holder.pid)
        return matching(lambda process: _namespace(process.pid) == mine and process.pid not in {self.holder.pid, os.getpid()})

    def power_cut(self) -> None:
        """End all its processes at once by -9, as a power cut does; what is on its disk stays."""
        while found := [one for one in self.processes() if is_alive(one)]:
            send(signal.SIGKILL, found)
            psutil.wait_procs(found, timeout=2)
        for server in self.servers:
            server.wait()
        self.servers.clear()

    # -- what is on it --

    def redis(self, *options: str, password: str = "") -> redis.Redis:
        """Start a Redis on 127.0.0.1:6379 there; return a client on a socket beside it, which is for the test alone."""
        folder = self.folder / "redis"
        folder.mkdir(exist_ok=True)
        secret = ["--requirepass", password] if password else []
        self.start("redis-server", "--bind", "127.0.0.1", "--port", "6379", "--unixsocket", folder / "redis.sock", "--dir", folder, "--save", "",
                   "--appendonly", "yes", "--maxmemory-policy", "noeviction", *secret, *options, log="redis.log")
        client = redis.Redis(unix_socket_path=str(folder / "redis.sock"), password=password or None)
        until(lambda: answers(client), what="redis-server to answer")
        return client

    @property
    def redis_url(self) -> str:
        """The URL by which the test itself sees that Redis."""
        return f"unix://{self.folder / 'redis' / 'redis.sock'}"

    # -- who may enter whom --

    @property
    def keys(self) -> Path:
        """The folder of its account's ssh key and known hosts; it is keys/ of the home of a lab there."""
        return self.home / "keys"

    @property
    def ssh_config(self) -> Path:
        """Its account's configuration of ssh, in which hosts that it may enter have names."""
        return self.home / "ssh_config"

    def may_enter(self, other: Host, *, name: str = "", port: int = 22, options: Sequence[str] = (), restrict: str = "") -> None:
        """Give its account a key for the account on `other`, that host's key, and a `name` for it (its own); `restrict` stands before the key there."""
        public = make_key(self.keys / "tunnel")
        with other.sshd.authorized_keys.open("a") as stream:
            stream.write(f"{restrict} {public}\n".lstrip())
        self.knows(other, port=port)
        self.names(name or other.name, other.address, port, *options)

    def knows(self, other: Host, *, port: int = 22, as_name: str = "") -> None:
        """Put the host key of `other` among its known hosts."""
        self.keys.mkdir(parents=True, exist_ok=True)
        address = as_name or other.address
        with (self.keys / "known_hosts").open("a") as stream:
            stream.write(f"{address if port == 22 else f'[{address}]:{port}'} {other.sshd.public_key}\n")

    def names(self, name: str, address: str, port: int = 22, *options: str) -> None:
        """Let ssh there know a host by a name; `options` are further lines. What stands first counts."""
        self.keys.mkdir(parents=True, exist_ok=True)
        lines = [f"Host {name}", f"HostName {address}", f"Port {port}", "User root", *options]
        before = self.ssh_config.read_text() if self.ssh_config.exists() else ""
        self.ssh_config.write_text("\n  ".join(lines) + "\n" + before)

    def environ(self) -> dict[str, str]:
        """Return the environment of rqflow there: the account's home, and its configuration of ssh. Its keys are those of `keys`."""
        return {"RQFLOW__TUNNELS__SSH_CONFIG": str(self.ssh_config), "HOME": str(self.home)}

    def close(self) -> None:
        """End all that runs there, by pid, and the namespace with it."""
        for server in self.servers:
            server.terminate()
        self.power_cut()
        self.holder.kill()
        self.holder.wait()


def hold(*more: str) -> subprocess.Popen[bytes]:
    """Start a process that holds a network namespace, and what `more` says, until it is killed, or this one ends."""
    process = subprocess.Popen(["unshare", "--net", *more, "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"], stdin=subprocess.DEVNULL)
    own = _namespace(os.getpid())

    def is_there() -> bool:
        assert process.poll() is None, "there can be no network namespace here"
        return _namespace(process.pid) != own

    until(is_there, what="a network namespace")
    return process


def make_key(path: Path) -> str:
    """Make a key pair without a passphrase, unless it is there; return the public one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", path.parent.parent.name, "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())
