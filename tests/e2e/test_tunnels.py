"""Tunnels between machines, by real ssh: each way in which one can fail is told from the others, and each comes back by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis

from rqflow.deploy.tunnels.failures import State
from rqflow.deploy.tunnels.status import TunnelStatus
from tests.e2e.lab import Lab
from tests.network import Host, Network
from tests.network.hosts import make_key
from tests.profile import PATIENCE
from tests.waiting import is_alive, until

pytestmark = pytest.mark.timeout(240)
#: A person waits longer for a host than a keeper that tries again.
CALM = {"RQFLOW__TUNNELS__CONNECT_TIMEOUT": "10s"}


class Link:
    """A tunnel from `near` to `far`, kept by a process of its own."""

    def __init__(self, lab: Lab, near: Host, far: Host) -> None:
        """Nothing runs yet."""
        self.lab, self.near, self.far = lab, near, far

    def up(self, line: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start its keeper with this line of [tunnels]."""
        self.lab.environ |= {"RQFLOW__TUNNELS__LINK": line} | environ
        return self.lab.start("tunnel", "up", "link")

    def status(self) -> TunnelStatus:
        """Return how it is, as `rqflow tunnel status` says it."""
        return self.lab.link("link")

    def is_(self, state: str, *, patience: float = 2 * PATIENCE, error: str = "", remedy: str = "") -> TunnelStatus:
        """Wait until it is in this state, with this in what it says; return all that it says."""
        def seen() -> TunnelStatus | None:
            now = self.status()
            return now if now.state == state and error in now.error and remedy in now.remedy else None

        try:
            found = until(seen, patience=patience, what=f"the link to be {state}")
        except AssertionError as gone:
            raise AssertionError(f"{gone}\n{self.status()}\n{self.lab.logs()}") from None
        assert found
        return found

    def breaks(self) -> TunnelStatus:
        """Wait until the connection is given up; return what is said then."""
        holds = {State.UP, State.CONNECTING, State.SILENT}
        found = until(lambda: None if (now := self.status()).state in holds else now, what="the break to be told")
        assert found
        return found

    def socket(self, name: str = "redis.sock") -> Path:
        """Where it ends here."""
        return next(iter(self.lab.home.glob(f"state/*/tunnels/link/{name}")))

    def answers(self) -> bool:
        """Tell whether a Redis answers through it now."""
        with redis.Redis(unix_socket_path=str(self.socket())) as client:
            return bool(client.ping())

    def ssh(self) -> psutil.Process:
        """Return the ssh that holds it."""
        found = until(lambda: [one for one in self.near.processes() if one.name() == "ssh" and "-NT" in one.cmdline()], what="ssh")
        return found[0]


@pytest.fixture
def link(network: Network, new_lab: Callable[..., Lab]) -> Link:
    """Two machines: `far` has a Redis and an sshd, which does not run yet; `near` may enter it."""
    near, far = network.host("near"), network.host("far")
    far.redis()
    near.may_enter(far)
    return Link(new_lab(host=near), near, far)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------- it is up, and private


def test_redis_over_there_answers_on_a_socket_for_its_owner_alone(link: Link) -> None:
    link.far.sshd.start()
    keeper = link.up("-L far redis family=inet")
    seen = link.is_("up")
    assert 0 < (seen.latency or 0) < 5
    assert link.answers()
    assert (mode(link.socket()), mode(link.socket().parent), mode(link.socket().parent.parent)) == (0o600, 0o700, 0o700)
    assert seen.services == {"redis": str(link.socket())}
    told = json.loads(link.lab.run("tunnel", "status", "-o", "json").stdout)[0]
    assert (told["name"], told["state"], told["direction"], told["host"]) == ("link", "up", "-L", "far")
    assert "AddressFamily=inet" in link.ssh().cmdline()
    assert "kept up by another process" in link.lab.run("tunnel", "up", "link", code=5).stderr
    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(PATIENCE) == 0
    assert json.loads(link.lab.run("tunnel", "status", "-o", "json", code=1).stdout)[0]["state"] == "stopped"
    until(lambda: not [one for one in link.near.processes() if one.name() == "ssh"], what="ssh to be gone")


def test_a_keeper_that_is_killed_leaves_nothing_in_the_way_of_the_next(link: Link) -> None:
    link.far.sshd.start()
    link.near.redis()
    first = link.up("-R far redis=127.0.0.1:6379 port=6399", RQFLOW__REDIS__URL="redis://:pw@127.0.0.1:6379")
    link.is_("up")
    before = link.ssh()
    first.kill()
    first.wait()
    assert before.is_running()
    link.lab.start("tunnel", "up", "link")
    until(lambda: not is_alive(before), what="the ssh that was left behind to be ended")
    link.is_("up")


