"""rqflow worker bootstrap, join, add, admit: machines that become workers of a hub."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from rqflow import settings as configuration
from rqflow.cli import output
from rqflow.cli.app import App, pass_app, who
from rqflow.cli.asking import is_asked
from rqflow.cli.output import Column, Printer
from rqflow.deploy.joining.remote import HostKey
from rqflow.exceptions import UsageError

JOINED = [Column("name", "WORKER"), Column("hub", "HUB"), Column("queues", "QUEUES"), Column("line", "LINE FOR THE HUB", wide=True)]


@click.command()
@click.option("--prefix", default="~/rqflow", show_default=True, metavar="DIR", help="Folder on the new machine, in which venv will be a link.")
@click.option("--wheels", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Take the wheels of this folder, as `pip "
              "wheel rqflow` makes them; for machines with another Python than the hub's. Without it: those of what is installed here.")
@click.option("--python", default="", metavar="PROGRAM", help="The Python to use on the new machine; else the first there that fits.")
def bootstrap(prefix: str, wheels: Path | None, python: str) -> None:
    """Print a script that installs this rqflow on another machine, which needs no Internet.

    There: ssh USER@HUB rqflow worker bootstrap | sh. It carries all wheels, makes a virtual environment and switches a link to it; run again it
    upgrades.
    """
    from rqflow.deploy.joining import bootstrap as script  # here: only this command reads all that is installed
    from rqflow.deploy.joining import wheels as found

    chosen = found.of_folder(wheels) if wheels else found.of_installed()
    text = script.script(chosen, prefix=prefix, hub=script.address(configuration.environment()), python=python)
    if sys.stdout.isatty():
        raise UsageError(f"this is a script of {len(text) >> 20} MB for another machine", hint="There: ssh USER@HUB rqflow worker bootstrap | sh")
    output.raw(text.encode())


@click.command()
@click.argument("hub", metavar="USER@HUB")
@click.option("--hub-key", default="", metavar="SHA256:…", help="The fingerprint that the hub's key must have; without it you are asked.")
@click.option("--name", "id_", default="", metavar="ID", help="Short id of this worker, which is called HOST.ID; else one by chance.")
@click.option("--queues", default="", metavar="NAME,...", help="Queues that it serves.")
@click.option("--labels", default="", metavar="NAME[=VALUE],...", help="What this machine has.")
@click.option("--database", is_flag=True, help="Forward the hub's database too: then the worker records its results itself.")
@click.option("--print", "prints", is_flag=True, help="Do not change authorized_keys on the hub: print the line for who may.")
@click.option("--jump", default="", metavar="HOST,...", help="Dial over these hosts.")
@click.option("--hub-home", default="", metavar="DIR", help="RQFLOW_HOME on the hub, where it is not the usual one.")
@output.listing
@pass_app
def join(app: App, /, printer: Printer, hub: str, hub_key: str, id_: str, **asked: Any) -> None:
    """Let this home be a worker of a hub, which is reached by ssh. Then: rqflow up worker.

    Makes keys of its own, lets the hub admit them (you log in there as usual), and writes tunnel and redis.url into rqflow.cfg.
    """
    from rqflow.deploy.joining import joiner  # here: the hub's side of it brings the libraries of the database along

    wish = joiner.Wish(hub=hub, hub_key=hub_key, id=id_, **asked)
    done = joiner.join(app.settings, wish, believes=lambda key: _believes(app, hub, "--hub-key", key), tell=output.note)
    for line in joiner.summary(done):
        output.note(line)
    output.note("Next: rqflow up worker")
    printer.report([{"name": done.name, "hub": done.hub, "queues": done.queues, "line": done.line}], JOINED)


@click.command(hidden=True)
@pass_app
def admit(app: App) -> None:
    """Let a worker join this hub: what it asks comes as JSON on stdin. `rqflow worker join` runs this over ssh."""
    from rqflow.deploy.joining import hub, proof  # here: the libraries of the database
    from rqflow.deploy.services import open_services

    try:
        asked = json.loads(sys.stdin.readline())
    except ValueError as error:
        raise UsageError("what a worker asks comes as JSON on stdin", hint="`rqflow worker join`, there, runs this.") from error
    with open_services(app.settings) as services:
        told = hub.admit(services, asked, by=who()).told()
    with tempfile.TemporaryDirectory(prefix="rqflow-") as folder:
        doorman = proof.Doorman(Path(folder))
        output.line(json.dumps({**told, "probe": str(doorman.path)}))
        sys.stdout.flush()
        doorman.stay(sys.stdin)


@click.command()
@click.argument("node", metavar="USER@NODE")
@click.option("--node-key", default="", metavar="SHA256:…", help="The fingerprint that the machine's key must have; without it you are asked.")
@click.option("--name", "id_", default="", metavar="ID", help="Short id of the worker, which is called HOST.ID, and of the tunnel to it.")
@click.option("--queues", default="", metavar="NAME,...", help="Queues that it serves.")
@click.option("--labels", default="", metavar="NAME[=VALUE],...", help="What that machine has.")
@click.option("--prefix", default="~/rqflow", show_default=True, metavar="DIR", help="Folder there in which rqflow is installed.")
@click.option("--wheels", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="As in bootstrap.")
@output.listing
@pass_app
def add(app: App, /, printer: Printer, node: str, node_key: str, id_: str, **asked: Any) -> None:
    """Make a worker of a machine that lets only ssh in: on the hub, which dials it from then on.

    Installs rqflow there, makes keys, keeps a tunnel with -R up, and starts the worker there; each step is told. Again, it upgrades.
    """
    from rqflow.deploy.joining import adding  # here: the libraries of the database
    from rqflow.deploy.services import open_services

    wish = adding.Node(address=node, node_key=node_key, id=id_, **asked)
    with open_services(app.settings) as services:
        done = adding.add(services, app.settings, wish, by=who(), believes=lambda key: _believes(app, node, "--node-key", key), tell=output.note)
    output.note(f"{done.name} is a worker of this hub, over the tunnel {done.tunnel}")
    printer.report([{"name": done.name, "hub": done.tunnel, "queues": wish.queues, "line": ""}], JOINED)


@click.command(hidden=True)
@pass_app
def enrol(app: App) -> None:
    """Let this home be a worker of the hub that asks, as JSON on stdin. `rqflow worker add` runs this over ssh."""
    from rqflow.deploy.joining import adding  # here: the libraries of the database

    try:
        asked = json.loads(sys.stdin.readline())
    except ValueError:
        raise UsageError("what a hub asks comes as JSON on stdin", hint="`rqflow worker add`, on the hub, runs this.") from None
    output.line(json.dumps(adding.enrol(app.settings, asked)))


def _believes(app: App, address: str, option: str, key: HostKey) -> bool:
    """Ask whether a key is that of a host; raises UsageError where nobody can be asked."""
    shown = "\n".join(key.fingerprints)
    if not is_asked(app):
        raise UsageError(f"nobody can be asked whether this is the key of {address}: {shown}", hint=f"If it is: {option} SHA256:…")
    output.note(f"The key of {address}:\n  {shown}")
    return click.confirm("Is this what its owner says (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)?", err=True)
