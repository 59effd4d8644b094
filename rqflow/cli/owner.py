"""rqflow user owner, rqflow dag chown, share and unshare: whose DAGs are."""

from __future__ import annotations

import pwd
from dataclasses import asdict

import click

from rqflow.actions.people import ownership
from rqflow.api.dags import OneDag
from rqflow.api.operation import Nothing
from rqflow.api.owners import DeleteOwner, SetOwner, delete_owner, list_owners, set_owner
from rqflow.api.sharing import GiveDag, ShareDag, give_dag, list_shares, share_dag, unshare_dag
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer
from rqflow.deploy.services import open_database
from rqflow.exceptions import UsageError
from rqflow.store.shares import EVERYONE, OwnerMapping, Share

MAP_COLUMNS = [Column("owner", "OWNER"), Column("username", "USER"), Column("who", "BY", wide=True), Column("mapped_at", "SINCE", wide=True)]
SHARE_COLUMNS = [Column("dag_id", "DAG"), Column("username", "WITH"), Column("who", "BY", wide=True), Column("shared_at", "SINCE", wide=True)]
CHOWN_FIELDS = ("dag_id", "submitted_by")


@click.group()
def owner() -> None:
    """Say which people the owners of DAG files are (`default_args={"owner": …}`): DAGs of an owner are theirs, too."""


@owner.command("list")
@output.listing
@pass_app
def list_(app: App, printer: Printer) -> None:
    """List which people the owners are."""
    printer.check(output.fields_of(OwnerMapping))
    with asking(app) as ask:
        printer.records([asdict(one) for one in ask(list_owners, Nothing()).items], MAP_COLUMNS)


@owner.command("set")
@click.argument("name", metavar="OWNER")
@click.argument("username", metavar="USER")
@output.listing
@pass_app
def set_(app: App, printer: Printer, name: str, username: str) -> None:
    """Say that an owner is this person; one owner may be several people."""
    printer.check(output.fields_of(OwnerMapping))
    with asking(app) as ask:
        if app.server:
            is_new = ask(set_owner, SetOwner(owner=name, username=username)).changed
        else:  # here it may be an account of this machine, too
            with open_database(app.settings) as engine:
                is_new = ownership.map_owner(engine, name, username, by=who(), is_account=_is_account(username))
        rows = [asdict(one) for one in ask(list_owners, Nothing()).items if one.owner == name]
    output.note(f"the owner {name} is {'now' if is_new else 'already'} {username}")
    printer.report(rows, MAP_COLUMNS)


@owner.command()
@click.argument("name", metavar="OWNER")
@click.argument("username", metavar="USER", required=False)
@output.listing
@pass_app
def delete(app: App, printer: Printer, name: str, username: str | None) -> None:
    """Say that an owner is this person no more; without USER, nobody."""
    printer.check(("owner", "removed"))
    with asking(app) as ask:
        before = ask(list_owners, Nothing()).items
        ask(delete_owner, DeleteOwner(owner=name, username=username))
    number = len([one for one in before if one.owner == name and username in {None, one.username}])
    output.note(f"the owner {name} is {f'not {username}' if username else 'nobody'} any more")
    printer.report([{"owner": name, "removed": number}], [Column("owner", "OWNER"), Column("removed", "REMOVED")])


@click.command()
@click.argument("dag_id", metavar="DAG")
@click.argument("username", metavar="USER")
@output.listing
@pass_app
def chown(app: App, printer: Printer, dag_id: str, username: str) -> None:
    """Give a DAG to a person: only they, and administrators, submit it from then on."""
    printer.check(CHOWN_FIELDS)
    if app.server:
        with asking(app) as ask:
            owned_by: str | None = ask(give_dag, GiveDag(dag_id=dag_id, username=username)).submitted_by
    else:
        with open_database(app.settings) as engine:
            owned_by = ownership.chown(engine, dag_id, username, by=who(), is_account=_is_account(username)).submitted_by
    output.note(f"{dag_id} belongs to {username}")
    printer.report([{"dag_id": dag_id, "submitted_by": owned_by}], [Column("dag_id", "DAG"), Column("submitted_by", "OF")])


@click.command()
@click.argument("dag_id", metavar="DAG")
@click.argument("username", metavar="[USER]", required=False)
@click.option("--everyone", is_flag=True, help="With all people who may log in.")
@output.listing
@pass_app
def share(app: App, printer: Printer, dag_id: str, username: str | None, everyone: bool) -> None:
    """Let a person work with a DAG as with their own: see, start, clear, pause; not submit. Without USER: list with whom it is shared."""
    printer.check(output.fields_of(Share))
    with asking(app) as ask:
        if username is None and not everyone:
            printer.records([asdict(one) for one in ask(list_shares, OneDag(dag_id=dag_id)).items], SHARE_COLUMNS)
            return
        name = _with(username, everyone=everyone)
        if app.server:
            is_new = ask(share_dag, ShareDag(dag_id=dag_id, username=name)).changed
        else:
            with open_database(app.settings) as engine:
                is_new = ownership.share(engine, dag_id, name, by=who(), is_account=_is_account(name))
        rows = [asdict(one) for one in ask(list_shares, OneDag(dag_id=dag_id)).items]
    output.note(f"{dag_id} is {'now' if is_new else 'already'} shared with {_called(name)}")
    printer.report(rows, SHARE_COLUMNS)


@click.command()
@click.argument("dag_id", metavar="DAG")
@click.argument("username", metavar="[USER]", required=False)
@click.option("--everyone", is_flag=True, help="No more with all people; those with whom it was shared by name keep it.")
@output.listing
@pass_app
def unshare(app: App, printer: Printer, dag_id: str, username: str | None, everyone: bool) -> None:
    """Share a DAG with a person no more."""
    printer.check(output.fields_of(Share))
    name = _with(username, everyone=everyone)
    with asking(app) as ask:
        ask(unshare_dag, ShareDag(dag_id=dag_id, username=name))
        rows = [asdict(one) for one in ask(list_shares, OneDag(dag_id=dag_id)).items]
    output.note(f"{dag_id} is not shared with {_called(name)} any more")
    printer.report(rows, SHARE_COLUMNS)


def _with(username: str | None, *, everyone: bool) -> str:
    if (username is None) is not everyone or username == EVERYONE:
        raise UsageError("name a person, or say --everyone")
    return username if username is not None else EVERYONE


def _called(name: str) -> str:
    return "everyone" if name == EVERYONE else name


def _is_account(name: str) -> bool:
    """Tell whether this machine has an account of this name: one who submits at the hub need not be a user of the page."""
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True
