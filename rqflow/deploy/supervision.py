"""All services of this machine under a supervisord of their own: its configuration, its start, and what it is told over its socket."""

from __future__ import annotations

import os
import subprocess
import sys
import xmlrpc.client
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from supervisor.xmlrpc import Faults, SupervisorTransport

from rqflow import clock
from rqflow.deploy import flock, statedir
from rqflow.deploy.background import SOCKET
from rqflow.deploy.tunnels import places
from rqflow.deploy.tunnels.failures import WORKING, State
from rqflow.deploy.tunnels.status import told
from rqflow.exceptions import Conflict, NotFound, RqflowError
from rqflow.settings import Settings, environment

#: Seconds that supervisord may take to answer after its start, and to end; and between two looks.
START_PATIENCE, LOOK = 20.0, 0.1
#: Seconds that a program gets to end after SIGTERM before it is killed: a worker tells its ends first.
STOP_PATIENCE = 60
REDIS, SCHEDULER, WORKER, WEBSERVER = "redis", "scheduler", "worker", "webserver"
#: What stands before the name of a tunnel in that of its program.
TUNNEL = "tunnel-"
RUNNING, STOPPED = "RUNNING", "STOPPED"
#: In these nobody starts a program again by itself.
AT_REST = frozenset({STOPPED, "EXITED", "FATAL"})
_TEMPLATE = Path(__file__).with_name("templates") / "supervisord.conf"


@dataclass(frozen=True, slots=True)
class Program:
    """A service as supervisord starts it."""

    name: str
    #: Of the command rqflow.
    arguments: str
    #: Lower ones start first, and end last.
    priority: int
    patience: int = STOP_PATIENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramStatus:
    """How a program stands."""

    program: str
    #: supervisord's word: RUNNING, STARTING, BACKOFF, STOPPING, STOPPED, EXITED, FATAL.
    state: str
    pid: int | None = None
    since: datetime | None = None
    #: What supervisord says of it, when it does not run.
    reason: str = ""
    log: str = ""
    #: Of a tunnel that runs: how its link is, `up` or what is wrong with it. Empty for other programs.
    link: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it runs, and, for a tunnel, its link is up."""
        return self.state == RUNNING and (not self.link or State(self.link) in WORKING)


class NotUp(RqflowError):
    """No supervisord of this home runs here."""

    exit_code = 1


def programs(settings: Settings) -> list[Program]:
    """Return the services of a home, in the order in which they start."""
    hub = [] if settings.redis.url else [Program(REDIS, "redis", 10)]
    tunnels = [Program(f"{TUNNEL}{name}", f"tunnel up {name}", 15) for name in settings.tunnels.named]
    return [*hub, *tunnels, Program(SCHEDULER, "scheduler", 20), Program(WORKER, "worker", 30), Program(WEBSERVER, "webserver", 40)]


def needed(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return programs with the tunnels that they cannot do without: those that redis.url and database.url go through."""
    through = {f"{TUNNEL}{name}" for name in map(places.goes_through, (settings.redis.url, settings.database.url)) if name}
    return [*names, *sorted(through.difference(names))] if {SCHEDULER, WORKER, WEBSERVER}.intersection(names) else list(names)


def configuration(settings: Settings, *, is_root: bool) -> str:
    """Return the text of supervisord's configuration file."""
    made = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False, keep_trailing_newline=True)  # noqa: S701 - no HTML
    return made.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(programs=programs(settings), is_root=is_root)


class _UnixTransport(SupervisorTransport):  # type: ignore[misc]  # the library has no types
    """supervisor's own way over a unix socket, which it spells as a URL."""

    def __init__(self, socket: Path) -> None:
        super().__init__(None, None, f"unix://{socket}")


