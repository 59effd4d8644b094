"""rqflow var: Variables, which DAG files, templates and tasks read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rqflow.actions import variables
from rqflow.api.operation import Nothing
from rqflow.api.variables import (
    ImportVariables,
    OneVariable,
    SetVariable,
    delete_variable,
    export_variables,
    get_variable,
    import_variables,
    list_variables,
    set_variable,
)
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.deploy.services import open_database
from rqflow.exceptions import NotPermitted, UsageError
from rqflow.security.keyring import Keyring

COLUMNS = [Column("key", "VARIABLE"), Column("value", "VALUE"), Column("is_secret", "SECRET"), Column("description", "DESCRIPTION"),
           Column("updated_at", "CHANGED", wide=True)]


@click.group()
def var() -> None:
    """List, show and change Variables, which DAG files, templates and tasks read. They are kept encrypted.

    A Variable RQFLOW_VAR_NAME or AIRFLOW_VAR_NAME in the environment of a worker, or of who loads a file, comes before the stored one.
    """


@var.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the Variables; values of secrets are hidden."""
    found, wrong = stored(app)
    printer.records([asdict(one) for one in found], COLUMNS)
    if wrong:
        output.problem(f"warning: {wrong}")


def stored(app: App) -> tuple[Sequence[variables.Variable], str]:
    """Return the Variables, and why some cannot be opened."""
    if app.server:
        with asking(app) as ask:
            found = ask(list_variables, Nothing()).items
        return found, "the key of the hub does not open all of them" if any(one.value is None for one in found) else ""
    with open_database(app.settings) as engine:
        return variables.list_all(engine, Keyring.of(app.settings))


@var.command()
@click.argument("key")
@click.option("--show-secrets", is_flag=True, help="Show the value of a secret, too.")
@output.listing
@pass_app
def get(app: App, printer: Printer, key: str, show_secrets: bool) -> None:
    """Print the value of a Variable as it is; with -o json all about it. A secret is shown as *** without --show-secrets."""
    found = one_variable(app, key, show_secret=show_secrets)
    if printer.format == "table" and not printer.fields:
        output.line(found.value or "")
    else:
        printer.record(asdict(found), name="key")


def one_variable(app: App, key: str, *, show_secret: bool) -> variables.Variable:
    """Return a Variable. Raises NotFound, and NotPermitted for a secret of a hub elsewhere that is to be shown."""
    if not app.server:
        with open_database(app.settings) as engine:
            return variables.get(engine, Keyring.of(app.settings), key, show_secret=show_secret)
    with asking(app) as ask:
        found = ask(get_variable, OneVariable(key=key))
    if show_secret and found.is_secret:
        raise NotPermitted(f"the Variable {key} is a secret, which no hub gives away over the network", hint="Call it at the hub.")
    return found


@var.command("set")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--secret/--no-secret", default=None, help="Never show it in lists, and blot it out in logs.")
@click.option("--json", "as_json", is_flag=True, help="Refuse a value that is no JSON.")
@click.option("--description", help="What it is for.")
@output.listing
@pass_app
def set_(app: App, printer: Printer, key: str, value: str | None, secret: bool | None, as_json: bool, description: str | None) -> None:
    """Make a Variable, or change it. VALUE - reads it from stdin, so that it stands in no list of processes.

    What is called password, secret, token, api_key and the like is a secret in any case.
    """
    printer.check(("key",))
    text = given_text(value, "VALUE")
    if as_json:
        variables_json(text, key)
    put(app, {key: variables.Given(value=text, is_secret=secret, description=description)})
    printer.report([{"key": key}], COLUMNS[:1])


def put(app: App, wanted: dict[str, variables.Given]) -> None:
    """Store Variables and say so."""
    with asking(app) as ask:
        if len(wanted) == 1:
            (key, given), = wanted.items()
            new = ask(set_variable, SetVariable(key=key, value=given.value, is_secret=given.is_secret, description=given.description)).new
        else:
            new = ask(import_variables, ImportVariables(variables={key: _exported(given) for key, given in wanted.items()})).new
    if len(wanted) == 1:
        output.note(f"Variable {next(iter(wanted))} stored{', new' if new else ''}")
    else:
        output.note(f"{len(wanted)} Variables stored, {new} new")


def _exported(given: variables.Given) -> dict[str, Any]:
    """Return a Variable as a file of Variables has it; what is not given is left out."""
    found = {"value": given.value, "secret": given.is_secret, "description": given.description}
    return {name: value for name, value in found.items() if value is not None}


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python takes for JSON."""
    raise ValueError(f"{name} is no value of JSON")


def variables_json(text: str, key: str) -> None:
    """Raise UsageError for a value that is no JSON; it is not shown."""
    try:
        json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UsageError(f"the value of {key} is no JSON: {error}", hint="Write texts in double quotes, or leave out --json.") from None


@var.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@output.listing
@pass_app
def delete(app: App, printer: Printer, keys: tuple[str, ...]) -> None:
    """Delete Variables."""
    printer.check(("key",))
    with asking(app) as ask:
        for key in keys:
            ask(delete_variable, OneVariable(key=key))
    output.note(f"deleted: {', '.join(keys)}")
    printer.report([{"key": key} for key in keys], COLUMNS[:1])


@var.command("import")
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def import_(app: App, printer: Printer, file: str) -> None:
    """Store the Variables of a JSON file, {name: value}, as `var export` and Airflow write it; all of them or none."""
    printer.check(("key",))
    wanted = variables.read_file(read_file(file), file)
    put(app, wanted)
    printer.report([{"key": key} for key in wanted], COLUMNS[:1])


@var.command()
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def export(app: App, printer: Printer, file: str) -> None:
    """Write all Variables, secrets in clear, into a JSON file that only you can read; - is stdout. With --server without the secrets."""
    printer.check(EXPORT_FIELDS)
    if app.server:
        with asking(app) as ask:
            found = ask(export_variables, Nothing())
        output.problem("warning: secrets are left out: no hub gives them away over the network")
    else:
        with open_database(app.settings) as engine:
            found = variables.exported(engine, Keyring.of(app.settings))
    write_file(printer, file, found, "Variables")


def given_text(value: str | None, what: str) -> str:
    """Return a value of the command line, or for - what stdin holds without its last line end; raises UsageError for none."""
    if value is None:
        raise UsageError(f"{what} is missing", hint="Give it as an argument, or - to read it from stdin.")
    return read_file("-").removesuffix("\n") if value == "-" else value


def read_file(file: str) -> str:
    """Return the text of a file, of stdin for -; raises UsageError."""
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{file}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


#: What is told of an export that went to a file.
EXPORT_FIELDS = ("file", "number")


def write_file(printer: Printer, file: str, plain: dict[str, Any], what: str) -> None:
    """Write JSON to a file for its owner only, whatever the file was, or to stdout for -; raises UsageError."""
    text = json.dumps(plain, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if file == "-":
        output.line(text.removesuffix("\n"))
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogatepass") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    output.note(f"{len(plain)} {what} written to {file}, for your eyes only")
    printer.report([{"file": file, "number": len(plain)}], [Column("file", "FILE"), Column("number", "NUMBER")])
