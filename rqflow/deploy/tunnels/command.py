"""What ssh is told: pure functions from settings to command lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from rqflow.deploy.tunnels.places import Route
from rqflow.settings import Tunnels
from rqflow.tunnel import Address, Direction, Target, Tunnel

#: What is printed before the folder on the other side, among whatever the shell there says when somebody comes.
MARK, TAKEN = "rqflow-landing:", "rqflow-taken-by:"
#: Makes that folder for its owner alone, and clears away the sockets that a connection before left behind: sshd does not listen where one is. A
#: folder that another home uses is left alone.
_LAND = """\
umask 077
cd && mkdir -p .rqflow/tunnels/{name} && cd .rqflow/tunnels/{name} && chmod 700 . || exit 1
if [ -e owner ] && [ "$(cat owner)" != {owner} ]; then echo "{taken}$(cat owner)"; exit 1; fi
printf '%s\\n' {owner} > owner && rm -f redis.sock database.sock && echo "{mark}$(pwd -P)"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ssh:
    """ssh as one tunnel calls it."""

    tunnel: Tunnel
    settings: Tunnels
    home: Path
    #: A file to which keys of hosts that nobody knows yet are added; None: such a host is refused.
    learns: Path | None = None

    def forwarding(self, routes: Sequence[Route], *, tells_more: bool = False) -> list[str]:
        """Return the command that holds the tunnel; it ends when the connection does, or at once when a forward cannot be."""
        more = ("LogLevel=DEBUG1" if tells_more else "LogLevel=INFO",)
        return [*self._begin("-NT", *more), *specs(self.tunnel, routes), *self._destination()]

    def landing(self, owner: str) -> list[str]:
        """Return the command that makes the folder for sockets on the other side and tells its name; `owner` names this home."""
        script = _LAND.format(name=self.tunnel.name, owner=shlex.quote(owner), mark=MARK, taken=TAKEN)
        return [*self._begin("-T", "LogLevel=INFO", "ClearAllForwardings=yes"), *self._destination(), f"exec sh -c {shlex.quote(script)}"]

    def meeting(self) -> list[str]:
        """Return the command that meets the host, so that `learns` has its key, and does not log in there."""
        alone = ("LogLevel=INFO", "ClearAllForwardings=yes", "PreferredAuthentications=none", "HashKnownHosts=no", "CheckHostIP=no")
        return [*self._begin("-T", *alone), *self._destination(), "true"]

    def control(self, what: str, routes: Sequence[Route] = ()) -> list[str]:
        """Return the command that asks the connection which the tunnel rides on: to `check` that it is there, to `forward`, to `cancel` that."""
        return [*self._begin("-T", "LogLevel=INFO"), "-O", what, *(specs(self.tunnel, routes) if routes else []), *self._destination()]

    def _begin(self, how: str, *more: str) -> list[str]:
        riding = self._riding()
        return [*self._plain(), how, *(word for option in (*riding, *self._options(), *more, *self._further()) for word in ("-o", option))]

    def _plain(self) -> list[str]:
        return [self.settings.ssh, *(["-F", str(Path(self.settings.ssh_config).expanduser())] if self.settings.ssh_config else [])]

    def _options(self) -> list[str]:
        """Return what holds for each connection, also those to the hosts on the way."""
        own, seconds = self.settings, ceil(self.settings.connect_timeout.total_seconds())
        options = [
            "BatchMode=yes", f"StrictHostKeyChecking={'accept-new' if self.learns else 'yes'}",
            f"UserKnownHostsFile={_value(str(self.learns or self.known_hosts))}",
            "UpdateHostKeys=no", f"AddressFamily={self.tunnel.family or own.family}", f"ConnectTimeout={max(seconds, 1)}", "ConnectionAttempts=1",
            "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "StreamLocalBindMask=0177", "GatewayPorts=no", "TCPKeepAlive=yes",
            f"ServerAliveInterval={max(ceil(own.server_alive.total_seconds()), 1)}", f"ServerAliveCountMax={own.server_alive_count}",
            "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "RemoteCommand=none", "Tunnel=no",
        ]
        if identity := self.identity():
            options += [f"IdentityFile={_value(str(identity))}", "IdentitiesOnly=yes"]
        return options

    def _riding(self) -> list[str]:
        """Return on which connection it rides: on one of its own, the one that is named, or the one that ssh's configuration names."""
        if not self.tunnel.rides:
            return ["ControlMaster=no", "ControlPath=none"]
        return ["ControlMaster=no", *([f"ControlPath={self.tunnel.control}"] if self.tunnel.control else [])]

    def _further(self) -> list[str]:
        """Return what only the connection to the end takes: further options, and the way over other hosts."""
        if not self.tunnel.jumps or self.tunnel.rides:
            return list(self.tunnel.options)
        # Not ProxyJump, whose ssh would take neither our key nor our known hosts.
        return [*self.tunnel.options, f"ProxyCommand={self._way(self.tunnel.jumps)}"]

    def _way(self, jumps: Sequence[Target]) -> str:
        """Return the command that connects its stdin and stdout to the next host by way of these; %h and %p stand for that host."""
        *before, last = jumps
        options = [*self._riding_alone(), *self._options()]
        if before:
            options.append(f"ProxyCommand={self._way(before)}")
        # Each ssh replaces %h and %p once: whatever is meant for one further inside has its % doubled.
        words = [*self._plain(), *(word for option in options for word in ("-o", option)), *_port(last), last.login]
        return f"{shlex.join(words).replace('%', '%%')} -W '[%h]:%p'"

    @staticmethod
    def _riding_alone() -> list[str]:
        return ["ControlMaster=no", "ControlPath=none", "ClearAllForwardings=yes", "LogLevel=INFO"]

    def _destination(self) -> list[str]:
        return [*_port(self.tunnel.target), "--", self.tunnel.target.login]

    @property
    def known_hosts(self) -> Path:
        """The file with the keys of the hosts that are dialled."""
        return self.home / Path(self.settings.known_hosts).expanduser()

    def identity(self) -> Path | None:
        """Return the key to log in with: the one that its line names, or HOME/keys/tunnel where that is; None: what ssh takes by itself."""
        if self.tunnel.identity:
            return self.home / Path(self.tunnel.identity).expanduser()
        usual = self.home / "keys" / "tunnel"
        return usual if usual.exists() else None


def specs(tunnel: Tunnel, routes: Sequence[Route]) -> list[str]:
    """Return the -L and -R of ssh; what is probed on its way back is an -L that begins where the -R ends."""
    words: list[str] = []
    for route in routes:
        for listen in route.listens:
            words += [tunnel.direction.value, f"{_end(listen)}:{_end(route.address)}"]
        if route.begins is not None:
            words += [Direction.LOCAL.value, f"{_end(Address(path=str(route.probe)))}:{_end(route.begins)}"]
    return words


def _port(target: Target) -> list[str]:
    return ["-p", str(target.port)] if target.port else []


def _end(address: Address) -> str:
    """Return one end of a forward, whatever characters its path has."""
    if address.is_tcp:
        return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
    return address.path.replace("\\", "\\\\").replace(":", "\\:").replace("%", "%%")


def _value(path: str) -> str:
    """Return a path as the value of an option that takes several, in which % means something."""
    return '"' + path.replace("%", "%%") + '"'
