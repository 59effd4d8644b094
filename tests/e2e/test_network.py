"""The network of the other tests: what they rely on. Machines are apart, ssh goes between them, and each fault is what it says."""

from __future__ import annotations

import socket
import subprocess
import time

import psutil
import pytest

from tests.network import Host, Network
from tests.network.network import a_network
from tests.profile import PATIENCE


@pytest.fixture
def two(network: Network) -> tuple[Host, Host]:
    """Two machines, the first of which may enter the second."""
    one, other = network.host("one"), network.host("other")
    other.sshd.start()
    one.may_enter(other)
    return one, other


def ssh(host: Host, *words: str, patience: float = 1) -> subprocess.CompletedProcess[str]:
    """Carry out a command on `other`, as the account of `host`, if there is a connection after so many seconds."""
    known = f"UserKnownHostsFile={host.keys / 'known_hosts'}"
    return subprocess.run(host.command("ssh", "-F", host.ssh_config, "-i", host.keys / "tunnel", "-o", known, "-o", f"ConnectTimeout={patience:.0f}", "-o",
                                       "BatchMode=yes", "other", *words), capture_output=True, text=True, check=False, timeout=2 * PATIENCE, stdin=subprocess.DEVNULL)


def test_ssh_leads_from_machine_to_machine_and_nothing_else_does(two: tuple[Host, Host]) -> None:
    one, other = two
    done = ssh(one, "hostname; echo $HOME; ip -br address show eth0")
    assert done.stdout.split()[:2] == ["other", str(other.home)], done.stderr
    assert other.address in done.stdout
    with one.inside(), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 22), 1)
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        socket.create_connection((other.address, 22), 0.3)


def test_each_fault_is_what_it_says_and_can_be_healed(network: Network, two: tuple[Host, Host]) -> None:
    one, other = two
    for fault, said in ((network.cut, "timed out"), (network.reset, "refused"), (network.refuse, "No route to host")):
        fault(one, other)
        assert said in ssh(one, "true").stderr
        network.heal()
    network.unplug(other)
    assert "timed out" in ssh(one, "true").stderr
    network.heal()
    network.lose(one, other, 5)
    network.limit(other, 1000)
    began = time.monotonic()
    done = ssh(one, "head -c 100000 /dev/zero", patience=PATIENCE)  # the first packet may be lost, too
    assert (len(done.stdout), time.monotonic() - began > 0.5) == (100_000, True), done.stderr
    network.heal()


def test_a_relay_delays_what_goes_between_two_machines(network: Network, two: tuple[Host, Host]) -> None:
    one, other = two
    proxy = network.relay(one, other)
    assert ssh(one, "true").returncode == 0
    proxy.delay(0.05)
    began = time.monotonic()
    assert ssh(one, "true").returncode == 0
    assert time.monotonic() - began > 0.5, "ssh goes back and forth more than five times"


def test_a_power_cut_ends_all_that_runs_on_a_machine_and_nothing_elsewhere(two: tuple[Host, Host]) -> None:
    one, other = two
    other.redis()
    process = one.start("sleep", "60", log="sleep.log")
    other.power_cut()
    assert other.processes() == []
    assert process.poll() is None
    other.sshd.start()
    assert ssh(one, "true").returncode == 0


def test_nothing_is_left_of_a_network() -> None:
    with a_network() as made:
        host = made.host("one")
        host.sshd.start()
        pids = [host.holder.pid, *(one.pid for one in host.processes())]
        folder = made.folder
    assert not folder.exists()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
