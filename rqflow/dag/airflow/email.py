"""airflow.utils.email: `send_email`, for callables and for EmailOperator."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from rqflow import mail
from rqflow.exceptions import TaskFailed

logger = logging.getLogger("rqflow.task.email")


def send_email(
    to: str | Iterable[str], subject: str, html_content: str, files: Iterable[str] | None = None, dryrun: bool = False,
    cc: str | Iterable[str] | None = None, bcc: str | Iterable[str] | None = None, mime_subtype: str = "mixed", mime_charset: str = "utf-8",
    conn_id: str | None = None, custom_headers: Mapping[str, str] | None = None, from_email: str | None = None, **_: Any,
) -> None:
    """Send a mail with the settings [smtp] of this machine's worker; raises TaskFailed with what the server, or the settings, lack.

    `mime_subtype`, `mime_charset` and `conn_id` are taken and ignored: mail is UTF-8, with the parts that it has.
    """
    del mime_subtype, mime_charset, conn_id
    given = mail.provided()
    letter = mail.Mail(
        to=mail.addresses(to), cc=mail.addresses(cc), bcc=mail.addresses(bcc), subject=str(subject), html=str(html_content), sender=from_email or "",
        files=[str(name) for name in ([files] if isinstance(files, str) else files or ())], headers=dict(custom_headers or {}),
    )  # fmt: skip
    if not letter.to:
        raise TaskFailed("there is no address to send the mail to")
    if dryrun:
        return
    try:
        refused = mail.send(letter, given, attempts=max(given.smtp_retry_limit, 1))
    except mail.MailError as error:
        raise TaskFailed(f"the mail was not sent: {error.message}", hint=error.hint) from error
    for address, reply in refused.items():
        logger.warning("the mail server refuses %s: %s", address, reply)
    logger.info("mail sent to %s", ", ".join(one for one in (*letter.to, *letter.cc, *letter.bcc) if one not in refused))


#: Airflow's name of the same, by way of its setting email_backend.
send_email_smtp = send_email


def get_email_address_list(addresses: str | Iterable[str]) -> list[str]:
    """Return the addresses of a text with commas or semicolons between them, or of a list."""
    return mail.addresses(addresses)