def test_a_port_without_a_password_is_refused_before_anything_is_dialled(link: Link) -> None:
    link.lab.environ |= {"RQFLOW__TUNNELS__LINK": "-L far redis port=6400", "RQFLOW__REDIS__URL": "tunnel://link"}
    refused = link.lab.run("tunnel", "up", code=6).stderr
    assert "would let every account of its machine use redis, and redis.url has no password" in refused
    assert "Leave the port out" in refused


def test_a_port_with_a_password_is_there_beside_the_socket(network: Network, new_lab: Callable[..., Lab]) -> None:
    near, far = network.host("near"), network.host("far")
    far.redis(password="s3cret")
    near.may_enter(far)
    far.sshd.start()
    link = Link(new_lab(host=near), near, far)
    link.up("-L far redis port=6400", RQFLOW__REDIS__URL="tunnel://:s3cret@link/0")
    link.is_("up")
    with near.inside():
        client = redis.Redis(port=6400, password="s3cret", single_connection_client=True)
    assert client.ping()
    client.close()
    assert json.loads(link.lab.run("worker", "list", "-o", "json").stdout) == []


# ---------------------------------------------------------------- it is not up, and says why


def test_a_host_that_is_not_reached_is_told_apart_and_comes_back(network: Network, link: Link) -> None:
    network.cut(link.near, link.far)
    link.up("-L far redis")
    link.is_("no answer", remedy="firewall")
    network.heal()
    link.is_("connection refused", remedy="Is its sshd running")
    network.refuse(link.near, link.far)
    link.is_("no route", remedy="network")
    network.heal()
    link.far.sshd.start()
    link.is_("up")


def test_a_name_that_nobody_knows_is_said(link: Link) -> None:
    link.near.names("lost", "nowhere.invalid")
    link.up("-L lost redis")
    link.is_("name unknown", error="nowhere.invalid")


def test_a_host_that_is_new_gets_nothing_before_a_person_believes_it(link: Link) -> None:
    (link.near.keys / "known_hosts").unlink()
    link.far.sshd.start()
    link.up("-L far redis")
    link.is_("host key unknown", remedy="rqflow tunnel trust link")
    asked = link.lab.run("tunnel", "trust", "link", code=2, environ=CALM).stderr
    assert link.far.sshd.fingerprint in asked
    assert "Add --fingerprint" in asked
    assert "none of those that you named" in link.lab.run("tunnel", "trust", "link", "--fingerprint", "SHA256:x", code=4, environ=CALM).stderr
    link.lab.run("tunnel", "trust", "link", "--fingerprint", link.far.sshd.fingerprint, environ=CALM)
    link.is_("up")


def test_a_host_with_another_key_than_before_gets_nothing(link: Link) -> None:
    link.far.sshd.new_host_key()
    link.far.sshd.start()
    link.up("-L far redis")
    seen = link.is_("host key changed", remedy="sed -i 1d")
    assert "host key changed" in link.lab.run("tunnel", "trust", "link", code=7, environ=CALM).stderr
    assert "Accepted publickey" not in link.far.sshd.log()
    subprocess.run(["sh", "-c", seen.remedy.partition("If it was: ")[2].partition(", and then")[0]], check=True)
    link.lab.run("tunnel", "trust", "link", "--fingerprint", link.far.sshd.fingerprint, environ=CALM)
    link.is_("up")


def test_a_refused_key_is_tried_seldom_after_three_times_and_said_once(link: Link) -> None:
    link.far.sshd.authorized_keys.write_text("")
    link.far.sshd.start()
    link.up("-L far redis", RQFLOW__TUNNELS__RETRY_DENIED="2s", RQFLOW__TUNNELS__RETRY_REFUSED="100ms")
    seen = link.is_("authentication refused", remedy="authorized_keys")
    assert "Permission denied" in seen.error
    told = "it is tried every 2 s"
    until(lambda: told in link.lab.logs(), what="the notice")
    count = link.far.sshd.log().count("Connection from")
    assert count == 3
    public = make_key(link.near.keys / "tunnel")
    link.far.sshd.authorized_keys.write_text(f"{public}\n")
    link.is_("up")
    assert link.far.sshd.log().count("Connection from") == 4
    assert link.lab.logs().count(told) == 1


