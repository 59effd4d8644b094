"""A worker that joined has not the hub's key: what its tasks need is sealed for it alone, and the hub gives it only for what the worker holds."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from rqflow import clock
from rqflow.actions import connections, variables, why
from rqflow.broker import requests
from rqflow.broker.requests import RequestDesk
from rqflow.dag.asking import SECRETS
from rqflow.deploy.answers import handlers
from rqflow.exceptions import RqflowError
from rqflow.recorder import mirroring
from rqflow.security.keyring import Keyring, new_key
from rqflow.security.membership import HUB_FILE, KEY_FILE, Member, Ticket
from rqflow.security.sealing import BoxKey
from rqflow.settings import Security
from rqflow.store import joined
from rqflow.store.engine import Engine, open_engine, run_in_transaction
from rqflow.worker import inquiries
from tests.integration.worker.conftest import Site
from tests.integration.worker.test_outside import dag
from tests.profile import PATIENCE
from tests.waiting import until

SECRET, PASSWORD, PIN, MADE = "hunter-two-two", "p/ssw:rd-of-lab", "98765-pin", "made-by-a-task-1"
KEY = new_key()


@dataclass
class JoinedHub:
    """A hub with Variables and Connections, and the worker of a site as one that joined it; it answers from `begin` to `end`."""

    site: Site
    engine: Engine
    keyring: Keyring
    desk: RequestDesk
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        return self.site.machine.partition("+")[0]

    def begin(self) -> None:
        self.stop.clear()
        self.thread = threading.Thread(target=self._answer)
        self.thread.start()

    def _answer(self) -> None:
        while not self.stop.is_set():
            self.desk.step(block_ms=50)

    def end(self) -> None:
        self.stop.set()
        if self.thread:
            self.thread.join()
            self.thread = None

    def store(self, **values: str) -> None:
        given = {name: variables.Given(value=value) for name, value in values.items()}
        variables.put(self.site.broker, self.engine, self.keyring, given, by="test")

    def join(self, name: str = "") -> BoxKey:
        """Let the site's home be a worker that joined under this name."""
        key, home = BoxKey.fresh(), self.site.folder
        for file, text in ((KEY_FILE, key.private), (HUB_FILE, BoxKey.of_hub(KEY).public)):
            (home / file).parent.mkdir(exist_ok=True)
            (home / file).write_text(f"{text}\n")
        record = joined.JoinedWorker(name=name or self.name, public_key=key.public, ssh_key="", who="test", joined_at=clock.utcnow())
        run_in_transaction(self.engine, lambda connection: joined.put(connection, record))
        return key


