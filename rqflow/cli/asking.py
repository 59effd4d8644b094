"""What commands share that change things: asking first."""

from __future__ import annotations

import sys

import click

from rqflow.cli.app import App
from rqflow.exceptions import UsageError


def is_asked(app: App) -> bool:
    """Tell whether there is a person who can be asked."""
    return app.may_ask and sys.stdin.isatty()


def confirm(app: App, what: str, *, yes: bool) -> None:
    """Ask whether this is meant; raises UsageError where nobody can be asked, Abort for a no."""
    if yes:
        return
    if not is_asked(app):
        raise UsageError(f"{what}: nobody can be asked", hint="Add --yes.")
    click.confirm(f"{what}?", abort=True, err=True)