def test_a_host_with_no_room_for_us_turns_us_away(link: Link) -> None:
    link.far.sshd.start("MaxStartups 1:100:1", "LoginGraceTime 60")
    with link.near.inside():
        held = socket.create_connection((link.far.address, 22), 5)
    held.recv(3)
    link.up("-L far redis")
    link.is_("turned away", remedy="MaxStartups")
    held.close()
    link.is_("up")


def test_a_host_that_forbids_forwarding_says_which_of_its_settings_do(link: Link) -> None:
    link.far.sshd.start("AllowTcpForwarding no")
    link.up("-L far redis")
    link.is_("forward refused", error="administratively prohibited", remedy="AllowTcpForwarding")
    link.far.sshd.kill()
    link.far.sshd.options = ["AllowTcpForwarding yes"]
    link.far.sshd.start()
    link.is_("up")


def test_a_redis_that_is_away_is_told_from_a_link_that_is_down(link: Link) -> None:
    link.far.sshd.start()
    link.up("-L far redis=127.0.0.1:7000")
    link.is_("service away", error="Connection refused", remedy="Does redis run on far, at 127.0.0.1:7000?")
    assert link.ssh().is_running()


def test_a_folder_that_another_home_uses_is_left_alone(link: Link) -> None:
    link.far.sshd.start()
    owner = link.far.home / ".rqflow/tunnels/link/owner"
    owner.parent.mkdir(parents=True)
    owner.write_text("elsewhere:/home\n")
    link.near.redis()
    link.up("-R far redis=127.0.0.1:6379")
    link.is_("forward refused", error="elsewhere:/home", remedy="another name")
    owner.unlink()
    link.is_("up")
    assert mode(owner.parent) == 0o700
    assert mode(owner.with_name("redis.sock")) == 0o600


def test_an_account_without_a_shell_is_told_to_say_where(network: Network, new_lab: Callable[..., Lab]) -> None:
    near, far = network.host("near"), network.host("far")
    near.redis(password="pw")
    near.may_enter(far, restrict='restrict,port-forwarding,permitlisten="127.0.0.1:6390",command="/bin/false"')
    far.sshd.start()
    link = Link(new_lab(host=near), near, far)
    keeper = link.up("-R far redis", RQFLOW__REDIS__URL="redis://:pw@127.0.0.1:6379")
    link.is_("forward refused", error="no folder for sockets", remedy="listen=/PATH/OF.sock or port=N")
    keeper.terminate()
    keeper.wait()
    link.up("-R far redis port=6390")
    link.is_("up")


def test_a_side_that_takes_a_forward_and_lets_nobody_try_it_is_said_to(network: Network, new_lab: Callable[..., Lab]) -> None:
    near, far = network.host("near"), network.host("far")
    near.redis(password="pw")
    near.may_enter(far, restrict='restrict,port-forwarding,permitlisten="127.0.0.1:6390",permitopen="127.0.0.1:1",command="/bin/false"')
    far.sshd.start()
    link = Link(new_lab(host=near), near, far)
    link.up("-R far redis port=6390", RQFLOW__REDIS__URL="redis://:pw@127.0.0.1:6379")
    link.is_("unproven", remedy="permitopen")
    assert link.lab.run("tunnel", "status", code=0)


def test_a_port_that_is_forbidden_is_told_from_one_that_is_taken(link: Link) -> None:
    link.far.sshd.start("AllowTcpForwarding local")
    link.near.redis()
    link.up("-R far redis=127.0.0.1:6379 port=6399", RQFLOW__REDIS__URL="redis://:pw@127.0.0.1:6379")
    link.is_("forward refused", error="Server has disabled port forwarding", remedy="forbids it: AllowTcpForwarding")


def test_a_link_that_is_full_is_not_taken_for_a_dead_one(network: Network, link: Link) -> None:
    link.far.sshd.start()
    link.up("-L far redis")
    link.is_("up")
    before = link.ssh()
    network.limit(link.far, 400)
    with redis.Redis(unix_socket_path=str(link.socket())) as client, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: [client.set("bulk", bytes(100_000)) for _ in range(3)])
        seen = set()
        while not busy.done():
            seen.add(link.status().state)
            time.sleep(0.1)
        busy.result()
    assert seen <= {State.UP, State.SLOW, State.SILENT}, link.lab.logs()
    assert link.ssh().pid == before.pid
    network.heal()
    link.is_("up")


# ---------------------------------------------------------------- it is cut, and comes back