@dataclass
class Supervision:
    """The supervisord of one home on this machine."""

    settings: Settings
    #: The configuration file that was named on the command line, if one was.
    file: Path | None = None
    state: Path = field(init=False)
    socket: Path = field(init=False)

    def __post_init__(self) -> None:
        """Find the folder of the live state; nothing is written. Raises ConfigError where there can be none."""
        machine = statedir.this_machine()
        self.state = statedir.locate(self.settings, machine)
        self.socket = statedir.socket_folder(self.state, machine) / SOCKET

    def up(self, names: Sequence[str] = ()) -> list[ProgramStatus]:
        """Start supervisord unless it runs, and the programs of these names, or all; return how they stand when they run, or cannot.

        Raises NotFound for an unknown program, ConfigError when the folder cannot be used, Conflict when supervisord does not start.
        """
        wanted = self._names(needed(self.settings, names))
        self._check_tunnels(wanted)
        self.state = statedir.prepare(self.settings, statedir.this_machine())
        (self.state / "supervisor").mkdir(mode=0o700, exist_ok=True)
        with flock.held(self.state / "supervisor.start"):
            if self.is_up():
                self._renew()
            else:
                self._start()
            for name in wanted:
                self._tell("startProcess", name, False, but=Faults.ALREADY_STARTED)
        return self._settled(wanted)

    def down(self, names: Sequence[str] = ()) -> list[ProgramStatus]:
        """End the programs of these names, or all and supervisord; tasks go on in the care of the shepherd. Return how they stand.

        Raises NotFound for an unknown program, NotUp when no supervisord runs.
        """
        wanted = self._names(names)
        before = self.status()
        for name in reversed(wanted):
            self._tell("stopProcess", name, True, but=Faults.NOT_RUNNING)
        if names:
            return [one for one in self.status() if one.program in wanted]
        pid = int(self._ask("getPID"))
        self._tell("shutdown")
        until = clock.monotonic() + START_PATIENCE
        while _exists(pid):
            if clock.monotonic() > until:
                raise Conflict(f"supervisord, process {pid}, does not end", hint=f"Its log is {self.state / 'supervisor' / 'supervisord.log'}.")
            clock.sleep(LOOK)
        return [ProgramStatus(program=one.program, state=STOPPED, log=one.log) for one in before]

    def restart(self, names: Sequence[str] = ()) -> list[ProgramStatus]:
        """End and start the programs of these names, or all; tasks go on meanwhile. Raises as `down` does.

        A supervisord that another installation has started, such as the one before an upgrade, is replaced by one of this; so are its programs.
        """
        wanted = self._names(names)
        before = self.status()
        if self._python.exists() and self._python.read_text(encoding="utf-8") != sys.executable:
            started = [one.program for one in before if one.state != STOPPED or one.program in wanted]
            self.down()
            return self.up(started)
        for name in reversed(wanted):
            self._tell("stopProcess", name, True, but=Faults.NOT_RUNNING)
        return self.up(names)

    def status(self) -> list[ProgramStatus]:
        """Return how each program stands, in the order in which they start; raises NotUp when no supervisord runs."""
        found = {one["name"]: one for one in self._ask("getAllProcessInfo")}
        return [self._with_link(_status(found[name])) for name in self._names() if name in found]

    def _check_tunnels(self, names: Sequence[str]) -> None:
        """Raise ConfigError for a tunnel among these programs that cannot be; else it would end over and over, and only its log would say why."""
        for name, tunnel in self.settings.tunnels.named.items():
            if f"{TUNNEL}{name}" in names:
                places.routes(tunnel, self.settings, self.state, statedir.this_machine(), "~")

    def _with_link(self, one: ProgramStatus) -> ProgramStatus:
        """Return how a program stands; that of a tunnel runs while it tries, so that this alone says little."""
        tunnel = self.settings.tunnels.named.get(one.program.removeprefix(TUNNEL)) if one.program.startswith(TUNNEL) else None
        if tunnel is None or one.state != RUNNING:
            return one
        seen = told(tunnel, places.place(self.state, statedir.this_machine(), tunnel.name))
        if seen.state is State.STOPPED:  # it has just been started
            return replace(one, link=State.CONNECTING.value)
        said = "; ".join(part for part in (seen.error, seen.remedy) if part)
        return replace(one, link=seen.state.value, reason=said and f"since {seen.since:%Y-%m-%d %H:%M:%S} UTC: {said}")

    @property
    def _python(self) -> Path:
        """The file in which stands with which interpreter supervisord starts the programs."""
        return self.state / "supervisor" / "python"

    def is_up(self) -> bool:
        """Tell whether supervisord answers."""
        with suppress(NotUp):
            self._ask("getState")
            return True
        return False

    def _names(self, names: Sequence[str] = ()) -> list[str]:
        known = [program.name for program in programs(self.settings)]
        if unknown := [name for name in names if name not in known]:
            raise NotFound(f"there is no program {', '.join(unknown)}", hint=f"There are {', '.join(known)}.")
        return [name for name in known if name in names] if names else known

    def _start(self) -> None:
        """Start supervisord, and wait until it answers."""
        path = self._write()
        self._python.write_text(sys.executable, encoding="utf-8")
        environ = {**environment(), "RQFLOW_HOME": str(self.settings.home), "RQFLOW_UP_SOCKET": str(self.socket), "RQFLOW_UP_PYTHON": sys.executable}
        if self.file is not None:
            environ["RQFLOW_CONFIG"] = str(self.file.absolute())
        done = subprocess.run([sys.executable, "-m", "supervisor.supervisord", "-c", str(path)], env=environ, cwd="/", stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        until = clock.monotonic() + START_PATIENCE
        while not self.is_up():
            if done.returncode or clock.monotonic() > until:
                said = (done.stderr or done.stdout).strip()
                raise Conflict(f"supervisord did not start: {said or 'it does not answer'}",
                               hint=f"Its log is {self.state / 'supervisor' / 'supervisord.log'}.")
            clock.sleep(LOOK)

    def _write(self) -> Path:
        path = self.state / "supervisord.conf"
        fresh = path.with_suffix(".new")
        fresh.write_text(configuration(self.settings, is_root=os.getuid() == 0), encoding="utf-8")
        fresh.rename(path)
        return path

    def _renew(self) -> None:
        """Let supervisord read its configuration again: what is new comes, what is gone ends, what has changed is started anew."""
        self._write()
        added, changed, removed = self._ask("reloadConfig")[0]
        for name in (*changed, *removed):
            self._tell("stopProcessGroup", name, True)
            self._tell("removeProcessGroup", name)
        for name in (*added, *changed):
            self._tell("addProcessGroup", name)

    def _settled(self, names: Sequence[str]) -> list[ProgramStatus]:
        """Wait until programs run, or have ended in their first second; return how they stand."""
        until = clock.monotonic() + START_PATIENCE
        while True:
            found = [one for one in self.status() if one.program in names]
            if all(one.state != "STARTING" for one in found) or clock.monotonic() > until:
                return found
            clock.sleep(LOOK)

    def _tell(self, method: str, *given: Any, but: int | None = None) -> None:
        """Ask for something to be done that may be so already: that fault `but` is none."""
        try:
            self._ask(method, *given)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != but:
                raise Conflict(f"supervisord refuses {method} {' '.join(map(str, given[:1]))}: {fault.faultString}") from fault

    def _ask(self, method: str, *given: Any) -> Any:
        """Ask supervisord; raises NotUp when it does not answer, xmlrpc.client.Fault when it refuses."""
        if not self.socket.exists():
            raise _not_up(self.settings)
        with closing(_UnixTransport(self.socket)) as transport:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            try:
                return getattr(proxy.supervisor, method)(*given)
            except (OSError, xmlrpc.client.ProtocolError) as error:
                raise _not_up(self.settings) from error


def _not_up(settings: Settings) -> NotUp:
    return NotUp(f"the services of {settings.home} are not up", hint="`rqflow up` starts them.")


def _status(info: dict[str, Any]) -> ProgramStatus:
    lives = info["pid"] or None
    since = datetime.fromtimestamp(info["start"], UTC) if lives and info["start"] else None
    return ProgramStatus(program=info["name"], state=info["statename"], pid=lives, since=since, log=info["logfile"],
                         reason="" if info["statename"] == RUNNING else info["spawnerr"] or info["description"])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
