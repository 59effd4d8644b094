"""rqflow tunnel: SSH tunnels, kept up in the foreground; how they are; what ssh is told."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace

import click

from rqflow.cli import output, service
from rqflow.cli.app import App, pass_app
from rqflow.cli.asking import is_asked
from rqflow.cli.output import Column, Printer
from rqflow.deploy import statedir, units
from rqflow.deploy.reloading import Reload
from rqflow.deploy.tunnels import printed, status, trust
from rqflow.deploy.tunnels.command import Ssh
from rqflow.deploy.tunnels.connection import Stop
from rqflow.deploy.tunnels.keeper import Keeper
from rqflow.deploy.tunnels.places import place
from rqflow.deploy.tunnels.status import TunnelStatus
from rqflow.exceptions import ConfigError, NotFound, UsageError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.tunnel import Tunnel

#: Seconds between two signs of life to systemd.
_LOOK = 1.0


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


COLUMNS = [Column("name", "TUNNEL"), Column("direction", "WAY"), Column("host", "HOST"), Column("state", "STATE"), Column("since", "SINCE"),
           Column("latency", "ANSWER", show=_milliseconds), Column("error", "ERROR"), Column("remedy", "WHAT TO DO"),
           Column("probed_at", "ASKED", wide=True), Column("next_try", "NEXT TRY", wide=True), Column("services", "SERVICES", wide=True)]


@click.group()
def tunnel() -> None:
    """Keep SSH tunnels to other machines; show how they are.

    A tunnel is a line of section [tunnels] in rqflow.cfg, such as `hub = -L rqflow@hub redis`; then `redis.url = tunnel://hub` goes through it.
    """


@tunnel.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@pass_app
def up(app: App, names: tuple[str, ...]) -> int:
    """Keep tunnels up in the foreground, all or the named ones, until SIGTERM or Ctrl-C.

    What is lost is made anew, for ever. A tunnel counts as up when Redis, and the database, answer through it.
    """
    settings = app.service_settings()
    wanted, stop, reload = _wanted(settings, names), Stop(), Reload(app.fresh_settings)
    machine = statedir.this_machine()
    state = statedir.prepare(settings, machine)
    keepers = [Keeper(one, settings, state, machine, stop, _tell_systemd) for one in wanted]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.set)
    reload.install(stop.set)
    NOTIFIER.ready("connecting")
    threads = [threading.Thread(target=keeper.run, name=keeper.tunnel.name) for keeper in keepers]
    for thread in threads:
        thread.start()
    while not stop.wait(_LOOK) and all(thread.is_alive() for thread in threads):
        NOTIFIER.alive()
    is_broken = not stop.is_set  # a keeper ends by itself only when something is wrong with us
    stop.set()
    NOTIFIER.stopping()
    for thread in threads:
        thread.join()
    reload.carry_out()
    return int(is_broken)


@tunnel.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@output.listing
@pass_app
def status_(app: App, printer: Printer, names: tuple[str, ...]) -> int:
    """Show how tunnels are, all or the named ones. Exits 0 when all can be used, else 1."""
    printer.check(output.fields_of(TunnelStatus))
    found = look(app.settings, names)
    printer.records([asdict(one) | {"state": one.state.value} for one in found], COLUMNS)
    return 0 if status.all_working(found) else 1


@tunnel.command("print")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--systemd", "kind", flag_value="systemd", help="Print the unit of systemd, of which each tunnel is an instance.")
@click.option("--supervisor", "kind", flag_value="supervisor", help="Print programs for a supervisord that is there already.")
@pass_app
def print_(app: App, names: tuple[str, ...], kind: str | None) -> None:
    """Print the commands by which tunnels are held, to be tried by hand; or what keeps them up without `rqflow up`."""
    wanted = _wanted(app.settings, names)
    if kind is not None:
        programs = units.tunnel_programs(one.name for one in wanted)
        made = replace(service.installation(app.settings, None, is_user=False), group="rqflow-tunnels", programs=programs)
        service.put([units.TUNNEL if kind == "systemd" else units.SUPERVISOR], made, None)
        return
    machine = statedir.this_machine()
    state = statedir.locate(app.settings, machine)
    for one in wanted:
        for command in printed.commands(one, app.settings, state, machine):
            output.line(shlex.join(command))


@tunnel.command("trust")
@click.argument("name", metavar="NAME")
@click.option("--fingerprint", "fingerprints", multiple=True, metavar="SHA256:...", help="Believe this key without asking; repeatable.")
@output.listing
@pass_app
def trust_(app: App, printer: Printer, name: str, fingerprints: tuple[str, ...]) -> None:
    """Meet the host of a tunnel, show the fingerprint of its key, and believe it from then on, once you have compared it.

    Hosts on the way (jump=) are met, too. A host that shows another key than it had is not believed.
    """
    printer.check(output.fields_of(trust.HostKey))
    (chosen,) = _wanted(app.settings, [name])
    if chosen.rides:
        raise UsageError(f"tunnel {name} rides on a connection of yours, whose host your own known_hosts tells")
    ssh = Ssh(tunnel=chosen, settings=app.settings.tunnels, home=app.settings.home)
    keys = trust.met(ssh)
    for key in keys:
        output.note(f"{key.host} shows the {key.kind} key {key.fingerprint}")
    if keys and not fingerprints:
        if not is_asked(app):
            raise UsageError("nobody can be asked whether that is right", hint="Add --fingerprint SHA256:…, as the owner of the host says it.")
        click.confirm("Is that what the owner of the host says?", abort=True, err=True)
    trust.believe(ssh, keys, fingerprints)
    output.note(f"believed from now on: {ssh.known_hosts}" if keys else f"{chosen.target} is known already")
    printer.report([asdict(key) for key in keys], [Column("host", "HOST"), Column("kind", "KIND"), Column("fingerprint", "FINGERPRINT")])


def look(settings: Settings, names: Sequence[str] = ()) -> list[TunnelStatus]:
    """Return how tunnels are, all or the named ones. Raises NotFound for one that is not in the settings."""
    machine = statedir.this_machine()
    state = statedir.locate(settings, machine)
    chosen = _wanted(settings, names) if names else list(settings.tunnels.named.values())
    return [status.told(one, place(state, machine, one.name)) for one in chosen]


def _wanted(settings: Settings, names: Sequence[str]) -> list[Tunnel]:
    known = settings.tunnels.named
    if not known:
        raise ConfigError(f"there is no tunnel in {settings.home / 'rqflow.cfg'}",
                          hint="Write one into its section [tunnels], such as: hub = -L rqflow@HOST redis")
    if unknown := [name for name in names if name not in known]:
        raise NotFound(f"there is no tunnel {', '.join(unknown)}", hint=f"There are {', '.join(known)}.")
    return [known[name] for name in names or known]


def _tell_systemd(seen: TunnelStatus) -> None:
    NOTIFIER.tell(STATUS=f"{seen.name}: {seen.state}")