@pytest.fixture
def hub(site: Site, tmp_path: Path, sqlite_template: Path) -> Iterator[JoinedHub]:
    shutil.copy(sqlite_template, tmp_path / "hub.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    keyring = Keyring.of(replace(site.settings, security=Security(fernet_key=KEY)))
    site.environ["RQFLOW__REDIS__URL"] = site.url
    one = JoinedHub(site, engine, keyring, RequestDesk(site.db, handlers(site.broker, engine, keyring)))
    one.store(token=SECRET, plain="visible")
    variables.put(site.broker, engine, keyring, {"code": variables.Given(value=json.dumps({"pin": PIN}), is_secret=True)}, by="test")
    connections.put(site.broker, engine, keyring, {"lab": {"conn_type": "mysql", "host": "db.lab", "login": "me", "password": PASSWORD}}, by="test")
    mirroring.send(site.broker, engine)
    one.begin()
    yield one
    one.end()
    engine.dispose()


DAG = f"""
def read():
    print("read", Variable.get("plain"), Variable.get("code", deserialize_json=True)["pin"], BaseHook.get_connection("lab").get_uri())
    Variable.set("made_password", "{MADE}")
    print("absent", Variable.get("absent", default_var=None), Variable.get("token"), Variable.get("made_password"))
    raise ValueError("no luck with " + Variable.get("token"))
def told(context):
    print("called with", Variable.get("token"))
with DAG("d", schedule=None):
    b = BashOperator(task_id="b", bash_command="echo {{{{ var.value.token | shquote }}}} {{{{ conn.lab.password | shquote }}}} {{{{ conn.lab.login }}}} {{{{ var.value.plain }}}}")
    p = PythonOperator(task_id="p", python_callable=read, on_failure_callback=told)
    e = BashOperator(task_id="e", bash_command="echo $TOKEN; [ $(printf %s $TOKEN | md5sum | head -c 32) = {md5(SECRET.encode()).hexdigest()} ]",
                     env={{"TOKEN": "{{{{ var.value.token }}}}"}})
"""


def test_no_secret_is_anywhere_in_clear(site: Site, hub: JoinedHub, request: pytest.FixtureRequest) -> None:
    """Templates, Python code and a Connection's URI; looked for in AOF, RDB, SQL, logs, events and whatever the worker keeps."""
    hub.join()
    site.db.config_set("appendonly", "yes")
    request.addfinalizer(lambda: site.db.config_set("appendonly", "no"))  # other tests have this Redis too
    run = dag(site, DAG)
    site.work()
    said = {name: site.log(run, name) for name in ("b", "p", "e")}
    assert site.states(run) == {"b": "success", "p": "failed", "e": "success"}, said
    assert said["b"].splitlines()[0] == f"{'*' * len(SECRET)} {'*' * len(PASSWORD)} me visible"
    assert f"absent None {'*' * len(SECRET)} {'*' * len(MADE)}" in said["p"]
    assert "read visible " + "*" * len(PIN) + " mysql://me:***" in said["p"]
    assert site.task(run, "p").reason == "ValueError: no luck with ***"
    site.db.save()
    # What a task printed lies unmasked in its own log on the worker, as it always does, until that is archived.
    places = [path for folder in (Path(site.db.config_get("dir")["dir"]), site.folder / "work") for path in folder.rglob("*")
              if path.is_file() and path.suffix != ".log" and "program" not in path.parts]
    assert {".rdb", ".aof", ".secrets"} <= {path.suffix for path in places}
    held = {str(path): path.read_bytes() for path in [*places, site.folder / "hub.db", site.folder / "worker.log"]}
    held["events"], held["logs"] = json.dumps(site.events()).encode(), "".join(said.values()).encode()
    for word in (SECRET, PASSWORD, PIN, KEY):
        assert not [name for name, data in held.items() if word.encode() in data], word


def test_a_hub_that_is_away_is_waited_for_and_the_log_says_so(site: Site, hub: JoinedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.join()
    hub.end()
    run = dag(site, 'with DAG("d", schedule=None):\n    BashOperator(task_id="b", bash_command="echo {{ var.value.token }}")\n'
                    '    BashOperator(task_id="n", bash_command="echo free")\n'
                    '    PythonOperator(task_id="p", python_callable=lambda: print("got", Variable.get("token")))\n')
    site.start()
    site.until(run, "success", "n")
    logs = site.folder / "work" / "logs"
    until(lambda: any("waits for the hub's answer: the Variable token" in path.read_text() for path in logs.glob("*.log")), what="the log to say it")
    assert site.states(run) == {"b": "running", "n": "success", "p": "running"}
    version = site.broker.version(run.version)
    assert version
    until(lambda: "waits for the hub's answer: the Variable token" in why.task(site.broker, version, run.key, site.task(run, "b").index).reason,
          what="why to say it")
    hub.begin()
    site.until(run, "success", "b")
    site.until(run, "success", "p")


def test_a_worker_that_stops_gives_back_what_waits_for_the_hub(site: Site, hub: JoinedHub) -> None:
    hub.join()
    hub.end()
    run = dag(site, 'with DAG("d", schedule=None):\n    BashOperator(task_id="b", bash_command="echo {{ var.value.token }}")\n')
    process = site.start()
    site.until(run, "running", "b")
    process.terminate()
    assert process.wait(PATIENCE) == 0, site.said()
    assert site.task(run, "b").state == "queued"
    hub.begin()
    site.work()
    assert site.states(run) == {"b": "success"}


def test_a_new_value_is_asked_for_anew(site: Site, hub: JoinedHub) -> None:
    hub.join()
    run = dag(site, 'with DAG("d", schedule=None):\n    a = BashOperator(task_id="a", bash_command="echo {{ var.value.plain }}")\n'
                    '    a >> BashOperator(task_id="b", bash_command="sleep 0.01; echo {{ var.value.plain }}")\n')
    site.start(max_tasks=1).wait(PATIENCE)
    hub.store(plain="other")
    mirroring.send(site.broker, hub.engine)
    site.work()
    assert (site.log(run, "a").splitlines()[0], site.log(run, "b").splitlines()[0]) == ("visible", "other")


def ticket_of(hub: JoinedHub, run: Any, *, worker: str = "", execution: str = "", key: BoxKey | None = None) -> Ticket:
    member = Member.of(hub.site.folder)
    assert member
    status = hub.site.task(run, "b")
    return (replace(member, key=key) if key else member).ticket(worker or hub.site.machine, run.key, status.index, execution or status.execution_id)


def test_the_hub_gives_secrets_only_for_what_the_worker_holds_and_only_to_it(site: Site, hub: JoinedHub) -> None:
    hub.join()
    run = dag(site, 'with DAG("d", schedule=None):\n    BashOperator(task_id="b", bash_command="echo on; sleep 60")\n')
    site.start()
    site.until(run, "running", "b")

    def ask(ticket: Ticket) -> Any:
        return inquiries.answer_to(ticket, {"VAR": ["token", "absent"]}, lambda payload: requests.ask(site.db, SECRETS, payload))

    good = ticket_of(hub, run)
    entries = ask(good)
    assert list(entries["VAR"]) == ["token"]
    assert Keyring([], boxes=[BoxKey(good.private)]).open(entries["VAR"]["token"]["key"], entries["VAR"]["token"]["value"], "it") == SECRET
    for wrong, reason in ((ticket_of(hub, run, execution="0" * 32), "does not hold"), (ticket_of(hub, run, worker="other.0000"), "has not joined"),
                       (ticket_of(hub, run, key=BoxKey.fresh()), "is not the worker"),
                       (replace(good, private=BoxKey.fresh().private), "is not the worker")):
        with pytest.raises(RqflowError, match=reason):
            ask(wrong)
    hub.join("elsewhere.beef")
    with pytest.raises(RqflowError, match="is not the worker"):
        ask(ticket_of(hub, run))
    forged = {"entries": "{}", "proof": "0" * 64}
    with pytest.raises(RqflowError, match="not from the hub"):
        inquiries.answer_to(good, {"VAR": ["token"]}, lambda _: forged)
