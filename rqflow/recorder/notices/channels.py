"""The ways by which messages go out: mail, webhooks, and chats by apprise. What is needed for one is imported when something is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from rqflow import mail
from rqflow.exceptions import RqflowError
from rqflow.recorder.notices.content import Content
from rqflow.recorder.notices.letters import write
from rqflow.settings import Settings
from rqflow.store import notices

#: Answers of a webhook by which another try makes sense; of all others below 500 it does not.
_TRANSIENT = {408, 425, 429}
#: Answers that say nothing about what was posted.
_BUSY = {429, 502, 503, 504}
#: Bytes of a webhook's answer that are looked at.
_ANSWER = 300


class Failure(RqflowError):
    """A message could not be sent."""

    def __init__(self, message: str, *, state: str = "", is_of_server: bool = False) -> None:
        """Say why, and what the message becomes by it (empty: it is tried again); `is_of_server`: no other one would do better now."""
        super().__init__(message)
        self.state, self.is_of_server = state, is_of_server


Channel = Callable[[Content, str], None]


def channels(settings: Settings, webhooks: Mapping[str, str], chats: Mapping[str, str]) -> dict[str, Channel]:
    """Return {channel: what sends a content to a recipient of it, or raises Failure}."""
    def by_mail(content: Content, address: str) -> None:
        _mail(settings, content, address)

    def to_webhook(content: Content, name: str) -> None:
        _post(_url(webhooks, notices.WEBHOOK + name, "notices.webhook_urls"), content, settings.notices.webhook_timeout.total_seconds())

    def to_chat(content: Content, name: str) -> None:
        _chat(_url(chats, notices.CHAT + name, "notices.apprise_urls"), content)

    return {notices.MAIL: by_mail, notices.WEBHOOK: to_webhook, notices.CHAT: to_chat}


def _mail(settings: Settings, content: Content, address: str) -> None:
    if not settings.smtp.smtp_host:
        raise Failure("no SMTP configured", state=notices.NOT_SENT)
    letter, message = write(content), content.message
    domain = mail.sender(settings.smtp).rpartition("@")[2].strip("> ") or "localhost"
    headers = {"Message-ID": f"<{message.message_id}.rqflow@{domain}>", "Auto-Submitted": "auto-generated", "X-Rqflow-Dag": message.dag_id}
    try:
        mail.send(mail.Mail(to=[address], subject=letter.subject, text=letter.text, html=letter.html, headers=headers), settings.smtp)
    except mail.MailError as error:
        raise Failure(str(error), state=notices.REFUSED if error.is_final else "", is_of_server=error.is_of_server) from error


def _post(url: str, content: Content, timeout: float) -> None:
    """Send the content to a webhook, as JSON."""
    import http.client  # here: as above
    import urllib.error  # here: as above
    import urllib.request  # here: as above

    class Straight(urllib.request.HTTPRedirectHandler):
        """Follows no redirect: what is posted would arrive as an empty question."""

        def redirect_request(self, *_: Any) -> None:
            return None

    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "rqflow", "Idempotency-Key": content.message.message_id}
    url, login = _apart(url)
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode('ascii')}"
    request = urllib.request.Request(url, json.dumps(content.plain(), ensure_ascii=False).encode("utf-8", "replace"), headers, method="POST")  # noqa: S310
    try:
        with urllib.request.build_opener(Straight).open(request, timeout=timeout) as answer:
            answer.read(_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            said = " ".join(error.read(_ANSWER).decode("utf-8", "replace").split())
        is_final = error.code < 500 and error.code not in _TRANSIENT
        raise Failure(f"it answers {error.code} {error.reason}{f': {said}' if said else ''}", state=notices.REFUSED if is_final else "",
                      is_of_server=error.code in _BUSY) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Failure(f"it is away: {'no answer' if isinstance(reason, TimeoutError) else reason}", is_of_server=True) from error


def _apart(url: str) -> tuple[str, str]:
    """Return a URL without the name and password in it, and these as a header has them."""
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=place)), unquote(login)


def _chat(url: str, content: Content) -> None:
    """Send the content to a chat."""
    try:
        import apprise  # here: an extra, and as above
    except ImportError as error:
        raise Failure('apprise is not installed: pip install "rqflow[apprise]"', state=notices.NOT_SENT) from error
    letter, chat = write(content), apprise.Apprise()
    if not chat.add(url):
        raise Failure("apprise does not understand this URL of notices.apprise_urls", state=notices.REFUSED)
    kind = apprise.NotifyType.FAILURE if content.message.kind not in {notices.SUCCESS, notices.RECOVERY} else apprise.NotifyType.SUCCESS
    if not chat.notify(title=letter.subject, body=letter.text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
        raise Failure("apprise could not send it; the log of the scheduler may say why")


def _url(known: Mapping[str, str], recipient: str, setting: str) -> str:
    if recipient not in known:
        raise Failure(f"it is no longer in {setting}", state=notices.REFUSED)
    return known[recipient]
