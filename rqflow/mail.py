"""Mail by SMTP, with the settings of [smtp]: for the hub's notices, and for tasks that send mail.

smtplib and email are imported when something is sent: an idle process does without them.
"""

from __future__ import annotations

import mimetypes
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from rqflow import clock
from rqflow.exceptions import RqflowError
from rqflow.settings import Smtp
from rqflow.values import parse, show

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

#: Of this process: told once to the child of a task by its worker.
_provided: list[Smtp] = []
#: Characters of a subject that are kept.
MOST_SUBJECT = 200
#: Characters of a line of a header: a subject is not folded, which some programs show.
_HEADER = 400
#: Seconds between two attempts to reach the server, for a task that waits for it.
PAUSE = 2.0
_UNSET = "no SMTP configured"


class MailError(RqflowError):
    """A mail could not be sent."""

    def __init__(self, message: str, *, hint: str = "", is_final: bool, is_of_server: bool) -> None:
        """Say what is wrong; `is_final`: sending it once more would be in vain; `is_of_server`: no other mail would do better now."""
        super().__init__(message, hint=hint)
        self.is_final, self.is_of_server = is_final, is_of_server


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """What is sent. A text, an HTML part, or both; the text is then what a reader shows that has no HTML."""

    to: Sequence[str]
    subject: str
    text: str = ""
    html: str = ""
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    sender: str = ""
    #: Paths of files to attach.
    files: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def spelled(given: Smtp) -> dict[str, str]:
    """Return the settings as texts, for `provide` in another process."""
    return {one.name: show(getattr(given, one.name)) for one in fields(given)}


def provide(texts: Mapping[str, str]) -> None:
    """Tell this process the settings for its mail, as `spelled` gives them."""
    kinds = get_type_hints(Smtp)
    _provided[:] = [Smtp(**{name: parse(text, kinds[name]) for name, text in texts.items() if name in kinds})]


def provided() -> Smtp:
    """Return the settings for mail of this process; those of nobody when it was told none."""
    return _provided[0] if _provided else Smtp()


def sender(given: Smtp) -> str:
    """Return whom mail is from."""
    return given.smtp_mail_from or f"rqflow@{socket.getfqdn() or 'localhost'}"


