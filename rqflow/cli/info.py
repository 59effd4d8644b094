"""rqflow info and version."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version as installed

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.deploy import describe

PROCESSES = [Column("name", "PROCESS"), Column("kind", "KIND"), Column("host", "HOST"), Column("pid", "PID"), Column("version", "RQFLOW"),
             Column("protocol", "PROTOCOL")]


@click.command()
def version() -> None:
    """Print the version of rqflow."""
    output.line(installed("rqflow"))


@click.command()
@output.listing
@pass_app
def info(app: App, printer: Printer) -> None:
    """Show versions, paths, back ends, and which processes live, of which release; holds no secret, so it can go into a bug report."""
    libraries = ", ".join(f"{name} {installed(name)}" for name in ("redis", "rq", "rq-scheduler", "SQLAlchemy"))
    head = {"rqflow": installed("rqflow"), "python": platform.python_version(), "executable": sys.executable, "libraries": libraries}
    told = head | {"platform": platform.platform()} | describe.places(app.settings) | describe.live_state(app.settings)
    printer.record(told, name="rqflow")
    if printer.shows_parts and told.get("processes"):
        printer.blank()
        printer.records(told["processes"], PROCESSES)
