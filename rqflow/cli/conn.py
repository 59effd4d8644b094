"""rqflow conn: Connections, which tell tasks where other systems are and how to log in there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from rqflow.actions import connections
from rqflow.api.connections import (
    ImportConnections,
    OneConnection,
    SetConnection,
    delete_connection,
    export_connections,
    get_connection,
    import_connections,
    list_connections,
    set_connection,
    test_connection,
)
from rqflow.api.operation import Nothing
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.var import EXPORT_FIELDS, given_text, read_file, write_file
from rqflow.deploy.services import open_database
from rqflow.exceptions import NotPermitted, UsageError
from rqflow.security.keyring import Keyring

COLUMNS = [Column("conn_id", "CONNECTION"), Column("conn_type", "TYPE"), Column("host", "HOST"), Column("port", "PORT"),
           Column("schema", "SCHEMA"), Column("login", "LOGIN"), Column("description", "DESCRIPTION"),
           Column("password", "PASSWORD", wide=True), Column("extra", "EXTRA", wide=True), Column("updated_at", "CHANGED", wide=True)]


@click.group()
def conn() -> None:
    """List, show and change Connections: where other systems are, and how to log in there. Passwords and extras are kept encrypted.

    A Connection RQFLOW_CONN_ID or AIRFLOW_CONN_ID (a URI or JSON) in the environment of a worker comes before the stored one.
    """


@conn.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the Connections; secrets are hidden."""
    with asking(app) as ask:
        found = ask(list_connections, Nothing()).items
    printer.records([asdict(one) for one in found], COLUMNS)


@conn.command()
@click.argument("conn_id", metavar="ID")
@click.option("--show-secrets", is_flag=True, help="Show the password, and what is secret in extra.")
@output.listing
@pass_app
def get(app: App, printer: Printer, conn_id: str, show_secrets: bool) -> None:
    """Show a Connection, with *** for what is secret."""
    if app.server:
        if show_secrets:
            raise NotPermitted("no hub gives secrets away over the network", hint="Call it at the hub, or leave out --show-secrets.")
        with asking(app) as ask:
            found = ask(get_connection, OneConnection(conn_id=conn_id))
    else:
        with open_database(app.settings) as engine:
            found = connections.get(engine, Keyring.of(app.settings), conn_id, show_secrets=show_secrets)
    printer.record(asdict(found), name="conn_id")


@conn.command("set")
@click.argument("conn_id", metavar="ID")
@click.argument("uri", metavar="[URI|JSON|-]", required=False)
@click.option("--type", "conn_type", help="mysql, postgres, sqlite, http …")
@click.option("--host", help="Host; of SQLite the file.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port.")
@click.option("--schema", help="Database.")
@click.option("--login", help="User name.")
@click.option("--password", help="Password; - reads it from stdin, so that it stands in no list of processes.")
@click.option("--extra", help="A JSON object with more, for the driver.")
@click.option("--description", help="What it is for.")
@output.listing
@pass_app
def set_(app: App, /, printer: Printer, conn_id: str, uri: str | None, **fields: Any) -> None:
    """Make a Connection, or give it these fields in place of all that it had.

    By a URI such as mysql://login:password@host:3306/schema?charset=utf8mb4, by a JSON object of its fields, or by options.
    """
    printer.check(("conn_id",))
    given = {name: value for name, value in fields.items() if value is not None}
    if uri is None and not given:
        raise UsageError("a URI is missing", hint="Write it like mysql://login:password@host/schema, give - to read it from stdin, or use options.")
    if given.get("password") == "-":
        if uri == "-":
            raise UsageError("both the URI and the password cannot come from stdin")
        given["password"] = given_text("-", "--password")
    found = connections.read(conn_id, given_text(uri, "URI")) if uri is not None else {}
    put(app, {conn_id: connections.read(conn_id, {**found, **given})})
    printer.report([{"conn_id": conn_id}], COLUMNS[:1])


def put(app: App, wanted: dict[str, dict[str, Any]]) -> None:
    """Store Connections and say so."""
    # All that it had goes: what is not given is empty, where the hub would keep a secret.
    whole = {conn_id: {"password": "", "extra": "", **fields} for conn_id, fields in wanted.items()}
    with asking(app) as ask:
        if len(whole) == 1:
            (conn_id, fields), = whole.items()
            new = ask(set_connection, SetConnection(conn_id=conn_id, **fields)).new
        else:
            new = ask(import_connections, ImportConnections(connections=whole)).new
    if len(wanted) == 1:
        output.note(f"Connection {next(iter(wanted))} stored{', new' if new else ''}")
    else:
        output.note(f"{len(wanted)} Connections stored, {new} new")


@conn.command()
@click.argument("conn_ids", metavar="ID...", nargs=-1, required=True)
@output.listing
@pass_app
def delete(app: App, printer: Printer, conn_ids: tuple[str, ...]) -> None:
    """Delete Connections."""
    printer.check(("conn_id",))
    with asking(app) as ask:
        for conn_id in conn_ids:
            ask(delete_connection, OneConnection(conn_id=conn_id))
    output.note(f"deleted: {', '.join(conn_ids)}")
    printer.report([{"conn_id": conn_id} for conn_id in conn_ids], COLUMNS[:1])


@conn.command()
@click.argument("conn_id", metavar="ID")
@output.listing
@pass_app
def test(app: App, printer: Printer, conn_id: str) -> None:
    """Log in over a Connection from the machine of the hub and ask for `SELECT 1`; the exit code is 1 when that fails."""
    with asking(app) as ask:
        found = ask(test_connection, OneConnection(conn_id=conn_id))
    printer.record(asdict(found), name="conn_id")
    click.get_current_context().exit(0 if found.works else 1)


@conn.command("import")
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def import_(app: App, printer: Printer, file: str) -> None:
    """Store the Connections of a JSON file, {id: fields or URI}, as `conn export` and Airflow write it; all of them or none."""
    printer.check(("conn_id",))
    wanted = connections.read_file(read_file(file), file)
    put(app, wanted)
    printer.report([{"conn_id": conn_id} for conn_id in wanted], COLUMNS[:1])


@conn.command()
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def export(app: App, printer: Printer, file: str) -> None:
    """Write all Connections, secrets in clear, into a JSON file that only you can read; - is stdout. With --server without the secrets."""
    printer.check(EXPORT_FIELDS)
    if app.server:
        with asking(app) as ask:
            found = ask(export_connections, Nothing())
        output.problem("warning: passwords and extras are left out: no hub gives them away over the network")
    else:
        with open_database(app.settings) as engine:
            found = connections.exported(engine, Keyring.of(app.settings))
    write_file(printer, file, found, "Connections")


