"""What keeps a tunnel up: it starts ssh, asks through it, replaces it when it is dead, and tells how it is. For ever."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rqflow import clock, logs
from rqflow.deploy import flock
from rqflow.deploy.statedir import Machine
from rqflow.deploy.tunnels import failures, places, status
from rqflow.deploy.tunnels.command import MARK, TAKEN, Ssh
from rqflow.deploy.tunnels.connection import Connection, Stop
from rqflow.deploy.tunnels.failures import WORKING, Failure, State
from rqflow.deploy.tunnels.patience import DENIALS, Patience
from rqflow.deploy.tunnels.places import Route
from rqflow.deploy.tunnels.prober import Prober, Seen
from rqflow.deploy.tunnels.status import TunnelStatus
from rqflow.exceptions import Conflict
from rqflow.settings import Settings, environment
from rqflow.tunnel import Tunnel

logger = logging.getLogger(__name__)

#: Seconds between two looks whether ssh is connected, or a service that was not there has come.
_LOOK, _SOON = 0.05, 2.0
#: A connection that is not made after so many times tunnels.connect_timeout never is.
_TIMES = 3
#: What is looked at first, for so many seconds, before it is said that a service is not there: ssh opens one end after the other.
_SETTLES = 1.0


_NO_SSH = "Install OpenSSH's client, or name it: tunnels.ssh."


class _Given(Exception):
    """Says that a try is over, and why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Keeper:
    """Keeps one tunnel up, in a thread or process of its own."""

    def __init__(self, tunnel: Tunnel, settings: Settings, state: Path, machine: Machine, stop: Stop,
                 on_change: Callable[[TunnelStatus], None] = lambda _: None) -> None:
        """Check what can be checked before. `on_change` is told of each change. Raises ConfigError, and Conflict when another one keeps it."""
        self.tunnel, self._settings, self._state, self._machine, self._stop, self._on_change = tunnel, settings, state, machine, stop, on_change
        self._place = places.place(state, machine, tunnel.name)
        self._place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if flock.is_held(self._place.lock):
            raise Conflict(f"tunnel {tunnel.name} is kept up by another process", hint="`rqflow tunnel status` says how it is.")
        self._ssh = Ssh(tunnel=tunnel, settings=settings.tunnels, home=settings.home)
        self._patience = Patience(settings.tunnels)
        self._connection: Connection | None = None
        self._routes = self._find("/LANDING")
        self._status = TunnelStatus(name=tunnel.name, direction=tunnel.direction.value, host=str(tunnel.target), state=State.CONNECTING,
                                    since=clock.utcnow(), services={})

    def run(self) -> None:
        """Keep it up until `stop`."""
        with flock.held(self._place.lock):
            self._end_what_was_left()
            self._tell(State.CONNECTING)
            while not self._stop.is_set:
                try:
                    failure = self._hold()
                except _Given as given:
                    failure = given.failure
                if not self._stop.is_set:
                    self._wait(failure)

    # -- one connection --

    def _hold(self) -> Failure:
        """Make one connection, and watch it to its end; return what that was."""
        self._place.prepare(self.tunnel)
        if self.tunnel.rides:
            self._need_ride()
        self._routes = self._find(self._land() if places.needs_landing(self.tunnel) else "")
        prober = Prober(self.tunnel, self._settings, self._routes, places.resolve(self._settings, self._state, self._machine))
        if self.tunnel.rides:
            return self._ride(prober)
        command = self._ssh.forwarding(self._routes, tells_more=self._status.state is State.FORWARD_REFUSED)
        try:
            self._connection = Connection(command, self._environ())
        except OSError as error:
            return Failure(State.UNUSABLE, f"{command[0]}: {error.strerror}", _NO_SSH)
        try:
            self._tell()  # which process it is
            return self._watch(self._connection, prober)
        finally:
            self._connection.end()
            self._connection = None

    def _watch(self, ssh: Connection, prober: Prober) -> Failure:
        until = clock.monotonic() + _TIMES * self._settings.tunnels.connect_timeout.total_seconds()
        while not all(route.probe.exists() for route in self._routes) and ssh.wait(_LOOK, self._stop):
            if clock.monotonic() > until:
                return Failure(State.NO_ANSWER, "the host answers, but does not let us in", "Is it overloaded? Try by hand: rqflow tunnel print")
        began = clock.monotonic()
        while ssh.wait(0, self._stop):
            ssh.forget()
            seen = prober.look(lambda: (ssh.wait(_LOOK, self._stop), ssh.lines())[1], ssh.moved)
            if not ssh.wait(0, self._stop):
                break
            if seen.is_dead:
                return self._dead(seen)
            settles = seen.failure is not None and clock.monotonic() - began < _SETTLES
            if not settles:
                self._take(seen)
            ssh.wait(4 * _LOOK if settles else self._pause(seen), self._stop)
        return failures.understood(ssh.lines(), ssh.code, self.tunnel, known_hosts=self._known_hosts, identity=str(self._ssh.identity() or ""))

    def _dead(self, seen: Seen) -> Failure:
        said = seen.failure.error if seen.failure else ""
        return Failure(State.LOST, f"{said}, {self._settings.tunnels.probe_count} times in a row: the connection is dead")

    def _take(self, seen: Seen) -> None:
        """Tell what was seen through a connection that is there."""
        if seen.failure is None or seen.failure.state in WORKING:
            self._patience.over()
        if seen.failure is None:
            self._tell(State.UP, latency=seen.latency)
        else:
            self._tell(seen.failure.state, failure=seen.failure, latency=seen.latency)

    def _pause(self, seen: Seen) -> float:
        """Return how long until the next look: sooner while something is not as it should be."""
        usual = self._settings.tunnels.probe_interval.total_seconds()
        return min(usual, _SOON) if seen.failure is not None and seen.failure.state not in WORKING else usual

    # -- on the connection of a person --

    def _need_ride(self) -> None:
        done = self._call(self._ssh.control("check"))
        if done.returncode:
            raise _Given(failures.needs_person(self.tunnel, (done.stderr.strip().splitlines() or ["no connection to ride on"])[-1]))

    def _ride(self, prober: Prober) -> Failure:
        self._call(self._ssh.control("cancel", self._routes))  # what a keeper that was killed has left there
        done = self._call(self._ssh.control("forward", self._routes))
        if done.returncode:
            return failures.understood(done.stderr.splitlines(), done.returncode, self.tunnel, known_hosts=self._known_hosts)
        try:
            while not self._stop.is_set:
                seen = prober.look(list)
                if seen.is_dead:
                    return failures.needs_person(self.tunnel, self._dead(seen).error)
                self._need_ride()
                self._take(seen)
                self._stop.wait(self._pause(seen))
        finally:
            self._call(self._ssh.control("cancel", self._routes))
        return Failure(State.STOPPED, "")

    # -- its parts --

    def _find(self, landing: str) -> list[Route]:
        return places.routes(self.tunnel, self._settings, self._state, self._machine, landing)

    def _land(self) -> str:
        """Return the folder on the other side in which sockets appear, made now."""
        owner = f"{self._machine.host}:{self._settings.home}"
        done = self._call(self._ssh.landing(owner))
        for line in done.stdout.splitlines():
            if line.startswith(MARK):
                return line.removeprefix(MARK)
            if line.startswith(TAKEN):
                raise _Given(Failure(State.FORWARD_REFUSED, f"another home has a tunnel of this name there: {line.removeprefix(TAKEN)}",
                                     f"Give one of them another name; is that one gone for good? On {self.tunnel.target.host}: "
                                     f"rm ~/.rqflow/tunnels/{self.tunnel.name}/owner"))
        failure = failures.understood(done.stderr.splitlines(), done.returncode, self.tunnel, known_hosts=self._known_hosts,
                                      identity=str(self._ssh.identity() or ""))
        if failure.state in {State.FAILED, State.LOST} and done.returncode != 255:  # which ssh itself ends with
            failure = Failure(State.FORWARD_REFUSED, f"no folder for sockets could be made there: {failure.error}",
                              "Has the account a shell, and a home that it may write? Else say where: listen=/PATH/OF.sock or port=N.")
        raise _Given(failure)

    def _call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Carry out a short call of ssh, which a stop cuts short."""
        until = clock.monotonic() + _TIMES * self._settings.tunnels.connect_timeout.total_seconds()
        try:
            process = subprocess.Popen(command, env=self._environ(), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        except OSError as error:
            raise _Given(Failure(State.UNUSABLE, f"{command[0]}: {error.strerror}", _NO_SSH)) from error
        with process:
            while True:
                try:
                    out, err = process.communicate(timeout=_SOON / 4)
                    return subprocess.CompletedProcess(command, process.returncode, out, err)
                except subprocess.TimeoutExpired as error:
                    if clock.monotonic() > until or self._stop.is_set:
                        os.killpg(process.pid, signal.SIGKILL)
                        raise _Given(Failure(State.NO_ANSWER, "the host answers, but a short call of ssh does not come to an end")) from error

    @property
    def _known_hosts(self) -> str:
        return str(self._ssh.known_hosts)

    def _environ(self) -> dict[str, str]:
        """Return our environment with texts in English, by which failures are told apart, and nothing to ask a person with."""
        return {**environment(), "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}

    def _end_what_was_left(self) -> None:
        """End the ssh of a keeper that was killed: it holds our forwards."""
        pid = status.left_behind(self._place)
        if pid is not None:
            logger.info("tunnel %s: ending process %d, which was left behind", self.tunnel.name, pid, extra=logs.context("tunnel_left_behind"))
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)

    # -- telling --

    def _wait(self, failure: Failure) -> None:
        wait = self._patience.after(failure)
        if self._patience.denials == DENIALS:
            logger.error("tunnel %s: %s has refused our key %d times; from now on it is tried every %d s, so that it bans no address",
                         self.tunnel.name, self.tunnel.target, DENIALS, wait, extra=logs.context("tunnel_denied"))
        self._tell(failure.state, failure=failure, wait=wait)
        self._stop.wait(wait)

    def _tell(self, state: State | None = None, *, failure: Failure | None = None, latency: float | None = None, wait: float | None = None) -> None:
        """Write down how it is; without `state` only which process it is now."""
        before, now = self._status, clock.utcnow()
        if state is not None:
            is_probed = latency is not None
            self._status = replace(
                before, state=state, since=before.since if state is before.state else now, error=failure.error if failure else "",
                remedy=failure.remedy if failure else "", latency=latency, probed_at=now if is_probed else before.probed_at,
                next_try=now + timedelta(seconds=wait) if wait is not None else None,
                services={route.service: str(route.listens[0]) for route in self._routes})
        status.tell(self._place, self._status, self._connection.pid if self._connection else None)
        if state is not None and (state, self._status.error) != (before.state, before.error):
            level = logging.INFO if self._status.is_working or state is State.CONNECTING else logging.WARNING
            told = ": ".join(part for part in (self._status.error, self._status.remedy) if part)
            logger.log(level, "tunnel %s (%s %s): %s%s", self.tunnel.name, self.tunnel.direction, self.tunnel.target, state, told and f": {told}",
                       extra=logs.context("tunnel", tunnel=self.tunnel.name, state=state.value))
            self._on_change(self._status)
