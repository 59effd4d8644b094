"""A mail server for tests (aiosmtpd), with STARTTLS and login as a real one asks for them, and a web server that takes what is posted."""

from __future__ import annotations

import email
import email.policy
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "hub", "correct-horse"


@dataclass
class Arrived:
    """A mail as the server got it."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        """Its plain text."""
        part = self.message.get_body(("plain",))
        return part.get_content().replace("\r\n", "\n") if part else ""

    @property
    def html(self) -> str:
        """Its HTML."""
        part = self.message.get_body(("html",))
        return part.get_content().replace("\r\n", "\n") if part else ""


@dataclass
class MailServer:
    """What the server does, and what it got."""

    port: int = 0
    ca_file: str = ""
    mails: list[Arrived] = field(default_factory=list)
    #: {recipient: answer} of those that it refuses, and what it answers to the text of a mail.
    refused: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"
    #: Told of each mail before the answer.
    on_mail: Callable[[], None] = lambda: None

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.on_mail()
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            message = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            self.mails.append(Arrived(envelope.mail_from or "", list(envelope.rcpt_tos), message))
        return self.answer

    @property
    def subjects(self) -> list[str]:
        """The subjects of what it got."""
        return [mail.message["Subject"] for mail in self.mails]

    def environ(self, **more: str) -> dict[str, str]:
        """The settings of whoever sends mail here, as variables of Airflow."""
        given = {"HOST": "localhost", "PORT": str(self.port), "STARTTLS": "True", "USER": USER, "PASSWORD": PASSWORD, "MAIL_FROM": "rqflow@lab.test"}
        return {**{f"AIRFLOW__SMTP__SMTP_{name}": text for name, text in given.items()}, "RQFLOW__SMTP__SMTP_CA_FILE": self.ca_file, **more}


def _login(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(folder: Path, *, starttls: bool = True, port: int = 0, host_in_certificate: str = "localhost", ssl_on_connect: bool = False,
                before: MailServer | None = None) -> Iterator[MailServer]:
    """A server that takes mail after STARTTLS and login only; without `starttls` it offers neither. One that was there `before` may come back."""
    server = before or MailServer()
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host_in_certificate).configure_cert(context)
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(file)
    server.ca_file = str(file)
    options: dict[str, Any] = {}
    if ssl_on_connect:
        options = {"ssl_context": context, "authenticator": _login, "auth_require_tls": False}
    elif starttls:
        options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": _login}
    controller = Controller(server, hostname="127.0.0.1", port=port or _free_port(), **options)
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def _free_port() -> int:
    import socket  # here: nothing else needs it

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class WebServer:
    """What was posted, and what is answered."""

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    #: Answers of the next posts, in their order; then 200.
    answers: list[int] = field(default_factory=list)


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A server that keeps what is posted as JSON and answered with 200."""
    found = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = found.answers.pop(0) if found.answers else 200
            if status == 200:
                found.posts.append(body)
                found.headers.append(dict(self.headers))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"no \xff such luck")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
