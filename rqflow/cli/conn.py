"""rqflow conn: Connections, which tell tasks where other systems are and how to log in there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from rqflow.actions import connections
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.output import Column, Printer
from rqflow.cli.var import EXPORT_FIELDS, given_text, read_file, write_file
from rqflow.deploy.services import open_database, open_services
from rqflow.exceptions import UsageError
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
    with open_database(app.settings) as engine:
        found = connections.list_all(engine)
    printer.records([asdict(one) for one in found], COLUMNS)


@conn.command()
@click.argument("conn_id", metavar="ID")
@click.option("--show-secrets", is_flag=True, help="Show the password, and what is secret in extra.")
@output.listing
@pass_app
def get(app: App, printer: Printer, conn_id: str, show_secrets: bool) -> None:
    """Show a Connection, with *** for what is secret."""
    keyring = Keyring.of(app.settings)
    with open_database(app.settings) as engine:
        found = connections.get(engine, keyring, conn_id, show_secrets=show_secrets)
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
    keyring = Keyring.of(app.settings)
    with open_services(app.settings) as services:
        new = connections.put(services.broker, services.engine, keyring, wanted, by=who())
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
    with open_services(app.settings) as services:
        connections.remove(services.broker, services.engine, conn_ids, by=who())
    output.note(f"deleted: {', '.join(conn_ids)}")
    printer.report([{"conn_id": conn_id} for conn_id in conn_ids], COLUMNS[:1])


@conn.command()
@click.argument("conn_id", metavar="ID")
@output.listing
@pass_app
def test(app: App, printer: Printer, conn_id: str) -> None:
    """Log in over a Connection from this machine and ask for `SELECT 1`; the exit code is 1 when that fails."""
    keyring = Keyring.of(app.settings)
    with open_database(app.settings) as engine:
        works, said = connections.test(engine, keyring, conn_id)
    printer.record({"conn_id": conn_id, "works": works, "message": said}, name="conn_id")
    click.get_current_context().exit(0 if works else 1)


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
    """Write all Connections, secrets in clear, into a JSON file that only you can read; - is stdout."""
    printer.check(EXPORT_FIELDS)
    keyring = Keyring.of(app.settings)
    with open_database(app.settings) as engine:
        found = connections.exported(engine, keyring)
    write_file(printer, file, found, "Connections")