def one_line(text: str) -> str:
    """Return `text` as a header takes it: one line, nothing that cannot be printed, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MOST_SUBJECT else line[:MOST_SUBJECT - 1] + "…"


def compose(mail: Mail, given: Smtp) -> EmailMessage:
    """Return the message; raises MailError for an address or a file that cannot be taken."""
    from email.message import EmailMessage  # here: as above
    from email.policy import SMTP  # here: as above
    from email.utils import format_datetime  # here: as above

    message = EmailMessage(policy=SMTP.clone(max_line_length=_HEADER))
    try:
        message["From"] = mail.sender or sender(given)
        for name, addresses in (("To", mail.to), ("Cc", mail.cc)):
            if addresses:
                message[name] = ", ".join(map(_address, addresses))
        message["Subject"] = one_line(mail.subject)
        message["Date"] = format_datetime(clock.utcnow())
        for name, value in mail.headers.items():
            message[name] = one_line(value)
    except (ValueError, IndexError, AttributeError) as error:
        raise MailError(f"a mail to {', '.join(mail.to)} has a header that mail does not take: {error}", is_final=True, is_of_server=False) from error
    text, html = (part.encode("utf-8", "replace").decode() for part in (mail.text, mail.html))
    if text or not html:
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
    else:
        message.set_content(html, subtype="html")
    for name in mail.files:
        _attach(message, Path(name))
    return message


def send(mail: Mail, given: Smtp, *, attempts: int = 1) -> dict[str, str]:
    """Send it; return {address: reason} of the recipients that the server refused while it took others.

    A server that is away is tried `attempts` times. Raises MailError.
    """
    if not given.smtp_host:
        raise MailError(_UNSET, hint="Set smtp_host in [smtp] of rqflow.cfg, or RQFLOW__SMTP__SMTP_HOST.", is_final=True, is_of_server=True)
    message = compose(mail, given)
    recipients = [*mail.to, *mail.cc, *mail.bcc]
    for attempt in range(1, attempts + 1):
        try:
            return _deliver(message, recipients, given)
        except MailError as error:
            if error.is_final or not error.is_of_server or attempt == attempts:
                raise
        clock.sleep(PAUSE)
    raise AssertionError("attempts must be at least 1")


def probe(given: Smtp) -> None:
    """Reach the mail server, encrypted and logged in as the settings say, and send nothing. Raises MailError with what is wrong."""
    with _reached(given):
        pass


def _deliver(message: EmailMessage, recipients: Sequence[str], given: Smtp) -> dict[str, str]:
    with _reached(given) as server:
        refused = server.send_message(message, to_addrs=recipients)
    return {address: _said(reply) for address, reply in refused.items()}


@contextmanager
def _reached(given: Smtp) -> Iterator[smtplib.SMTP]:
    """Give a connection; raises MailError for what goes wrong, in the block too."""
    import smtplib  # here: as above
    import ssl  # here: as above

    where = f"{given.smtp_host}:{given.smtp_port}"
    try:
        server = _connected(given)
        try:
            yield server
        finally:
            # Its answer is not waited for: the mail is sent or not, and trouble now must not have it sent again.
            with suppress(smtplib.SMTPException, OSError):
                server.putcmd("QUIT")
            server.close()
    except ssl.SSLCertVerificationError as error:
        raise MailError(f"the certificate of the mail server {where} is not accepted: {error.verify_message}",
                        hint="smtp_host must be the name in it, and smtp_ca_file name its CA unless the system knows it.",
                        is_final=True, is_of_server=True) from error
    except ssl.SSLError as error:
        raise MailError(f"no TLS with the mail server {where}: {error.reason or error}",
                        hint="smtp_ssl is for ports that speak TLS from the first byte on (465), smtp_starttls for the others (587, 25).",
                        is_final=True, is_of_server=True) from error
    except smtplib.SMTPNotSupportedError as error:
        raise _unsupported(error, where) from error
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(f"the mail server {where} refuses the login of {given.smtp_user}: {_said((error.smtp_code, error.smtp_error))}",
                        hint="See smtp_user and smtp_password in [smtp].", is_final=error.smtp_code >= 500, is_of_server=True) from error
    except smtplib.SMTPRecipientsRefused as error:
        replies = "; ".join(f"{address}: {_said(reply)}" for address, reply in error.recipients.items())
        is_final = all(code >= 500 for code, _ in error.recipients.values())
        raise MailError(f"the mail server {where} refuses {replies}", is_final=is_final, is_of_server=False) from error
    except smtplib.SMTPSenderRefused as error:
        raise MailError(f"the mail server {where} refuses the sender {error.sender}: {_said((error.smtp_code, error.smtp_error))}",
                        hint="See smtp_mail_from, smtp_user and smtp_starttls in [smtp].",
                        is_final=error.smtp_code >= 500, is_of_server=True) from error
    except smtplib.SMTPResponseException as error:
        raise MailError(f"the mail server {where} refuses: {_said((error.smtp_code, error.smtp_error))}", is_final=error.smtp_code >= 500,
                        is_of_server=not isinstance(error, smtplib.SMTPDataError)) from error
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _away(error, where) from error


def _connected(given: Smtp) -> smtplib.SMTP:
    """Return a connection that is encrypted and logged in as the settings say."""
    import smtplib  # here: as above

    timeout, context = max(given.smtp_timeout.total_seconds(), 0.1), _trust(given)
    if given.smtp_ssl:
        server: smtplib.SMTP = smtplib.SMTP_SSL(given.smtp_host, given.smtp_port, timeout=timeout, context=context)
    else:
        server = smtplib.SMTP(given.smtp_host, given.smtp_port, timeout=timeout)
    try:
        if given.smtp_starttls and not given.smtp_ssl:
            server.starttls(context=context)
        if given.smtp_user:
            _log_in(server, given)
    except BaseException:
        server.close()
        raise
    return server


def _log_in(server: smtplib.SMTP, given: Smtp) -> None:
    try:
        server.login(given.smtp_user, given.smtp_password)
    except UnicodeError as error:
        raise MailError("smtp_user and smtp_password may have ASCII characters only", is_final=True, is_of_server=True) from error


def _trust(given: Smtp) -> Any:
    import ssl  # here: as above

    context = ssl.create_default_context()
    if given.smtp_ca_file:
        try:
            context.load_verify_locations(Path(given.smtp_ca_file).expanduser())
        except OSError as error:
            raise MailError(f"smtp_ca_file {given.smtp_ca_file} cannot be read: {error.strerror or error}",
                            is_final=True, is_of_server=True) from error
    return context


def _unsupported(error: Exception, where: str) -> MailError:
    if "STARTTLS" in str(error):
        return MailError(f"the mail server {where} does not offer STARTTLS",
                         hint="Set smtp_ssl = true for a server that speaks TLS from the first byte on (465); smtp_starttls = false sends in clear.",
                         is_final=True, is_of_server=True)
    is_of_server = "SMTPUTF8" not in str(error)
    return MailError(f"the mail server {where} cannot do that: {error}", is_final=True, is_of_server=is_of_server)


def _away(error: Exception, where: str) -> MailError:
    """Return what is to be said of a server that does not answer as one: it is tried again."""
    if isinstance(error, socket.gaierror):
        text = f"the mail server {where} is not known here: {error.strerror}"
    elif isinstance(error, TimeoutError) or "timed out" in str(error):
        text = f"the mail server {where} does not answer"
    elif isinstance(error, UnicodeError):
        return MailError(f"the mail server {where} cannot be asked for this: {error}", is_final=True, is_of_server=False)
    else:
        text = f"the mail server {where} is away: {getattr(error, 'strerror', '') or error}"
    return MailError(text, hint="See smtp_host and smtp_port in [smtp].", is_final=False, is_of_server=True)


def _said(reply: tuple[int, Any]) -> str:
    code, text = reply
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return f"{code} {' '.join(words.split())}"


def _address(text: str) -> str:
    """Return an address as a header takes it."""
    from email.utils import formataddr, parseaddr  # here: as above

    name, address = parseaddr(text)
    return formataddr((name, address)) if address and name and address.isascii() else text.strip()


def _attach(message: EmailMessage, path: Path) -> None:
    kind, encoding = mimetypes.guess_type(path.name)
    main, _, sub = (kind if kind and not encoding else "application/octet-stream").partition("/")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MailError(f"{path} cannot be attached: {error.strerror}", is_final=True, is_of_server=False) from error
    message.add_attachment(data, maintype=main, subtype=sub, filename=path.name)


def addresses(given: str | Iterable[str] | None) -> list[str]:
    """Return the addresses of a text with commas or semicolons between them, or of a list."""
    if given is None:
        return []
    parts = given.replace(";", ",").split(",") if isinstance(given, str) else [str(one) for one in given]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))
