"""rqflow config: the settings in force."""

from __future__ import annotations

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.output import Column, Printer
from rqflow.exceptions import NotFound
from rqflow.settings import Settings, keys
from rqflow.values import show


@click.group()
def config() -> None:
    """Show the settings: defaults, rqflow.cfg, and RQFLOW__SECTION__KEY."""


@config.command("list")
@click.option("--changed", is_flag=True, help="Only settings that differ from their default.")
@output.listing
@pass_app
def list_(app: App, printer: Printer, changed: bool) -> None:
    """List all settings with where each value comes from. Secrets are hidden."""
    rows = _rows(app.settings)
    printer.check(rows[0])
    printer.records([row for row in rows if not changed or row["origin"] != "default"],
                    [Column("name", "SETTING"), Column("value", "VALUE"), Column("origin", "FROM"), Column("help", "MEANING", wide=True)])


@config.command()
@click.argument("name")
@pass_app
def get(app: App, name: str) -> None:
    """Print the value of one setting, for example worker.slots; secrets too."""
    section, _, option = name.partition(".")
    if (section, option) not in {(s, field.name) for s, field, _ in keys()}:
        raise NotFound(f"there is no setting {name}", hint="`rqflow config list` shows all of them.")
    output.line(show(getattr(getattr(app.settings, section), option)))


@config.command()
@pass_app
def check(app: App) -> None:
    """Read rqflow.cfg and the environment, and say what cannot be used; exit 6 then."""
    where = app.settings.file or f"{app.settings.home / 'rqflow.cfg'}, which is not there,"
    output.note(f"{where} and the environment can be used")


@config.command()
def default() -> None:
    """Print a rqflow.cfg with all settings, their meanings and defaults, commented out."""
    from rqflow.deploy import home  # here: not needed to look at the settings in force

    output.line(home.sample().rstrip("\n"))


def _rows(settings: Settings) -> list[dict[str, str]]:
    rows = []
    for section, field, _ in keys():
        value = show(getattr(getattr(settings, section), field.name))
        name = f"{section}.{field.name}"
        hidden = "***" if field.metadata["secret"] and value else value
        rows.append({"name": name, "value": hidden, "origin": settings.origins.get(name, "default"), "help": field.metadata["help"]})
    for name, line in settings.tunnels.lines.items():
        rows.append({"name": f"tunnels.{name}", "value": line, "origin": settings.origins[f"tunnels.{name}"], "help": "A tunnel."})
    return rows
