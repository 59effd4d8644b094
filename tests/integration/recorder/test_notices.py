"""Who is told what, when, and how often, with a mail server and a web server that are real and a clock that is moved by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rqflow import clock
from rqflow.actions import schedule
from rqflow.dag.run import run_key
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import ConfigError
from rqflow.recorder.apply import apply
from rqflow.recorder.logpath import log_path
from rqflow.recorder.notices.outbox import Outbox
from rqflow.recorder.notices.sorting import Sorter
from rqflow.security.keyring import Keyring
from rqflow.settings import Settings, load
from rqflow.store import clean, connections, dags, notices, runs, variables
from rqflow.store.engine import Connection, Engine, open_engine, reading, run_in_transaction
from tests.integration.recorder.events import START, a_run_event, a_task_event, an_end
from tests.mailserver import PASSWORD, MailServer, WebServer, mail_server, web_server
from tests.unit.builders import a_run, a_task, a_version

ADA, BOB = "ada@x.test", "bob@x.test"
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def pause(connection: Connection, dag_id: str) -> bool:
    return schedule.pause(connection, dag_id, by="rqflow")


class Hub:
    """A hub that records and tells; its runs are of DAG d, of one version."""

    def __init__(self, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.home, self.environ = engine, home, {"RQFLOW__NOTICES__GATHER": "10s", "RQFLOW__NOTICES__GATHER_MOST": "2m"}
        self.now = NOON
        self.version = a_version()
        monkeypatch.setattr(clock, "utcnow", lambda: self.now)
        self.restart()

    def configure(self, environ: dict[str, str]) -> None:
        self.environ |= environ
        self.restart()

    def restart(self) -> None:
        """A scheduler that knows nothing of the one before."""
        self.settings: Settings = load(home=self.home, environ={**self.environ, "RQFLOW__LOGS__FOLDER": str(self.home / "logs")})
        self.outbox = Outbox(self.engine, self.settings, Sorter(self.settings.notices, pause))

    def submit(self, *tasks: TaskSpec, **changes: Any) -> Version:
        self.version = a_version(specs=tasks, **changes)
        run_in_transaction(self.engine, lambda connection: dags.save_version(connection, self.version))
        self.run("r")
        return self.version

    def run(self, run_id: str, dag_id: str = "d") -> None:
        run = a_run(self.version, run_id=run_id, dag_id=dag_id, created_at=self.now)
        run_in_transaction(self.engine, lambda connection: runs.create(connection, run))

    def record(self, *events: Any) -> None:
        run_in_transaction(self.engine, lambda connection: apply(connection, events))

    def pass_time(self, time: timedelta = timedelta(seconds=11)) -> int:
        """Sort what is there, let time go by, and send what is due; return how many messages were sent."""
        self.outbox.sort()
        self.now += time
        self.outbox.sort()
        return self.outbox.send()

    def messages(self) -> list[notices.Message]:
        with reading(self.engine) as connection:
            return list(reversed(notices.search(connection)))

    def log(self, text: bytes, task_id: str = "t", number: int = 1, *, is_whole: bool = True) -> None:
        path = self.home / "logs" / log_path("d", task_id, a_run(self.version).logical_date, number, run_key=run_key("d", "r"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        path.chmod(0o440 if is_whole else 0o640)


@pytest.fixture
def any_hub(engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """On each kind of database."""
    return Hub(engine, home, monkeypatch)


@pytest.fixture
def hub(sqlite_template: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    shutil.copy(sqlite_template, tmp_path / "hub.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    yield Hub(engine, home, monkeypatch)
    engine.dispose()


@pytest.fixture
def posted() -> Iterator[MailServer]:
    with ExitStack() as stack:
        yield stack.enter_context(mail_server(Path(stack.enter_context(_folder())), starttls=True))


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def _folder() -> Any:
    import tempfile  # here: a fixture of pytest would be one a test, and this is for one server

    return tempfile.TemporaryDirectory()


def mailed(task_id: str = "t", *to: str, **changes: Any) -> TaskSpec:
    return a_task(task_id, email=to or (ADA,), **changes)


def failed(step: int, task: str = "t", try_number: int = 1, run_id: str = "r", state: str = "failed", **changes: Any) -> dict[str, Any]:
    facts = {"host": "node7", "pid": 1, "exit_code": 3}
    return an_end(state, step, task, try_number, run_id, **{"reason": "exit code 3", "facts": facts, **changes})


# ------------------------------------------------------------------ once


def test_a_failure_is_mailed_once_however_often_it_is_told(any_hub: Hub, posted: MailServer) -> None:
    any_hub.configure(posted.environ())
    any_hub.submit(mailed("t", ADA, BOB), a_task("quiet"))
    for _ in range(2):
        any_hub.record(a_task_event("running", 1), failed(2), failed(3, "quiet"), a_run_event("failed", 4))
        any_hub.record(failed(2))
        any_hub.pass_time()
    assert sorted(mail.recipients[0] for mail in posted.mails) == [ADA, BOB]
    assert posted.subjects == ["rqflow: d.t failed (try 1 of 3)"] * 2
    ids = {mail.message["Message-ID"] for mail in posted.mails}
    assert ids == {f"<{one.message_id}.rqflow@lab.test>" for one in any_hub.messages()}
    assert {(one.state, one.tries) for one in any_hub.messages()} == {("sent", 1)}
    with reading(any_hub.engine) as connection:
        assert notices.unsent(connection) == 0


def test_r58_what_was_killed_or_lost_is_told_within_30_seconds(hub: Hub, posted: MailServer, web: WebServer) -> None:
    """Reliability 58: nothing depends on the task, its shepherd or its worker: the event is enough."""
    hub.configure(posted.environ(RQFLOW__NOTICES__WEBHOOK_URLS=web.url))
    hub.submit(mailed("oom"), mailed("gone"))
    killed = {"reason": "killed by signal 9 (KILL), out of memory: peak memory 1.0 GB", "facts": {"host": "n", "signal": 9}}
    hub.record(failed(2, "oom", **killed), a_task_event("lost", 3, "gone", reason="lost: its machine is gone"))
    hub.pass_time()
    (mail,) = posted.mails
    assert mail.message["Subject"] == "rqflow: d: 2 tasks failed in run r"
    assert "killed by signal 9 (KILL), out of memory" in mail.text
    assert "lost: its machine is gone" in mail.text
    assert {(post["notices"][0]["task_id"], post["notices"][0]["signal"]) for post in web.posts} == {("oom", 9), ("gone", None)}


def test_a_task_that_cannot_be_reached_is_told_of_once(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed())
    note = {**a_task_event("running", 5), "kind": "note", "state": "notice", "reason": "unreachable for long"}
    hub.record(a_task_event("running", 1), {**note, "state": "unreachable", "seq": str(START + 2)}, note)
    hub.record(note)
    hub.pass_time()
    (mail,) = posted.mails
    assert mail.message["Subject"] == "rqflow: d.t cannot be reached (try 1 of 3)"
    assert "Reason:       w.1 is not heard of; the task counts as running still\n" in mail.text
    assert "If it is gone: rqflow task mark-lost r t\n" in mail.text


def test_a_lost_try_that_gets_another_one_is_a_retry(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed())
    hub.record(a_task_event("running", 1), a_task_event("lost", 2, reason="lost"), a_task_event("up_for_retry", 3, reason="lost"),
               a_task_event("queued", 4, try_number=2))
    hub.pass_time()
    assert posted.subjects == ["rqflow: d.t failed and is tried again (try 1 of 3)"]
    assert "Not wait:     rqflow task run-now r t\n" in posted.mails[0].text


def test_r59_email_on_failure_alone_says_nothing_of_a_task_that_succeeds_at_last(hub: Hub, posted: MailServer) -> None:
    """Reliability 59: retries=8, success on the 7th."""
    hub.configure(posted.environ())
    hub.submit(mailed("t", email_on_retry=False))
    seven_tries(hub)
    assert posted.mails == []


def test_r59_email_on_retry_comes_for_each_attempt_and_recovery_when_wanted(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ(RQFLOW__NOTICES__RECOVERY="true", RQFLOW__NOTICES__CAP="0"))
    hub.submit(mailed())
    seven_tries(hub)
    wanted = [f"rqflow: d.t failed and is tried again (try {number} of 9)" for number in range(1, 7)]
    assert posted.subjects == [*wanted, "rqflow: d.t succeeded after all (try 7 of 9)"]


def seven_tries(hub: Hub) -> None:
    for number in range(1, 7):
        hub.record(failed(number, try_number=number, state="up_for_retry", max_tries=9))
        hub.pass_time()
    hub.record(an_end("success", 7, try_number=7, max_tries=9))
    hub.pass_time()


def test_attempts_that_follow_each_other_at_once_are_a_mail_each(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed())
    hub.record(*(failed(number, try_number=number, state="up_for_retry") for number in (1, 2)))
    hub.pass_time()
    assert len(posted.mails) == 2


def test_success_is_told_to_those_who_asked(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed("t", email_on_success=True), mailed("u", BOB), mailed("empty", email_on_success=True))
    hub.record(an_end("success", 2), an_end("success", 2, "u"), a_task_event("success", 2, "empty"))
    hub.pass_time()
    assert posted.subjects == ["rqflow: d.t succeeded (try 1 of 3)"]


def test_what_a_person_did_is_told_to_nobody(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed("t"), mailed("u"), mailed("v"))
    hub.record(failed(2, reason="marked failed by ada"), a_task_event("failed", 2, "u"), an_end("cancelled", 3, "v"))
    hub.pass_time()
    assert hub.messages() == []
    assert posted.mails == []


# ------------------------------------------------------------------ many


def test_r60_200_tasks_of_a_run_that_fail_in_a_minute_are_one_digest(hub: Hub, posted: MailServer) -> None:
    """Reliability 60."""
    hub.configure(posted.environ())
    hub.submit(*(mailed(f"t{number}") for number in range(200)))
    for number in range(0, 200, 20):
        hub.record(*(failed(number + n, f"t{number + n}") for n in range(20)))
        hub.pass_time(timedelta(seconds=6))
    hub.pass_time()
    (mail,) = posted.mails
    assert mail.message["Subject"] == "rqflow: d: 200 tasks failed in run r"
    assert "d.t0 failed" in mail.text
    assert "d.t199 failed" in mail.text
    assert hub.messages()[0].notices == 200


def test_failures_that_do_not_end_are_told_after_gather_most(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(*(mailed(f"t{number}") for number in range(40)))
    for number in range(40):
        hub.record(failed(number, f"t{number}"))
        hub.pass_time(timedelta(seconds=5))
    assert [one.notices for one in hub.messages()] == [24]


def test_so_many_an_hour_then_one_digest_an_hour(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ(RQFLOW__NOTICES__CAP="3"))
    hub.submit(mailed())
    for number in range(30):
        hub.run(f"r{number}")
        hub.record(failed(number, run_id=f"r{number}"))
        hub.pass_time(timedelta(minutes=5))
    assert [(one.is_digest, one.notices) for one in hub.messages()] == [(False, 1)] * 3 + [(True, 10), (True, 12)]
    digests = [one.created_at for one in hub.messages() if one.is_digest]
    assert digests[1] - digests[0] == timedelta(hours=1)
    assert posted.subjects[-1] == "rqflow: d: 12 tasks failed in 12 runs"
    assert "so this one tells what has gathered" in posted.mails[-1].text
    hub.pass_time(timedelta(hours=3))
    assert hub.messages()[-1].notices == 5, "the rest comes, too"
    hub.pass_time(timedelta(hours=3))
    hub.run("later")
    hub.record(failed(999, run_id="later"))
    hub.pass_time()
    assert not hub.messages()[-1].is_digest
    assert len(hub.messages()) == 7


def test_the_cap_is_for_each_dag_and_recipient(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ(RQFLOW__NOTICES__CAP="1"))
    hub.submit(mailed("t", ADA), mailed("u", BOB))
    hub.run("s")
    hub.record(failed(1), failed(2, "u"), failed(3, run_id="s"))
    hub.pass_time()
    assert sorted(mail.recipients[0] for mail in posted.mails) == [ADA, BOB]


# ------------------------------------------------------------------ trouble


def test_r61_mail_waits_for_a_server_that_is_down_over_a_restart(any_hub: Hub, tmp_path: Path) -> None:
    """Reliability 61: SMTP down for 10 minutes, the scheduler restarted between: the mail goes out once, later; the task does not care."""
    with mail_server(tmp_path) as before:
        pass
    any_hub.configure(before.environ())
    any_hub.submit(mailed("t"))
    any_hub.record(failed(1))
    for _ in range(6):
        any_hub.pass_time(timedelta(minutes=2))
        any_hub.restart()
    (message,) = any_hub.messages()
    assert (message.state, message.tries > 2) == ("waiting", True)
    assert "is away: Connection refused" in message.error
    with mail_server(tmp_path, port=before.port, before=before) as posted:
        any_hub.pass_time(timedelta(minutes=6))
        any_hub.pass_time(timedelta(minutes=6))
    assert posted.subjects == ["rqflow: d.t failed (try 1 of 3)"]
    assert any_hub.messages()[0].state == "sent"


def test_a_server_that_is_down_is_asked_by_one_message_at_a_time(hub: Hub, tmp_path: Path) -> None:
    with mail_server(tmp_path) as before:
        pass
    hub.configure(before.environ())
    hub.submit(mailed("t", ADA, BOB))
    hub.record(failed(1))
    hub.pass_time()
    assert sorted(one.tries for one in hub.messages()) == [0, 1]
    assert all("is away" in one.error for one in hub.messages())
    hub.pass_time(timedelta(days=4))
    hub.pass_time(timedelta(minutes=10))
    assert {one.state for one in hub.messages()} == {"given_up"}


def test_a_message_whose_sender_was_killed_goes_out_under_the_same_id(hub: Hub, posted: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed())
    hub.record(failed(1))
    with monkeypatch.context() as dying:
        dying.setattr(notices, "end", _die)
        with pytest.raises(KeyboardInterrupt):
            hub.pass_time()
    hub.restart()
    hub.pass_time(timedelta(seconds=30))
    assert len(posted.mails) == 1, "somebody may be at it still"
    hub.pass_time(timedelta(minutes=5))
    assert [one.state for one in hub.messages()] == ["sent"]
    assert len({mail.message["Message-ID"] for mail in posted.mails}) == 1


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_refused_recipient_is_not_tried_again_and_the_other_gets_mail(hub: Hub, posted: MailServer) -> None:
    posted.refused = {ADA: "550 no such person"}
    hub.configure(posted.environ())
    hub.submit(mailed("t", ADA, BOB))
    hub.record(failed(1))
    hub.pass_time()
    hub.pass_time(timedelta(hours=1))
    found = {one.recipient: (one.state, one.tries) for one in hub.messages()}
    assert found == {f"mailto:{ADA}": ("refused", 1), f"mailto:{BOB}": ("sent", 1)}
    posted.refused = {}
    run_in_transaction(hub.engine, lambda connection: notices.again(connection, None, clock.utcnow()))
    hub.pass_time()
    assert sorted(mail.recipients[0] for mail in posted.mails) == [ADA, BOB]


def test_without_smtp_it_is_said_and_never_tried_again(hub: Hub) -> None:
    hub.submit(mailed())
    hub.record(failed(1))
    hub.pass_time()
    hub.pass_time(timedelta(hours=1))
    assert [(one.state, one.error, one.tries) for one in hub.messages()] == [("not_sent", "no SMTP configured", 1)]


def test_r61_a_webhook_that_answers_500_is_tried_again_later_and_later(hub: Hub, web: WebServer) -> None:
    """Reliability 61."""
    web.answers = [500, 500, 500]
    hub.configure({"RQFLOW__NOTICES__WEBHOOK_URLS": f"{web.url}/hook?token=hunter2"})
    hub.submit(a_task("t"))
    hub.record(failed(1))
    waits = []
    while not web.posts:
        hub.pass_time(timedelta(0))
        (message,) = hub.messages()
        waits.append((message.due_at - hub.now).total_seconds())
        assert message.state == "sent" or "it answers 500" in message.error
        hub.now = max(hub.now, message.due_at)
    assert waits[:3] == [5, 10, 20]
    assert web.headers[0]["Idempotency-Key"] == message.message_id
    (post,) = web.posts
    assert (post["kind"], post["dag_id"], post["count"]) == ("failure", "d", 1)
    (told,) = post["notices"]
    assert (told["task_id"], told["try_number"], told["exit_code"], told["host"], told["state"]) == ("t", 1, 3, "node7", "failed")
    assert "hunter2" not in json.dumps([repr(one) for one in hub.messages()])


def test_a_webhook_is_given_the_name_and_password_of_its_url(hub: Hub, web: WebServer) -> None:
    hub.configure({"RQFLOW__NOTICES__WEBHOOK_URLS": web.url.replace("//", "//ada:p%40ss@")})
    hub.submit(a_task("t"))
    hub.record(failed(1))
    hub.pass_time(timedelta(0))
    assert web.headers[0]["Authorization"] == "Basic YWRhOnBAc3M="
    assert hub.messages()[0].recipient.startswith("webhook:127.0.0.1 (")


def test_a_message_about_a_run_that_was_deleted_is_not_sent(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed())
    hub.record(failed(1), a_run_event("failed", 2))
    hub.outbox.sort()
    hub.now += timedelta(seconds=11)
    hub.outbox.sort()
    run_in_transaction(hub.engine, lambda connection: clean.remove_runs(connection, [run_key("d", "r")], NOON + timedelta(days=9)))
    hub.outbox.send()
    assert [(one.state, one.error) for one in hub.messages()] == [("refused", "what it tells was deleted")]
    assert posted.mails == []


def test_a_try_that_followed_a_later_version_is_told_to_those_whom_that_names(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed("t", ADA))
    later = hub.submit(mailed("t", BOB))
    hub.record(failed(1, state="up_for_retry"), failed(2, try_number=2, version=later.sha))
    hub.pass_time()
    assert [(mail.recipients, mail.message["Subject"]) for mail in posted.mails] == [
        ([ADA], "rqflow: d.t failed and is tried again (try 1 of 3)"), ([BOB], "rqflow: d.t failed (try 2 of 3)")]


def test_a_webhook_that_is_gone_or_refuses_is_told(hub: Hub, web: WebServer) -> None:
    web.answers = [302, 404]
    hub.configure({"RQFLOW__NOTICES__WEBHOOK_URLS": f"{web.url} http://127.0.0.1:9/"})
    hub.submit(a_task("t"))
    hub.record(failed(1), failed(2, "u"))
    hub.pass_time(timedelta(0))
    found = {one.error for one in hub.messages() if one.state == "refused"}
    assert {error.split(":")[0] for error in found} == {"it answers 302 Found", "it answers 404 Not Found"}
    assert {one.state for one in hub.messages() if "127.0.0.1:9" in one.recipient or "is away" in one.error} == {"waiting"}


@pytest.mark.parametrize(("changes", "words"), [
    ({"WEBHOOK_URLS": "hooks.example.org"}, "must begin with http"), ({"WEBHOOK_URLS": "http://"}, "must begin with http"),
    ({"TELL_ON": "failure, sucess"}, "there is no sucess"), ({"APPRISE_URLS": "nonsense"}, "notices.apprise_urls"),
])
def test_settings_that_cannot_be_are_refused(hub: Hub, changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hub.configure({f"RQFLOW__NOTICES__{name}": text for name, text in changes.items()})


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_chats_are_told_through_apprise(hub: Hub, web: WebServer) -> None:
    hub.configure({"RQFLOW__NOTICES__APPRISE_URLS": f"{web.url.replace('http', 'json')}/hunter2"})
    hub.submit(a_task("t"))
    hub.record(failed(1))
    hub.pass_time()
    (post,) = web.posts
    assert (post["title"], post["type"]) == ("rqflow: d.t failed (try 1 of 3)", "failure")
    assert "exit code 3" in post["message"]
    assert hub.messages()[0].recipient.startswith("chat:json (")


# ------------------------------------------------------------------ what a mail holds


def test_r62_a_mail_holds_what_a_person_needs(hub: Hub, posted: MailServer) -> None:
    """Reliability 62: DAG, task, attempt, host, exit code or signal, the last 50 lines of the log, a link."""
    hub.configure(posted.environ(RQFLOW__NOTICES__BASE_URL="https://hub.test/rqflow/"))
    hub.submit(mailed("t", queue="gpu"))
    lines = [f"line {number}".encode() for number in range(80)]
    hub.log(b"\n".join([*lines, b"\x1b[31mZahl: gr\xc3\xb6\xc3\x9fer \xff <b>&amp;\x1b[0m", b"10%\r50%\r100%"]) + b"\n")
    hub.record(a_task_event("running", 1), failed(2))
    hub.pass_time()
    (mail,) = posted.mails
    for words in ("DAG:          d\n", "Task:         t\n", "Try:          1 of 3\n", "Host:         node7, worker w.1\n", "Reason:       exit code 3\n",
                  f"Page:         https://hub.test/rqflow/runs/{run_key('d', 'r')}/tasks/t?try=1\n", "rqflow task logs r t --try 1\n",
                  "Last 50 lines of its log:\n", "  line 32\n", "  Zahl: größer \ufffd <b>&amp;\n", "  100%\n"):
        assert words in mail.text, mail.text
    assert "line 31" not in mail.text
    assert "&lt;b&gt;&amp;amp;" in mail.html
    assert "<b>&amp;" not in mail.html
    assert "10%" not in mail.text.replace("100%", "")


def test_r62_secrets_are_masked(hub: Hub, posted: MailServer, web: WebServer) -> None:
    """Reliability 62: those of the settings, of Variables and of Connections, in reason and log, whoever is told."""
    hub.configure(posted.environ(RQFLOW__NOTICES__WEBHOOK_URLS=f"{web.url}/hook?token=hunter2", RQFLOW__DATABASE__URL="mysql://u:d%23b-pass@h/x"))
    hub.submit(mailed())
    keyring = Keyring.of(hub.settings)
    name, sealed = keyring.seal("wörd of mouth")
    run_in_transaction(hub.engine, lambda connection: variables.put(connection, "api_key", sealed, secret_key=name))
    key, password = keyring.seal("c0nn-pass")
    run_in_transaction(hub.engine, lambda connection: connections.put(connection, "db", {"conn_type": "mysql", "password": password}, secret_key=key))
    hub.log(f"login {PASSWORD}\nwörd of mouth\nc0nn-pass in it\n{web.url}/hook?token=hunter2\nd#b-pass\nplain".encode())
    hub.record(failed(2, reason="exit code 3, and c0nn-pass"))
    hub.pass_time()
    (mail,) = posted.mails
    (post,) = web.posts
    for text in (mail.text, mail.html, json.dumps(post, ensure_ascii=False)):
        assert not [secret for secret in (PASSWORD, "wörd of mouth", "c0nn-pass", "hunter2", "d#b-pass") if secret in text], text
        assert "plain" in text
    assert "exit code 3, and ***" in mail.text
    hub.configure({"RQFLOW__SECURITY__FERNET_KEY": "no key"})
    hub.record(failed(3, try_number=2))
    hub.pass_time()
    assert len(posted.mails) == 2, "a wrong key stops no mail"


def test_a_log_that_is_not_here_yet_is_said(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed("t"), mailed("u", BOB))
    hub.log(b"so far", is_whole=False)
    hub.record(failed(2), failed(3, "u"))
    hub.pass_time()
    texts = {mail.recipients[0]: mail.text for mail in posted.mails}
    assert "(the rest of its log has not arrived on the hub yet):\n\n  so far" in texts[ADA]
    assert "(nothing of its log has arrived on the hub)" in texts[BOB]


def test_a_subject_is_one_line_and_names_are_escaped(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ())
    hub.submit(mailed("t<script>"))
    hub.record(failed(2, "t<script>", reason="exit code 3\nBcc: evil@x.test"))
    hub.pass_time()
    (mail,) = posted.mails
    assert mail.message["Subject"] == "rqflow: d.t<script> failed (try 1 of 3)"
    assert mail.message["Bcc"] is None
    assert "<script>" not in mail.html


# ------------------------------------------------------------------ pausing


def fail_runs(hub: Hub, *states: str) -> None:
    for state in states:
        hub.now += timedelta(minutes=1)
        number = int((hub.now - NOON) / timedelta(minutes=1))
        hub.run(f"r{number}")
        micros = str(clock.to_micros(hub.now))
        hub.record(a_run_event(state, 0, run_id=f"r{number}", seq=micros, at=micros, ended_at=micros))
        hub.pass_time(timedelta(0))


def is_paused(hub: Hub) -> bool:
    with reading(hub.engine) as connection:
        return dags.find(connection, "d").is_paused


def test_a_dag_is_paused_after_so_many_failed_runs_in_a_row_and_people_are_told(hub: Hub, posted: MailServer) -> None:
    hub.configure(posted.environ(RQFLOW__NOTICES__MAX_FAILED_RUNS="9"))
    hub.submit(mailed("t", ADA), mailed("u", BOB, email_on_failure=False), max_consecutive_failed_dag_runs=3)
    fail_runs(hub, "failed", "failed", "success", "failed", "failed")
    assert not is_paused(hub)
    fail_runs(hub, "failed")
    assert is_paused(hub)
    hub.pass_time()
    assert posted.subjects == ["rqflow: d is paused"] * 2
    assert "its last 3 runs failed" in posted.mails[0].text
    assert "rqflow dag unpause d" in posted.mails[0].text
    hub.now += timedelta(minutes=1)
    run_in_transaction(hub.engine, lambda connection: schedule.unpause(connection, hub.version, by="ada", catchup_by_default=False))
    fail_runs(hub, "failed", "failed")
    assert not is_paused(hub), "a person has let it go on"
    fail_runs(hub, "failed")
    assert is_paused(hub)


@pytest.mark.parametrize(("limit", "setting", "paused"), [(None, "2", True), (None, "0", False), (0, "2", False)])
def test_what_the_dag_says_comes_before_the_setting(hub: Hub, limit: int | None, setting: str, paused: bool) -> None:
    hub.configure({"RQFLOW__NOTICES__MAX_FAILED_RUNS": setting})
    hub.submit(a_task("t"), max_consecutive_failed_dag_runs=limit)
    fail_runs(hub, "failed", "failed")
    assert is_paused(hub) is paused


