"""A switch with hosts on it, and what may happen to what they send each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.network.hosts import Host, hold
from tests.proxy import Proxy
from tests.services import needs

PREFIX = 24


def needs_network() -> None:
    """Skip the test where no network namespaces can be made, which is a property of the machine, and say so."""
    needs("ip", "nft", "tc", "unshare", "nsenter", "setpriv", "ssh", "sshd", "ssh-keygen")
    if os.geteuid() != 0:
        pytest.skip("network namespaces with an sshd in each need root")
    done = subprocess.run(["unshare", "--net", "--uts", "ip", "link", "add", "br0", "type", "bridge"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespaces, or no bridges, can be made here: {done.stderr.strip()}")


class Network:
    """Hosts with addresses of 192.0.2.0/24 around one switch. It is apart from everything else, so that any number may be there at a time."""

    def __init__(self) -> None:
        """Make the switch, in a namespace of its own."""
        self.folder = Path(tempfile.mkdtemp(prefix="rqnet-"))
        self.hosts: list[Host] = []
        self._switch = hold()
        self._relays: list[Proxy] = []
        self._in_switch("ip", "link", "add", "br0", "type", "bridge")
        self._in_switch("ip", "link", "set", "br0", "up")

    def host(self, name: str) -> Host:
        """Add a host, and give it the next address."""
        made = Host(self, name, len(self.hosts) + 1)
        self.hosts.append(made)
        port = f"port{made.number}"
        self._in_switch("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", made.holder.pid)
        self._in_switch("ip", "link", "set", port, "master", "br0", "up")
        made.run("ip", "address", "add", f"{made.address}/{PREFIX}", "dev", "eth0")
        made.run("ip", "link", "set", "eth0", "up")
        return made

    # -- what may happen between two hosts; each takes effect before it returns, and lasts until `heal` --

    def cut(self, one: Host, other: Host) -> None:
        """Let everything between two hosts vanish without a word: a black hole."""
        self._at_both(one, other, "drop")

    def forget(self, one: Host, other: Host, process: psutil.Process) -> None:
        """Let what `process` of `one` has connected to `other` vanish, as in a router that has forgotten it; new connections go through."""
        for line in one.run("ss", "-Htnp", "dst", other.address).splitlines():
            if f"pid={process.pid}," in line:
                port = line.split()[3].rpartition(":")[2]
                self._treat(one, other, f"tcp dport {port} drop")
                self._treat(other, one, f"tcp sport {port} drop")

    def reset(self, one: Host, other: Host) -> None:
        """Answer all TCP between two hosts with RST: what is connected breaks with the next byte, and what dials is refused."""
        self._at_both(one, other, "tcp flags & rst == 0 reject with tcp reset")
        for host, peer in ((one, other), (other, one)):
            host.run("ss", "-K", "dst", peer.address, code=None)

    def refuse(self, one: Host, other: Host) -> None:
        """Answer all between two hosts as a router does that knows no way."""
        self._at_both(one, other, "meta l4proto tcp reject with icmp type host-unreachable")

    def lose(self, one: Host, other: Host, percent: int) -> None:
        """Lose so many of a hundred packets, each way, at random."""
        self._at_both(one, other, f"numgen random mod 100 < {percent} drop")

    def limit(self, host: Host, kbit: int) -> None:
        """Let a host send, and get, so many kilobits a second at most."""
        limited = ("tbf", "rate", f"{kbit}kbit", "burst", "4kb", "latency", "400ms")
        host.run("tc", "qdisc", "replace", "dev", "eth0", "root", *limited)
        self._in_switch("tc", "qdisc", "replace", "dev", f"port{host.number}", "root", *limited)

    def unplug(self, host: Host) -> None:
        """Pull the cable of a host: what it sends goes nowhere, what is sent to it vanishes."""
        self._in_switch("ip", "link", "set", f"port{host.number}", "down")

    def heal(self) -> None:
        """Undo all of that."""
        for host in self.hosts:
            host.run("nft", "flush", "ruleset")
            host.run("tc", "qdisc", "del", "dev", "eth0", "root", code=None)
            self._in_switch("tc", "qdisc", "del", "dev", f"port{host.number}", "root", code=None)
            self._in_switch("ip", "link", "set", f"port{host.number}", "up")

    def relay(self, one: Host, other: Host, *, port: int = 22) -> Proxy:
        """Let `one` know `other` by a way over a proxy of tests/proxy.py, which delays, slows, stalls and resets as it is told."""
        with one.inside():
            made = Proxy((other.address, port))
            made.start()
        self._relays.append(made)
        one.knows(other, port=made.port, as_name="127.0.0.1")
        one.names(other.name, "127.0.0.1", made.port)
        return made

    def close(self) -> None:
        """End and remove all of it."""
        for relay in self._relays:
            relay.close()
        for host in self.hosts:
            host.close()
        self._switch.kill()
        self._switch.wait()
        shutil.rmtree(self.folder)

    def logs(self) -> str:
        """Return the ends of all logs of all hosts, for the message of a test that failed."""
        files = sorted(self.folder.glob("*/*.log"))
        return "\n".join(f"== {path.relative_to(self.folder)}\n{path.read_text(errors='replace')[-3000:]}" for path in files)

    def _at_both(self, one: Host, other: Host, verdict: str) -> None:
        """Let each of two hosts treat so what the other one sends. What they send themselves leaves them as always."""
        self._treat(one, other, verdict)
        self._treat(other, one, verdict)

    @staticmethod
    def _treat(host: Host, peer: Host, verdict: str) -> None:
        host.run("nft", "-f", "-", stdin=f"add table ip cut\nadd chain ip cut in {{ type filter hook input priority 0; }}\n"
                                        f"add rule ip cut in ip saddr {peer.address} {verdict}\n")

    def _in_switch(self, *words: object, code: int | None = 0) -> None:
        done = subprocess.run(["nsenter", f"--target={self._switch.pid}", "--net", "--", *map(str, words)], capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, f"{words}: {done.stderr}"


@contextmanager
def a_network() -> Iterator[Network]:
    """Give a network, and remove it at the end."""
    made = Network()
    try:
        yield made
    finally:
        made.close()
