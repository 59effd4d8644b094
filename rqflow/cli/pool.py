"""rqflow pool: limits on tasks that run at the same time, across DAGs."""

from __future__ import annotations

from dataclasses import asdict

import click

from rqflow.actions import pools
from rqflow.api.operation import Nothing
from rqflow.api.pools import (
    ImportPools,
    OnePool,
    SetPool,
    delete_pool,
    export_pools,
    get_pool,
    import_pools,
    list_pools,
    set_pool,
)
from rqflow.cli import formerly, output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.cli.var import EXPORT_FIELDS, read_file, write_file

COLUMNS = [Column("name", "POOL"), Column("slots", "SLOTS"), Column("used", "USED"), Column("parked", "PARKED"),
           Column("description", "DESCRIPTION", wide=True)]
#: What Airflow 1.7's `pool` is told by.
_OLD = {"-g", "--get", "-s", "--set", "-x", "--delete"}


class PoolGroup(click.Group):
    """The commands below `pool`, and the options in their place that Airflow 1.7 had."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take old options as those of a hidden command."""
        return super().parse_args(ctx, ["formerly", *args] if args and args[0] in _OLD else args)


@click.group(cls=PoolGroup)
def pool() -> None:
    """List and change pools: limits on tasks that run at the same time, across DAGs."""


@pool.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List the pools with the slots in use and the tasks that wait for one."""
    with asking(app) as ask:
        printer.records([_row(printer, one) for one in ask(list_pools, Nothing()).items], COLUMNS)


def _row(printer: Printer, one: pools.Pool) -> dict[str, object]:
    return asdict(one) | ({"slots": "unlimited"} if one.slots is None and printer.is_for_people else {})


@pool.command()
@click.argument("name")
@output.listing
@pass_app
def get(app: App, printer: Printer, name: str) -> None:
    """Show one pool."""
    with asking(app) as ask:
        printer.record(_row(printer, ask(get_pool, OnePool(pool=name))), name="name")


@pool.command("set")
@click.argument("name")
@click.argument("slots", type=int)
@click.option("--description", help="What the pool stands for.")
@output.listing
@pass_app
def set_(app: App, printer: Printer, name: str, slots: int, description: str | None) -> None:
    """Make a pool, or change its slots; tasks that run go on."""
    printer.check(output.fields_of(pools.Pool))
    with asking(app, carries=False) as ask:
        done = ask(set_pool, SetPool(pool=name, slots=slots, description=description))
    printer.report([asdict(done.pool)], COLUMNS)
    output.note(f"pool {name} {'made' if done.is_new else 'changed'}: {slots} slots")


@pool.command()
@click.argument("name")
@output.listing
@pass_app
def delete(app: App, printer: Printer, name: str) -> None:
    """Delete a pool; tasks that name it wait until it exists again."""
    printer.check(("name",))
    with asking(app) as ask:
        ask(delete_pool, OnePool(pool=name))
    output.note(f"pool {name} deleted")
    printer.report([{"name": name}], COLUMNS[:1])


@pool.command("import")
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def import_(app: App, printer: Printer, file: str) -> None:
    """Make or change the pools of a JSON file, {name: {"slots": N, "description": text}}, as `pool export` and Airflow write it."""
    printer.check(output.fields_of(pools.Pool))
    wanted = pools.read_file(read_file(file), file)
    given = {name: {"slots": slots, **({"description": text} if text is not None else {})} for name, (slots, text) in wanted.items()}
    with asking(app, carries=False) as ask:
        printer.report([asdict(one) for one in ask(import_pools, ImportPools(pools=given)).items], COLUMNS)
    output.note(f"{len(wanted)} pool{'s' if len(wanted) != 1 else ''} stored")


@pool.command()
@click.argument("file", metavar="FILE|-")
@output.listing
@pass_app
def export(app: App, printer: Printer, file: str) -> None:
    """Write all pools that have a number of slots into a JSON file; - is stdout."""
    printer.check(EXPORT_FIELDS)
    with asking(app) as ask:
        found = ask(export_pools, Nothing())
    write_file(printer, file, found, "pools")


pool.add_command(formerly.pool_, "formerly")
