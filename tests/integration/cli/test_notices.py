"""What was told to whom, what was missed, and the mail server: as people and programs see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rqflow import clock, settings
from rqflow.dag.run import SCHEDULED
from rqflow.deploy.hub import outbox
from rqflow.deploy.services import open_services
from rqflow.recorder.apply import apply
from rqflow.scheduler.sla import SlaWatch
from rqflow.store import dags, runs
from rqflow.store.engine import run_in_transaction
from tests.integration.cli.conftest import Rqflow
from tests.integration.recorder.events import START, an_end
from tests.mailserver import MailServer, mail_server
from tests.unit.builders import a_run, a_task, a_version

WITH_MAIL = """
from rqflow import DAG, EmptyOperator
with DAG("m", default_args={"email": "ada@x.test"}):
    EmptyOperator(task_id="a")
with DAG("quiet", default_args={"email": "ada@x.test", "email_on_failure": False, "email_on_retry": False}):
    EmptyOperator(task_id="a")
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with mail_server(tmp_path) as running:
        for name, text in running.environ().items():
            monkeypatch.setenv(name, text)
        yield running


@pytest.fixture
def told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that failed, with no mail server configured, and that had an sla."""
    monkeypatch.setenv("RQFLOW__NOTICES__GATHER", "0s")
    version = a_version(specs=[a_task("t", email=("ada@x.test",), sla=60.0)])
    at = datetime(2026, 9, 21, 14, tzinfo=UTC)
    run = a_run(version, run_id="r", run_type=SCHEDULED, logical_date=at - timedelta(hours=1), data_interval_end=at, created_at=at)
    with open_services(settings.load(home=home)) as services:
        run_in_transaction(services.engine, lambda connection: dags.save_version(connection, version))
        run_in_transaction(services.engine, lambda connection: runs.create(connection, run))
        run_in_transaction(services.engine, lambda connection: apply(connection, [an_end("failed", 2, reason="exit code 3")]))
        watch = SlaWatch(services.engine, lambda: clock.from_micros(START + 10_000_000))
        watch.step()
        tell = outbox(services)
        tell.sort()
        tell.send()


@pytest.mark.usefixtures("told")
def test_messages_and_misses_are_listed_shown_and_tried_again(rqflow: Rqflow) -> None:
    found = json.loads(rqflow("notice", "list", "-o", "json").out)
    assert {(one["kind"], one["recipient"], one["state"], one["error"], one["run_id"]) for one in found} == {
        (kind, "mailto:ada@x.test", "not_sent", "no SMTP configured", "r") for kind in ("failure", "sla")}
    assert "not sent: no SMTP configured" in rqflow("notice", "list").out
    assert json.loads(rqflow("notice", "list", "--state", "sent", "-o", "json").out) == []
    assert json.loads(rqflow("notice", "list", "--dag", "other", "-o", "json").out) == []
    message = next(one["message_id"] for one in found if one["kind"] == "failure")
    assert "Subject: rqflow: d.t failed (try 1 of 3)" in rqflow("notice", "show", message[:8]).out
    shown = json.loads(rqflow("notice", "show", message, "-o", "json").out)
    assert (shown["subject"], "exit code 3" in shown["text"]) == ("rqflow: d.t failed (try 1 of 3)", True)
    assert rqflow("notice", "retry", message).err == "1 message will be tried again\n"
    again = rqflow("notice", "retry", message)
    assert (again.code, "is waiting" in again.err) == (5, True)
    assert rqflow("notice", "retry", "--all").err == "1 message will be tried again\n"
    assert rqflow("notice", "retry").code == 2
    assert rqflow("notice", "show", "zz").code == 3
    (miss,) = json.loads(rqflow("sla", "list", "-o", "json").out)
    assert (miss["dag_id"], miss["run_id"], miss["task_id"], miss["due_at"]) == ("d", "r", "t", "2026-09-21T14:01:00.000000+00:00")
    assert json.loads(rqflow("sla", "list", "--dag", "other", "-o", "json").out) == []
    run = json.loads(rqflow("run", "show", "r", "-o", "json").out)
    assert (run["sla_misses"], run["tasks"][0]["sla_missed"]) == (1, "2026-09-21T14:01:00.000000+00:00")
    assert "sla missed, due 2026-09-21 14:01:00 UTC" in rqflow("run", "show", "r").out
    assert json.loads(rqflow("run", "list", "-o", "json").out)[0]["sla_misses"] == 1


def test_submit_warns_of_a_dag_with_email_where_none_is_sent(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(WITH_MAIL)
    said = rqflow("submit", file)
    assert said.code == 0
    assert "warning: m has `email`, and no mail is sent from here: no SMTP configured (smtp_host in [smtp])" in said.err
    assert "quiet has" not in said.err


def test_a_mail_server_is_tested_without_any_service(rqflow: Rqflow, server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.refused = {"gone@x.test": "550 no such person"}
    said = rqflow("notice", "test", "ada@x.test", "gone@x.test")
    assert (said.code, server.subjects) == (7, ["rqflow: a test"])
    assert f"localhost refuses gone@x.test: 550 no such person\nlocalhost:{server.port} has taken it for ada@x.test\n" in said.err
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD", "hunter2")
    said = rqflow("notice", "test", "ada@x.test")
    assert said.code == 7
    assert "refuses the login of hub: 535" in said.err
    assert "hunter2" not in said.err
    monkeypatch.setenv("RQFLOW__SMTP__SMTP_HOST", "")
    said = rqflow("notice", "test", "ada@x.test")
    assert (said.code, said.err.splitlines()[0]) == (6, "rqflow: no SMTP configured")


def test_a_scheduler_with_a_bad_webhook_says_so_at_its_start(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__NOTICES__WEBHOOK_URLS", "hooks.example.org/x")
    said = rqflow("scheduler")
    assert (said.code, "notices.webhook_urls: each must begin with http" in said.err) == (6, True)
