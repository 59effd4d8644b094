"""Secrets that let in whoever has them: ids of sessions, tokens, links. Only their sha256 is kept."""

from __future__ import annotations

import hashlib
import secrets

#: Bytes of chance in each: nobody guesses them, so they need no slow hash.
BYTES = 32
#: How a token begins, by which scanners of repositories know it.
TOKEN = "rqf_"  # noqa: S105 - what all have in common


def new_secret() -> str:
    """Return a random text for a session or a link, of letters that a URL and a cookie take."""
    return secrets.token_urlsafe(BYTES)


def new_token() -> str:
    """Return a random token for a program."""
    return TOKEN + new_secret()


def digest(secret: str) -> str:
    """Return what is kept of a secret: its sha256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
