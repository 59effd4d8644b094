"""Mail as a real server gets it: STARTTLS, login, UTF-8, and everything that a server may refuse."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from rqflow import mail, settings, values
from rqflow.mail import Mail, MailError
from rqflow.settings import Smtp
from tests.mailserver import MailServer, mail_server


@pytest.fixture
def server(tmp_path: Path):
    with mail_server(tmp_path) as running:
        yield running


def given(server: MailServer, **changes: object) -> Smtp:
    return replace(settings.load(home=Path("/nonexistent"), environ=server.environ()).smtp, **changes)


A_MAIL = Mail(to=["ada@x.test"], subject="a\nb", text="Grüße")


def refusal(server: MailServer, mail_: Mail = A_MAIL, **changes: object) -> MailError:
    with pytest.raises(MailError) as caught:
        mail.send(mail_, given(server, **changes))
    return caught.value


def test_mail_arrives_over_starttls_and_login(server: MailServer, tmp_path: Path) -> None:
    attached = tmp_path / "zahlen ü.csv"
    attached.write_bytes(b"1,2\n")
    mail.send(Mail(to=["Ada Lovelace <ada@x.test>", "b@x.test"], cc=["c@x.test"], bcc=["d@x.test"], subject="Größe 🙂 in\r\nBcc: evil@x.test",
                   text="ok \udcff", html="<b>größer</b>", files=[str(attached)]), given(server))
    (found,) = server.mails
    assert found.recipients == ["ada@x.test", "b@x.test", "c@x.test", "d@x.test"]
    assert (found.sender, found.message["To"], found.message["Cc"]) == ("rqflow@lab.test", "Ada Lovelace <ada@x.test>, b@x.test", "c@x.test")
    assert found.message["Bcc"] is None
    assert found.message["Subject"] == "Größe 🙂 in Bcc: evil@x.test"
    assert (found.text.strip(), found.html.strip()) == ("ok ?", "<b>größer</b>")
    (file,) = found.message.iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("zahlen ü.csv", "1,2\n")


def test_mail_arrives_over_tls_from_the_first_byte(tmp_path: Path) -> None:
    with mail_server(tmp_path, ssl_on_connect=True) as server:
        mail.send(A_MAIL, given(server, smtp_ssl=True, smtp_user=""))
        assert server.subjects == ["a b"]


def test_settings_of_airflow_are_read_and_ours_win(server: MailServer) -> None:
    found = settings.load(home=Path("/nonexistent"), environ=server.environ(RQFLOW__SMTP__SMTP_USER="me"))
    assert (found.smtp.smtp_user, found.smtp.smtp_host) == ("me", "localhost")
    assert found.origins["smtp.smtp_host"] == "AIRFLOW__SMTP__SMTP_HOST"


@pytest.mark.parametrize(("changes", "words", "is_final"), [
    ({"smtp_password": "wrong"}, "refuses the login of hub: 535 5.7.8", True),
    ({"smtp_password": "größer"}, "ASCII characters only", True),
    ({"smtp_ca_file": ""}, "the certificate of the mail server localhost:", True),
    ({"smtp_host": "127.0.0.1"}, "is not accepted", True),
    ({"smtp_starttls": False}, "cannot do that: SMTP AUTH", True),
    ({"smtp_starttls": False, "smtp_user": ""}, "refuses the sender rqflow@lab.test: 530", True),
    ({"smtp_ssl": True}, "no TLS with the mail server", True),
    ({"smtp_ca_file": "/nonexistent/ca.pem"}, "smtp_ca_file /nonexistent/ca.pem cannot be read: No such file", True),
    ({"smtp_host": ""}, "no SMTP configured", True),
    ({"smtp_host": "no-such-host.invalid"}, "the mail server no-such-host.invalid:", False),
])
def test_what_is_wrong_with_the_settings_is_said(server: MailServer, changes: dict[str, object], words: str, is_final: bool) -> None:
    error = refusal(server, **changes)
    assert words in error.message
    assert (error.is_final, error.is_of_server) == (is_final, True)
    assert server.mails == []


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    with mail_server(tmp_path, starttls=False) as server:
        error = refusal(server)
        assert "does not offer STARTTLS" in error.message
        assert error.is_final
        assert "smtp_starttls = false" in error.hint
        mail.send(A_MAIL, given(server, smtp_starttls=False, smtp_user=""))
        assert server.subjects == ["a b"]


def test_a_refused_recipient_is_named_and_the_others_get_theirs(server: MailServer) -> None:
    server.refused = {"gone@x.test": "550 no such person", "later@x.test": "451 greylisted"}
    error = refusal(server, replace(A_MAIL, to=["gone@x.test"]))
    assert "refuses gone@x.test: 550 no such person" in error.message
    assert (error.is_final, error.is_of_server) == (True, False)
    assert not refusal(server, replace(A_MAIL, to=["later@x.test"])).is_final
    assert mail.send(replace(A_MAIL, to=["gone@x.test", "ada@x.test"]), given(server)) == {"gone@x.test": "550 no such person"}
    assert [found.recipients for found in server.mails] == [["ada@x.test"]]


@pytest.mark.parametrize(("answer", "is_final"), [("552 too large", True), ("452 disk full", False)])
def test_an_answer_to_the_text_says_whether_it_is_final(server: MailServer, answer: str, is_final: bool) -> None:
    server.answer = answer
    error = refusal(server)
    assert answer in error.message
    assert (error.is_final, error.is_of_server) == (is_final, False)


def test_a_server_that_is_away_or_silent_is_tried_again(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        error = refusal(server, smtp_port=port, smtp_timeout=values.parse_duration("200ms"))
        assert (error.is_final, error.message) == (False, f"the mail server localhost:{port} does not answer")
    waits: list[float] = []
    monkeypatch.setattr("rqflow.clock.sleep", waits.append)
    with pytest.raises(MailError, match="is away: Connection refused"):
        mail.send(A_MAIL, given(server, smtp_port=port), attempts=3)
    assert len(waits) == 2


def test_a_file_that_is_not_there_is_refused(server: MailServer) -> None:
    assert "cannot be attached" in refusal(server, replace(A_MAIL, files=["/nonexistent/x"])).message
    assert server.mails == []
