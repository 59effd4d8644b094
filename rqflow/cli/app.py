"""What all commands of one call share: the global options, the settings, and how times are shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from getpass import getuser
from pathlib import Path
from typing import Any

import click

from rqflow import logs, settings
from rqflow.cli import output
from rqflow.dag import outside
from rqflow.exceptions import UsageError
from rqflow.security.entries import CONN, VAR, secrets_of
from rqflow.security.masking import Masker
from rqflow.settings import Settings


@dataclass(kw_only=True)
class App:
    """The global options; the settings are read when a command asks for them."""

    home: Path | None = None
    file: Path | None = None
    verbosity: int = 0
    color: str = "auto"
    may_ask: bool = True
    tz: str = "UTC"
    #: URL of the web server of a hub that is asked in place of this one.
    server: str = ""

    @property
    def settings(self) -> Settings:
        """The settings of the hub of this home. Raises ConfigError, and UsageError with --server: then another hub is meant."""
        if self.server:
            raise UsageError("this does not go with --server: it works at the hub alone",
                             hint="Call it there, or leave out --server and RQFLOW_SERVER.")
        return self.here

    @cached_property
    def here(self) -> Settings:
        """The settings of this machine, by which files are loaded and tried here, also for a hub elsewhere. Raises ConfigError."""
        logs.setup(self.verbosity - 1)
        found = settings.load(home=self.home, file=self.file)
        self._tell_what_is_stored(found)
        return found

    def fresh_settings(self) -> Settings:
        """Return the settings of the hub of this home as they would be now. Raises ConfigError."""
        return settings.load(home=self.home, file=self.file)

    @cached_property
    def masker(self) -> Masker:
        """Blots out the secrets of Variables and Connections that this call has read."""
        return Masker()

    def _tell_what_is_stored(self, found: Settings) -> None:
        """Let DAG files that are loaded, and templates that are rendered here, see the stored Variables and Connections."""
        def note(kind: str, name: str, given: str) -> None:
            self.masker.add(secrets_of(kind, name, given))

        def view(kind: str) -> Mapping[str, Any]:
            if self.server:
                from rqflow.cli.stored import OfServer  # here: what asks a server, which most calls do not need

                return OfServer(self, kind)
            from rqflow.deploy.known import Known  # here: the libraries of the database, which most calls do not need for this

            return Known(found, self.masker).view(kind)

        outside.provide(variables=outside.Later(lambda: view(VAR)), connections=outside.Later(lambda: view(CONN)), note=note)

    @property
    def zone(self) -> tzinfo:
        """The time zone in which times are shown. Raises UsageError for one that is not known."""
        return output.zone(self.tz)

    def service_settings(self) -> Settings:
        """The same for a command that serves in the foreground, whose log tells every change of a state."""
        found = self.settings
        logs.setup(self.verbosity)
        return found


def who() -> str:
    """Return the name of the person at the command line, for the record of what was done."""
    try:
        return getuser()
    except (KeyError, OSError):  # a container with a uid that has no name
        return f"uid {os.getuid()}"


#: Hands the App to a command as its first argument.
pass_app = click.make_pass_decorator(App)
