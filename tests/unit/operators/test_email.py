from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from rqflow import DAG, mail
from rqflow.dag.airflow.email import get_email_address_list, send_email
from rqflow.dag.problems import noting
from rqflow.dag.serialization import version_of
from rqflow.exceptions import TaskFailed
from rqflow.operators.email import EmailOperator
from rqflow.settings import Smtp


@pytest.fixture(autouse=True)
def _as_nobody_told() -> Iterator[None]:
    yield
    mail.provide({})


def test_everything_that_airflow_takes_is_kept_and_rendered_in_the_child() -> None:
    with DAG("d") as dag:
        EmailOperator(task_id="m", to=["a@x", "b@x"], subject="{{ ds }}", html_content="{{ run_id }}", files=["/tmp/{{ ds }}.csv"], cc="c@x", bcc="d@x",
                      mime_subtype="mixed", mime_charset="utf-8", conn_id="smtp_default", custom_headers={"X-A": "b"}, from_email="me@x")
    spec = version_of(dag, file="d.py", generation="2", sources={"d.py": "text"}).tasks[0]
    assert (spec.operator, spec.needs_source) == ("email", True)
    assert spec.fields["files"] == ["/tmp/{{ ds }}.csv"]
    assert {"to", "subject", "html_content", "files", "cc", "bcc", "from_email"} == set(spec.template_fields)
    assert dag.get_task("m").source_files() == ()


def test_a_mail_to_nobody_is_refused_when_the_file_is_loaded() -> None:
    with noting() as notes, DAG("d"):
        EmailOperator(task_id="m", subject="x", html_content="y")
    assert "EmailOperator needs to" in str(notes.problems[0])


def test_without_smtp_the_task_fails_with_the_name_of_the_setting() -> None:
    with pytest.raises(TaskFailed, match="no SMTP configured") as caught:
        send_email("a@x.test", "s", "h")
    assert "smtp_host" in caught.value.hint
    with pytest.raises(TaskFailed, match="no address"):
        send_email([], "s", "h")
    send_email("a@x.test", "s", "h", dryrun=True)


def test_settings_reach_another_process_as_they_are() -> None:
    given = Smtp(smtp_host="h", smtp_port=587, smtp_password="p%w", smtp_starttls=False)
    mail.provide(mail.spelled(given))
    assert mail.provided() == given


def test_addresses_are_read_as_airflow_reads_them() -> None:
    assert get_email_address_list("a@x, b@x; a@x") == ["a@x", "b@x"]
    assert get_email_address_list(("a@x", "b@x")) == ["a@x", "b@x"]


@pytest.mark.parametrize("path", ["airflow.operators", "airflow.operators.email", "airflow.operators.email_operator", "airflow.providers.smtp.operators.smtp"])
def test_every_generation_imports_it(path: str) -> None:
    from rqflow.dag.airflow.names import NAMES

    assert NAMES[path]["EmailOperator"] == "rqflow.operators.email:EmailOperator"
    module, _, name = NAMES[path]["EmailOperator"].partition(":")
    assert getattr(importlib.import_module(module), name) is EmailOperator
