"""Commands of Airflow 1.7 whose options choose what is done: `variables`, `connections`, `pool -g`. Each says its new name on stderr."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from rqflow.actions import connections
from rqflow.api.connections import list_connections
from rqflow.api.operation import Nothing
from rqflow.api.pools import OnePool, SetPool, delete_pool, get_pool, set_pool
from rqflow.cli import conn, output, var
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.exceptions import NotFound, UsageError


def renamed(old: str, new: str) -> None:
    """Say on stderr how a command is called now."""
    output.note(f"`rqflow {old}` is now `rqflow {new}`")


@click.command("variables", hidden=True)
@click.option("-s", "--set", "setting", nargs=2, metavar="KEY VAL")
@click.option("-g", "--get", "key", metavar="KEY")
@click.option("-j", "--json", "as_json", is_flag=True)
@click.option("-d", "--default", metavar="VAL")
@click.option("-i", "--import", "source", metavar="FILE")
@click.option("-e", "--export", "target", metavar="FILE")
@click.option("-x", "--delete", "doomed", metavar="KEY")
@click.pass_context
def variables_(ctx: click.Context, setting: tuple[str, str] | None, key: str | None, as_json: bool, default: str | None, source: str | None,
               target: str | None, doomed: str | None) -> None:
    """Do what Airflow's `variables` did."""
    if setting:
        renamed("variables -s", "var set")
        ctx.invoke(var.set_, output="table", fields="", key=setting[0], value=setting[1], as_json=as_json)
    elif key is not None:
        renamed("variables -g", "var get")
        output.line(_value(ctx.obj, key, default, as_json))
    elif source is not None:
        renamed("variables -i", "var import")
        ctx.invoke(var.import_, output="table", fields="", file=source)
    elif target is not None:
        renamed("variables -e", "var export")
        ctx.invoke(var.export, output="table", fields="", file=target)
    elif doomed is not None:
        renamed("variables -x", "var delete")
        ctx.invoke(var.delete, output="table", fields="", keys=(doomed,))
    else:
        renamed("variables", "var list")
        _list_names(ctx.obj)


def _value(app: App, key: str, default: str | None, as_json: bool) -> str:
    try:
        value = var.one_variable(app, key, show_secret=True).value or ""
    except NotFound:
        if default is None:
            raise
        value = default
    if as_json:
        var.variables_json(value, key)
    return value


def _list_names(app: App) -> None:
    for one in var.stored(app)[0]:
        output.line(one.key)


#: Option of `connections` -> field of a Connection.
_FIELDS = {"conn_type": "conn_type", "conn_host": "host", "conn_login": "login", "conn_password": "password", "conn_schema": "schema",
           "conn_port": "port", "conn_extra": "extra"}


@click.command("connections", hidden=True)
@click.option("-l", "--list", "listing", is_flag=True)
@click.option("-a", "--add", is_flag=True)
@click.option("-d", "--delete", is_flag=True)
@click.option("--conn_id")
@click.option("--conn_uri")
@click.option("--conn_type")
@click.option("--conn_host")
@click.option("--conn_login")
@click.option("--conn_password")
@click.option("--conn_schema")
@click.option("--conn_port", type=click.IntRange(1, 65535))
@click.option("--conn_extra")
@click.pass_context
def connections_(ctx: click.Context, /, listing: bool, add: bool, delete: bool, conn_id: str | None, conn_uri: str | None, **options: Any) -> None:
    """Do what Airflow's `connections` did."""
    if add or delete:
        if not conn_id:
            raise UsageError("--conn_id is missing")
        if delete:
            renamed("connections -d", "conn delete")
            ctx.invoke(conn.delete, output="table", fields="", conn_ids=(conn_id,))
            return
        renamed("connections -a", "conn set")
        fields = {_FIELDS[name]: value for name, value in options.items() if value is not None}
        found = connections.read(conn_id, conn_uri) if conn_uri else {}
        conn.put(ctx.obj, {conn_id: connections.read(conn_id, {**found, **fields})})
        return
    renamed("connections" + (" -l" if listing else ""), "conn list")
    printer = output.Printer()
    with asking(ctx.obj) as ask:
        printer.records([asdict(one) for one in ask(list_connections, Nothing()).items], conn.COLUMNS)


@click.command("pool", hidden=True)
@click.option("-g", "--get", "name", metavar="NAME", help="Show a pool.")
@click.option("-s", "--set", "setting", nargs=3, metavar="NAME SLOTS DESCRIPTION", help="Make or change a pool.")
@click.option("-x", "--delete", "doomed", metavar="NAME", help="Delete a pool.")
@pass_app
def pool_(app: App, name: str | None, setting: tuple[str, str, str] | None, doomed: str | None) -> None:
    """Do what Airflow's `pool` did."""
    with asking(app, carries=False) as ask:
        if setting:
            renamed("pool -s", "pool set")
            if not setting[1].isdecimal():
                raise UsageError(f"{setting[1]!r} is no number of slots")
            name = ask(set_pool, SetPool(pool=setting[0], slots=int(setting[1]), description=setting[2])).pool.name
        elif doomed is not None:
            renamed("pool -x", "pool delete")
            ask(delete_pool, OnePool(pool=doomed))
            output.note(f"pool {doomed} deleted")
            return
        else:
            renamed("pool -g", "pool get")
        if name is None:
            raise UsageError("pool needs a command, or one of -g, -s and -x", hint="`rqflow pool --help` shows the commands.")
        found = ask(get_pool, OnePool(pool=name))
    about = f" ({found.description})" if found.description else ""
    output.line(f"{found.name}: {'unlimited' if found.slots is None else found.slots} slots, {found.used} used{about}")
