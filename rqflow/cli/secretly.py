"""Reading a password: from a person at a terminal, who types it twice, or from stdin."""

from __future__ import annotations

import sys

import click

from rqflow.cli.app import App
from rqflow.cli.asking import is_asked
from rqflow.exceptions import UsageError
from rqflow.security import passwords


def password(app: App, username: str, *, from_stdin: bool, otherwise: str = "") -> str:
    """Return a password for a person. Raises UsageError for one that is none, and where nobody can be asked; `otherwise` is another way then."""
    if from_stdin:
        given = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    elif is_asked(app):
        given = str(click.prompt(f"Password of {username}", hide_input=True, confirmation_prompt="Once more", err=True))
    else:
        raise UsageError("nobody can be asked for the password", hint=f"Add --password-stdin{otherwise}.")
    passwords.check(given)
    return given