def test_a_port_that_a_stale_sshd_holds_is_refused_until_that_lets_go(network: Network, link: Link) -> None:
    """Reliability 71: the link is back soon, and before that nothing says that it is up."""
    link.far.sshd.start("ClientAliveInterval 1", "ClientAliveCountMax 4")
    link.near.redis()
    link.up("-R far redis=127.0.0.1:6379 port=6399", RQFLOW__REDIS__URL="redis://:pw@127.0.0.1:6379")
    link.is_("up")
    network.forget(link.near, link.far, link.ssh())
    link.is_("forward refused", error="listen port 6399", remedy="ClientAliveInterval")
    link.is_("up")


def test_a_socket_that_a_stale_sshd_holds_is_taken_over(network: Network, link: Link) -> None:
    link.far.sshd.start()
    link.near.redis()
    link.up("-R far redis=127.0.0.1:6379")
    link.is_("up")
    network.forget(link.near, link.far, link.ssh())
    link.breaks()
    link.is_("up")
    assert len(link.far.sshd.sessions()) >= 2, "the old one is still there"


@pytest.mark.parametrize("fault", ["reset", "black hole", "frozen sshd", "killed sshd", "killed ssh"])
def test_a_link_that_breaks_is_made_anew(network: Network, link: Link, fault: str) -> None:
    link.far.sshd.start()
    link.up("-L far redis")
    first = link.is_("up")
    before = link.ssh()
    breaking: dict[str, Callable[[], None]] = {
        "reset": lambda: network.reset(link.near, link.far), "black hole": lambda: network.cut(link.near, link.far), "frozen sshd": link.far.sshd.freeze,
        "killed sshd": link.far.sshd.kill, "killed ssh": lambda: os.kill(before.pid, signal.SIGKILL)}
    breaking[fault]()
    until(lambda: not is_alive(before), what="the dead ssh to be replaced")
    if fault != "killed ssh":
        assert link.breaks().error
    mending: dict[str, Callable[[], None]] = {"frozen sshd": link.far.sshd.thaw, "killed sshd": link.far.sshd.start, "killed ssh": lambda: None}
    mending.get(fault, network.heal)()
    until(lambda: link.status().since != first.since, what="the link to be made anew")
    assert link.is_("up").error == ""
    assert link.answers()


# ---------------------------------------------------------------- ways to a host


def test_a_way_over_another_host_takes_our_key_and_our_known_hosts_alone(network: Network, link: Link) -> None:
    gate = network.host("gate")
    link.near.may_enter(gate)
    gate.sshd.start()
    link.far.sshd.start()
    link.near.names("behind", link.far.address)
    network.cut(link.near, link.far)
    (link.near.keys / "known_hosts").unlink()
    link.up("-L root@behind redis jump=root@gate")
    link.is_("host key unknown")
    link.lab.run("tunnel", "trust", "link", "--fingerprint", link.far.sshd.fingerprint, "--fingerprint", gate.sshd.fingerprint, environ=CALM)
    link.is_("up")
    assert link.answers()
    gate.sshd.kill()
    link.is_("connection refused")


def test_a_proxyjump_of_the_persons_own_configuration_works(network: Network, link: Link) -> None:
    gate = network.host("gate")
    link.near.may_enter(gate)
    key = [f"IdentityFile {link.near.keys / 'tunnel'}", f"UserKnownHostsFile {link.near.keys / 'known_hosts'}"]
    link.near.names("gate", gate.address, 22, *key)
    link.near.names("behind", link.far.address, 22, "ProxyJump gate")
    gate.sshd.start()
    link.far.sshd.start()
    network.cut(link.near, link.far)
    link.up("-L behind redis")
    link.is_("up")


def test_a_host_that_asks_for_a_second_factor_is_ridden_to_on_the_connection_of_a_person(link: Link) -> None:
    control = link.near.folder / "control"
    link.near.names("far", link.far.address, 22, f"ControlPath {control}", f"UserKnownHostsFile {link.near.keys / 'known_hosts'}")
    link.far.sshd.start()
    link.up("-L far redis control")
    link.is_("needs a person", remedy="needs a person: ssh far")
    master = ["ssh", "-F", link.near.ssh_config, "-i", link.near.keys / "tunnel", "-MNT", "far"]
    person = link.near.start(*master, log="master.log")
    link.is_("up")
    assert link.answers()
    person.terminate()
    person.wait()
    link.near.servers.remove(person)
    link.is_("needs a person", remedy="needs a person: ssh far")
    link.near.start(*master, log="master.log")
    link.is_("up")
