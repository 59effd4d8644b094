"""Command groups that import a command only when it is used, so that `rqflow --help` answers at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from rqflow.cli import output


class LazyGroup(click.Group):
    """A group whose commands are named as `module:attribute`; aliases are old names of commands, hidden in --help.

    So are the commands in `formerly`, which take old options.
    """

    def __init__(self, *args: Any, commands: Mapping[str, str], summaries: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]],
                 formerly: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        """Keep the names; nothing is imported."""
        super().__init__(*args, **kwargs)
        self.places = dict(commands)
        self.summaries = dict(summaries)
        self.aliases = dict(aliases)
        self.formerly = dict(formerly or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which they are shown."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return a command."""
        place = self.places.get(cmd_name) or self.formerly.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; an alias becomes its new name, which is said on stderr."""
        new = self.aliases.get(args[0])
        if new and not ctx.resilient_parsing:
            output.note(f"`rqflow {args[0]}` is now `rqflow {' '.join(new)}`")
            args = [*new, *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the summaries without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summaries[name]) for name in self.places])
