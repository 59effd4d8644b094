"""A second machine joins with three commands, typed at a terminal, in a network without a way to the Internet; then a task runs there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pymysql
import pytest

from rqflow.store.engine import open_engine, reading
from tests import forked
from tests.e2e import test_coming_from_airflow as coming_from_airflow
from tests.e2e.lab import base_environ
from tests.network import Host, Network, needs_network
from tests.network.hosts import make_key
from tests.network.network import a_network
from tests.profile import ENVIRON, PATIENCE
from tests.proxy import Proxy
from tests.waiting import until

#: Where the Python is that these tests run on, and rqflow as a hub has it.
PYTHON, HUB_BIN = Path(sys.base_prefix) / "bin", Path(sys.executable).parent
#: Seconds for what installs or starts a whole system.
LONG = 90


@dataclass
class Machine:
    """An account on a host, as a person sits there: HOME, PATH, ssh with the person's own key."""

    host: Host
    path: str
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.host.home
        tools = self.host.folder / "tools"
        tools.mkdir()
        # ssh looks for its files in the account's home of /etc/passwd, which all hosts have in common.
        (tools / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.home}/.ssh/config "$@"\n')
        (tools / "ssh").chmod(0o755)
        (self.home / ".ssh").mkdir(mode=0o700)
        (self.home / ".ssh" / "config").write_text(f"IdentityFile {self.home}/.ssh/id_ed25519\nUserKnownHostsFile {self.home}/.ssh/known_hosts\n"
                                                   "LogLevel ERROR\nStrictHostKeyChecking ask\n")
        self.environ = {**{name: value for name, value in base_environ().items() if name in {"LANG", "TERM", "USER", "LOGNAME"}}, **ENVIRON,
                        "HOME": str(self.home), "PATH": f"{tools}:{self.path}:{self.home}/.local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS": "200",
                        "TMPDIR": str(self.host.folder), **self.environ}

    def run(self, *words: object, code: int | None = 0, stdin: str = "") -> str:
        """Run a command to its end; return what it printed."""
        done = self._done(words, stdin)
        assert code is None or done.returncode == code, f"{words} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *words: object) -> Any:
        return json.loads(self._done(("rqflow", *words, "-o", "json")).stdout or "null")

    def _done(self, words: Sequence[object], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command; the hub's rqflow is forked, because it is the one that runs these tests."""
        if words[0] == "rqflow" and str(HUB_BIN) in self.environ["PATH"].split(":"):
            return forked.run([*map(str, words[1:])], environ=self.environ, folder=self.home, stdin=stdin, timeout=2 * LONG, spaces=self.host.spaces)
        return subprocess.run(self.host.command(*words), input=stdin, capture_output=True, text=True, env=self.environ, cwd=self.home, check=False)

    def shell(self) -> pexpect.spawn:
        """A terminal there."""
        command = self.host.command("sh", "-i")
        child = pexpect.spawn(command[0], command[1:], env={**self.environ, "PS1": "READY$ "}, cwd=str(self.home), encoding="utf-8", timeout=LONG,
                              dimensions=(50, 400))
        child.expect_exact("READY$ ")
        return child


@pytest.fixture
def network() -> Iterator[Network]:
    needs_network()
    with a_network() as made:
        yield made


@pytest.fixture
def machines(network: Network) -> tuple[Machine, Machine]:
    """A hub, with rqflow and an sshd that lets the person of the node log in; and a node with nothing but Python."""
    hub, node = Machine(network.host("hub"), str(HUB_BIN)), Machine(network.host("node"), str(PYTHON))
    let_in(hub, node)
    return hub, node


def let_in(there: Machine, who: Machine) -> None:
    """Start sshd on a machine, and let the person of another one log in there."""
    sshd = there.host.sshd
    sshd.start(f"AuthorizedKeysFile {there.home}/.ssh/authorized_keys",
               "SetEnv " + " ".join(f"{name}={value}" for name, value in {**ENVIRON, "HOME": there.home, "PATH": there.environ["PATH"]}.items()))
    (there.home / ".ssh" / "authorized_keys").write_text(make_key(who.home / ".ssh" / "id_ed25519") + "\n")
    (who.home / ".ssh" / "known_hosts").write_text(f"{there.host.address} {sshd.public_key}\n")


DAG = """
from rqflow import DAG, BashOperator, PythonOperator, Variable
def read():
    print("read", Variable.get("token"))
with DAG("far", schedule=None):
    BashOperator(task_id="b", bash_command="hostname; echo {{ var.value.token | shquote }} > ~/got; test -s ~/got", queue="node") >> PythonOperator(
        task_id="p", python_callable=read, queue="node")
"""


def fingerprint(host: Host) -> str:
    return subprocess.run(["ssh-keygen", "-lf", host.sshd.folder / "host_key.pub"], capture_output=True, text=True, check=True).stdout.split()[1]


def of_the_page() -> list[str]:
    """The three commands, as docs/how-to/coming-from-airflow-1.md has them."""
    (commands,) = (text for title, language, text in coming_from_airflow.blocks() if (title, language) == (coming_from_airflow.ELSEWHERE, "sh"))
    return commands.splitlines()


@pytest.mark.timeout(240)
def test_from_a_bare_machine_to_a_task_in_three_commands(machines: tuple[Machine, Machine], network: Network) -> None:
    """Reliability 69, second half: the hub has the private Redis and SQLite; the node has no way to anywhere but the hub."""
    hub, node = machines
    assert node.host.run("ip", "route").split()[0] == "192.0.2.0/24"
    hub.run("rqflow", "var", "set", "token", "tiger-in-the-tank")
    hub.run("rqflow", "up", "redis", "scheduler")
    address = f"root@{hub.host.address}"
    bootstrap, join, up = (line.replace("rqflow@hub", address) for line in of_the_page())
    try:
        terminal = node.shell()
        terminal.sendline(bootstrap)
        terminal.expect_exact(f"Next: rqflow worker join {address}")
        terminal.expect_exact("READY$ ")
        terminal.sendline(join)
        terminal.expect_exact(fingerprint(hub.host))
        terminal.expect("Is this what its owner says.*: ")
        terminal.sendline("y")
        terminal.expect_exact("node.gpu has joined")
        terminal.expect_exact("READY$ ")
        terminal.sendline(f"{up}; echo up=$?")
        terminal.expect_exact("up=0")
        terminal.close()
        workers = until(lambda: hub.json("worker", "list"), patience=LONG, what="the worker to be seen on the hub")
        assert [(one["name"].rpartition(".")[0], one["host"], one["queues"]) for one in workers] == [("node.gpu", "node", ["node"])]
        (hub.home / "d.py").write_text(DAG)
        said = hub.run("rqflow", "submit", "d.py", "--run", "--follow")
        run_id = hub.json("run", "list")[0]["run_id"]
        run = hub.json("run", "show", run_id)
        assert (run["state"], [task["worker"].startswith("node.gpu.") for task in run["tasks"]]) == ("success", [True, True]), said
        assert (node.home / "got").read_text().strip() == "tiger-in-the-tank"
        assert "read " + "*" * len("tiger-in-the-tank") in hub.run("rqflow", "task", "logs", run_id, "p")
        assert not list((node.home / "rqflow").glob("fernet.key"))
        doctor = hub.run("rqflow", "doctor", code=None)
        assert "for workers that joined on 127.0.0.1:" in doctor
        assert "not asked for: whoever can write into Redis" in doctor
    finally:
        node.run("rqflow", "down", code=None)
        hub.run("rqflow", "down", code=None)


@pytest.fixture
def configured(machines: tuple[Machine, Machine]) -> tuple[Machine, Machine]:
    """The same, with rqflow installed on the node, and a Redis on a port of the hub's loopback that takes a password."""
    hub, node = machines
    node.environ["PATH"] = f"{HUB_BIN}:{node.environ['PATH']}"
    hub.host.redis(password="sesame")
    (hub.home / "rqflow").mkdir()
    (hub.home / "rqflow" / "rqflow.cfg").write_text("[redis]\nurl = redis://:sesame@127.0.0.1:6379/0\n")
    return hub, node


def ssh(node: Machine, hub: Machine, *words: object, timeout: float = PATIENCE) -> str:
    """Dial the hub with the worker's key, as somebody would who has stolen it; return what ssh says, or `it lasts` when it does not end."""
    key = ["-F", "/dev/null", "-i", node.home / "rqflow" / "keys" / "tunnel", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
           "-o", "IdentityAgent=none", "-o", f"UserKnownHostsFile={node.home}/.ssh/known_hosts"]
    command = node.host.command(shutil.which("ssh"), *key, *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=node.environ, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        return "it lasts " + (error.stderr or b"").decode()
    return f"{done.returncode} {done.stdout}{done.stderr}"


@pytest.mark.timeout(240)
def test_a_worker_that_joined_may_reach_redis_and_nothing_else(configured: tuple[Machine, Machine]) -> None:
    """No shell, no command, no other port, no unix socket, no port to listen on; none may be made where sshd says so, as joining advises."""
    hub, node = configured
    address = f"root@{hub.host.address}"
    said = node.run("rqflow", "worker", "join", address, "--hub-key", fingerprint(hub.host))
    assert "lets this key make unix sockets there; `AllowStreamLocalForwarding local`" in said
    hub.host.sshd.stop()
    hub.host.sshd.start("AllowStreamLocalForwarding local")
    config = (node.home / "rqflow" / "rqflow.cfg").read_text()
    assert f"hub = -L {address} redis=127.0.0.1:6379\n" in config
    assert "url = tunnel://:sesame@hub\n" in config
    said = node.run("rqflow", "worker", "join", address, "--hub-key", fingerprint(hub.host))
    assert len(said.splitlines()) == 3, said
    assert (node.home / "rqflow" / "rqflow.cfg").read_text() == config
    assert {path.name: path.stat().st_mode & 0o777 for path in (node.home / "rqflow" / "keys").iterdir()} | {"cfg": 0o600} == {
        "tunnel": 0o600, "tunnel.pub": 0o644, "worker": 0o600, "hub.pub": 0o600, "known_hosts": 0o644, "cfg": 0o600}
    line, = [line for line in (hub.home / ".ssh" / "authorized_keys").read_text().splitlines() if "rqflow worker" in line]
    assert line.startswith('restrict,port-forwarding,permitopen="127.0.0.1:6379",permitlisten="localhost:1",command="/bin/false" ssh-ed25519 ')
    assert ssh(node, hub, address, "echo shell").strip() == "1"
    assert "shell" not in ssh(node, hub, "-tt", address)
    for place in ("127.0.0.1:22", "localhost:6379"):
        assert "stdio forwarding failed" in ssh(node, hub, "-W", place, address)
        assert f"connect to host {place.replace(':', ' port ')}, but the request was denied" in hub.host.sshd.log()
    forward = node.host.start("ssh", "-F", node.home / ".ssh" / "config", "-i", node.home / "rqflow" / "keys" / "tunnel", "-o", "IdentitiesOnly=yes", "-NT",
                              "-L", f"{node.home}/s.sock:{hub.host.folder}/redis/redis.sock", address, log="ssh.log")
    until((node.home / "s.sock").exists, what="ssh to listen")
    node.run("sh", "-c", f"{sys.executable} -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"{node.home}/s.sock\"); assert not s.recv(9)'")
    assert "redis.sock, but the request was denied" in hub.host.sshd.log()
    assert forward.poll() is None
    failing = ("-NT", "-o", "ExitOnForwardFailure=yes")
    assert "remote port forwarding failed" in ssh(node, hub, *failing, "-R", "127.0.0.1:7777:127.0.0.1:22", address)
    assert "failed" in ssh(node, hub, *failing, "-R", f"{hub.home}/in.sock:127.0.0.1:22", address)
    assert not (hub.home / "in.sock").exists()
    assert "failed" in ssh(node, hub, "-o", "Tunnel=yes", *failing, "-w", "0:0", address)
    assert "PONG" in node.run("sh", "-c", f"printf 'AUTH sesame\\r\\nPING\\r\\nQUIT\\r\\n' | ssh -i {node.home}/rqflow/keys/tunnel "
                                         f"-o IdentitiesOnly=yes -W 127.0.0.1:6379 {address}")
    assert "its key opens no secret any more; its line in " in hub.run("rqflow", "worker", "forget", line.split()[-1])
    assert "rqflow worker" not in (hub.home / ".ssh" / "authorized_keys").read_text()
    assert "Permission denied" in ssh(node, hub, "-W", "127.0.0.1:6379", address)


def left(node: Machine) -> list[str]:
    """What is in the node's home."""
    home = node.home / "rqflow"
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


@pytest.mark.timeout(240)
def test_what_goes_wrong_is_said_and_nothing_is_half_written(configured: tuple[Machine, Machine]) -> None:
    hub, node = configured
    address, key = f"root@{hub.host.address}", fingerprint(hub.host)
    join = ("rqflow", "worker", "join", address)
    assert f"nobody can be asked whether this is the key of {address}: 256 {key}" in node.run(*join, code=2)
    assert f"has another key than SHA256:{'A' * 43}: 256 {key}" in node.run(*join, "--hub-key", f"SHA256:{'A' * 43}", code=4)
    assert "this is no fingerprint" in node.run(*join, "--hub-key", "md5", code=2)
    assert "does not answer as an ssh server" in node.run("rqflow", "worker", "join", "root@192.0.2.99", code=7)
    assert "'Bad Name' is no id of a worker" in node.run(*join, "--hub-key", key, "--name", "Bad Name", code=2)
    assert "the hub's database is SQLite" in node.run(*join, "--hub-key", key, "--database", code=1)
    hub.run("mv", hub.home / "rqflow", hub.home / "moved")
    (hub.home / "rqflow").write_text("in the way")
    assert "rqflow" in node.run(*join, "--hub-key", key, code=1)
    (hub.home / "rqflow").unlink()
    hub.run("mv", hub.home / "moved", hub.home / "rqflow")
    assert left(node) == []
    keys = (hub.home / ".ssh" / "authorized_keys").read_text()
    shutil.rmtree(node.home / "rqflow", ignore_errors=True)
    (node.home / "rqflow").write_text("a file")
    assert "cannot be written: Not a directory" in node.run(*join, "--hub-key", key, code=6)
    (node.home / "rqflow").unlink()
    assert (hub.home / ".ssh" / "authorized_keys").read_text() == keys
    said = node.run(*join, "--hub-key", key, "--print", "--name", "x1")
    assert "Add this one line to authorized_keys" in said
    assert 'command="/bin/false" ssh-ed25519' in said
    assert (hub.home / ".ssh" / "authorized_keys").read_text() == keys
    assert "this home is node.x1 already" in node.run(*join, "--hub-key", key, "--name", "x2", code=5)
    assert "this home has joined root@192.0.2.1 already" in node.run("rqflow", "worker", "join", "root@192.0.2.77", "--hub-key", key, code=5)
    hub.host.sshd.stop()
    hub.host.sshd.options.insert(0, f"SetEnv HOME={hub.home} PATH=/usr/bin:/bin")
    hub.host.sshd.start()
    assert "there is no rqflow on root@192.0.2.1" in node.run(*join, "--hub-key", key, code=6)


@pytest.mark.timeout(240)
def test_the_hub_adds_a_machine_that_only_lets_ssh_in(network: Network) -> None:
    hub, node = Machine(network.host("hub"), str(HUB_BIN)), Machine(network.host("node"), str(PYTHON))
    let_in(node, hub)
    hub.run("rqflow", "var", "set", "token", "tiger-in-the-tank")
    hub.run("rqflow", "up", "redis", "scheduler")
    try:
        said = hub.run("rqflow", "worker", "add", f"root@{node.host.address}", "--node-key", fingerprint(node.host), "--queues", "node", "--name", "far")
        assert [line for line in said.splitlines() if line[0].isdigit()] == [
            f"1. installs rqflow {said.split()[3]} on root@{node.host.address}", "2. makes keys, and lets each side know the other's",
            "3. keeps the tunnel far up", "4. starts the worker there"]
        worker = until(lambda: [one for one in hub.json("worker", "list") if one["host"] == "node"], patience=LONG, what="the worker to be seen on the hub")
        assert worker[0]["name"].startswith("node.far.")
        (hub.home / "d.py").write_text(DAG)
        hub.run("rqflow", "submit", "d.py", "--run", "--follow")
        assert (node.home / "got").read_text().strip() == "tiger-in-the-tank"
        assert hub.json("tunnel", "status")[0]["state"] == "up"
        line, = [line for line in (node.home / ".ssh" / "authorized_keys").read_text().splitlines() if "rqflow worker far" in line]
        assert line.startswith(f'restrict,port-forwarding,permitlisten="localhost:1",command="exec sh {node.home}/.rqflow/landing/far.sh" ssh-ed25519 ')
        assert "rqflow-landing:" in ssh(hub, node, f"root@{node.host.address}", "echo shell")
    finally:
        node.run(node.home / "rqflow" / "venv" / "bin" / "rqflow", "down", code=None)
        hub.run("rqflow", "down", code=None)


TWO = """
from rqflow import DAG, BashOperator
with DAG("two", schedule=None):
    a = BashOperator(task_id="a", bash_command="echo said by {{ task.task_id }}; exit 3", retries=1, retry_delay=0, queue="node")
    b = BashOperator(task_id="b", bash_command="echo {{ var.value.token }} | wc -c; echo done", queue="node", do_xcom_push=True)
    b >> BashOperator(task_id="c", bash_command="echo got {{ ti.xcom_pull('b') }}; exit 99", queue="node")
"""


def history(url: str, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """What the database tells of a run, without what differs between any two."""
    engine = open_engine(url)
    try:
        with reading(engine) as connection:
            key = connection.exec_driver_sql(f"SELECT run_key FROM dag_run WHERE run_id = '{run_id}'").scalar()
            asked = {
                "dag_run": "state, version", "task_instance": "task_id, state, try_number, reason, queue",
                "task_try": "task_id, try_number, state, reason, exit_code, host, queue, log_bytes", "xcom": "task_id, `key`, value",
            }
            return {table: sorted(map(tuple, connection.exec_driver_sql(f"SELECT {columns} FROM {table} WHERE run_key = '{key}'")))
                    for table, columns in asked.items()}
    finally:
        engine.dispose()


@pytest.mark.timeout(240)
def test_with_one_port_or_two_the_same_stands_in_the_history(configured: tuple[Machine, Machine], mariadb_url: str) -> None:
    """With the database forwarded too the worker records itself, while no scheduler runs; without, the hub does it."""
    hub, node = configured
    socket_path = mariadb_url.partition("unix_socket=")[2]
    with pymysql.connect(user="root", unix_socket=socket_path) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE joined")
    with hub.host.inside():
        database = Proxy(socket_path)
        database.start()
    url, address = mariadb_url.replace("/rqflow?", "/joined?"), f"root@{hub.host.address}"
    with (hub.home / "rqflow" / "rqflow.cfg").open("a") as stream:
        stream.write(f"[database]\nurl = mysql://root@127.0.0.1:{database.port}/joined\n")
    hub.run("rqflow", "db", "upgrade")
    hub.run("rqflow", "var", "set", "token", "tiger")
    (hub.home / "two.py").write_text(TWO)
    join = ("rqflow", "worker", "join", address, "--hub-key", fingerprint(hub.host), "--queues", "node")
    try:
        hub.run("rqflow", "up", "scheduler")
        node.run(*join)
        node.run("rqflow", "up", "worker")
        hub.run("rqflow", "submit", "two.py", "--run", "--run-id", "one", "--follow", code=1)
        node.run("rqflow", "down")
        node.run(*join, "--database")
        assert f"redis=127.0.0.1:6379 database=127.0.0.1:{database.port}\n" in (node.home / "rqflow" / "rqflow.cfg").read_text()
        node.run("rqflow", "up", "worker")
        until(lambda: [one["state"] for one in node.json("tunnel", "status")] == ["up"], patience=LONG, what="the tunnel to be up with both")
        # Each tells what the hub's key opens: so one that was asked for while it was there is all that the second run takes.
        hub.run("rqflow", "submit", "two.py", "--run", "--run-id", "zero", "--follow", code=1)
        hub.run("rqflow", "down")
        hub.run("rqflow", "submit", "two.py", "--run", "--run-id", "two")
        until(lambda: history(url, "two")["dag_run"] and history(url, "two")["dag_run"][0][0] == "failed", patience=LONG, what="the worker to record it all")
        assert history(url, "one") == history(url, "two")
        assert [(row[0], row[1], row[2]) for row in history(url, "two")["task_try"]] == [
            ("a", 1, "up_for_retry"), ("a", 2, "failed"), ("b", 1, "success"), ("c", 1, "skipped")]
    finally:
        node.run("rqflow", "down", code=None)
        hub.run("rqflow", "down", code=None)
        database.close()
