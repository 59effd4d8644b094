"""What went wrong with a tunnel, told apart by what ssh says, each with what to do about it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from rqflow.tunnel import Direction, Tunnel


class State(StrEnum):
    """How a tunnel stands."""

    #: Nobody keeps it.
    STOPPED = "stopped"
    #: The first try is under way.
    CONNECTING = "connecting"
    #: All that goes through it has answered.
    UP = "up"
    #: The other side took the forward, but does not let us try it.
    UNPROVEN = "unproven"
    #: It carries so much that a question waits behind the rest.
    SLOW = "slow"
    #: Nothing comes back through it; when that goes on, it is replaced.
    SILENT = "silent"
    #: It is connected, and what goes through it does not answer at its end.
    SERVICE_AWAY = "service away"
    NAME_UNKNOWN = "name unknown"
    NO_ROUTE = "no route"
    #: No sshd listens there.
    NO_SSHD = "connection refused"
    NO_ANSWER = "no answer"
    LOST = "connection lost"
    HOST_KEY_CHANGED = "host key changed"
    HOST_KEY_UNKNOWN = "host key unknown"
    #: Our key was refused.
    DENIED = "authentication refused"
    #: The key cannot be used, or ssh, or its configuration.
    UNUSABLE = "ssh unusable"
    #: The host did not let us so far as to log in, for too many knock at its door.
    TURNED_AWAY = "turned away"
    FORWARD_REFUSED = "forward refused"
    #: A person has to log in first.
    NEEDS_PERSON = "needs a person"
    FAILED = "failed"


#: In these it can be used.
WORKING = frozenset({State.UP, State.UNPROVEN, State.SLOW})
#: In these sshd was reached, and refuses something: it is not asked so often then.
REFUSING = frozenset({State.HOST_KEY_CHANGED, State.HOST_KEY_UNKNOWN, State.DENIED, State.TURNED_AWAY, State.FORWARD_REFUSED, State.UNUSABLE,
                      State.NEEDS_PERSON, State.FAILED})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a tunnel is not up."""

    state: State
    error: str
    #: What a person may do; empty where nothing is to be done but wait.
    remedy: str = ""


class _Saying(NamedTuple):
    pattern: str
    state: State
    remedy: str = ""


#: What ssh says, what it means, and what to do. The first that is found counts, so that what says more comes first.
_SAYINGS = (
    _Saying(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed|differs from the key for the IP address", State.HOST_KEY_CHANGED,
            "Somebody may be in between, or the host was set up anew: ask its owner. If it was: {forget}, and then "
            "rqflow tunnel trust {name}"),
    _Saying(r"Host key verification failed|No .* host key is known for", State.HOST_KEY_UNKNOWN,
            "Compare its key with what its owner says, and believe it: rqflow tunnel trust {name}"),
    _Saying(r"Server has disabled (port|streamlocal) forwarding|port forwarding refused", State.FORWARD_REFUSED,
            "sshd_config there, or authorized_keys, forbids it: AllowTcpForwarding yes, AllowStreamLocalForwarding yes, no DisableForwarding; "
            "port-forwarding and permitlisten in authorized_keys."),
    _Saying(r"remote port forwarding failed for listen|Could not request .*forwarding|forwarding request failed|[Pp]ort forwarding failed",
            State.FORWARD_REFUSED,
            "Most often the sshd of a connection that was cut holds it still: it lets go when it has noticed (ClientAliveInterval 15; for sockets, "
            "StreamLocalBindUnlink yes in sshd_config there). Else it is forbidden (AllowTcpForwarding, permitlisten), or another program has it."),
    _Saying(r"cannot listen to port|unix_listener: cannot bind|bind(?: \[.*\]:\d+)?: (Address already|Permission)", State.FORWARD_REFUSED,
            "Another program of this machine has the port or socket: end it, or choose another port."),
    _Saying(r"Control socket connect|No ControlPath specified|mux_client|Master is (not|dead)", State.NEEDS_PERSON, "{person}"),
    _Saying(r"UNPROTECTED PRIVATE KEY FILE|Load key .*: (?:bad permissions|error in libcrypto|invalid format|Permission denied|No such file)|"
            r"Identity file .* not accessible|Bad owner or permissions|Bad configuration option|bad configuration options|"
            r"[Cc]ommand-line: line|keyword .* extra arguments|No such file or directory: ",
            State.UNUSABLE, "Mend what ssh says; a private key is for its owner alone: chmod 600."),
    _Saying(r"Permission denied \(|Too many authentication failures|Permission denied, please try again|no mutual signature", State.DENIED,
            "Is our public key in authorized_keys of {login}{identity}? If the host asks for more than a key, let the tunnel ride on a connection "
            "that a person opens: add `control` to its line."),
    _Saying(r"Could not resolve hostname", State.NAME_UNKNOWN, "Is the name right, and does the name service answer here?"),
    _Saying(r"No route to host|Network is (unreachable|down)|Host is down", State.NO_ROUTE, "Is the network up, and is the host on?"),
    _Saying(r"connect to (host|address) .*: Connection refused|^ssh: .*Connection refused", State.NO_SSHD,
            "Is its sshd running, at this port, and not shut off by a firewall?"),
    _Saying(r"connect to (host|address) .*timed out|Connection timed out during|Operation timed out", State.NO_ANSWER,
            "Is the host on, and does a firewall drop what is sent to it?"),
    _Saying(r"Exceeded MaxStartups|Not allowed at this time|kex_exchange_identification|ssh_exchange_identification|banner line contains invalid",
            State.TURNED_AWAY,
            "Too many log in there at a time (MaxStartups in its sshd_config), or it bans this address: it is tried again, less and less often."),
    _Saying(r"not responding|Connection reset|Connection closed|Broken pipe|Connection to .* (closed|aborted)|client_loop|timed out", State.LOST),
)
#: What ssh says of a single connection through the tunnel.
FORBIDDEN = re.compile(r"open failed: administratively prohibited")
NOT_THERE = re.compile(r"open failed: (connect failed|unknown|resource)[^\r\n]*")
#: What is not worth telling.
_NOISE = re.compile(r"^(debug\d: |OpenSSH_|Authenticated to|Transferred: |Bytes per second|Warning: remote port forwarding|channel \d+: )")


def understood(lines: Iterable[str], code: int | None, tunnel: Tunnel, *, known_hosts: str, identity: str = "") -> Failure:
    """Return what the end of ssh means, by what it said and its exit code."""
    said = [line.rstrip() for line in lines if line.strip()]
    shown = [line for line in said if not _NOISE.match(line)]
    if any("stdio forwarding failed" in line for line in said):
        why = "".join(line.partition("open failed: ")[2] for line in said)
        return Failure(State.NO_ROUTE, f"the host on the way does not reach it: {why or 'stdio forwarding failed'}",
                       "Is the name right that the host on the way knows it by, and may we dial on from there (AllowTcpForwarding)?")
    for saying in _SAYINGS:
        telling = [line for line in said if re.search(saying.pattern, line)]
        if telling:
            error = telling[-1].removeprefix("debug1: Remote: ").strip("@ ")
            return Failure(saying.state, error, _filled(saying.remedy, tunnel, _forget(said, tunnel, known_hosts), identity))
    if shown:
        return Failure(State.FAILED, shown[-1], "What ssh says more: rqflow tunnel print, and try it by hand with -v.")
    return Failure(State.LOST, f"ssh ended with exit code {code}")


def needs_person(tunnel: Tunnel, error: str) -> Failure:
    """Return that a person has to open, or renew, the connection that a tunnel rides on."""
    return Failure(State.NEEDS_PERSON, error, _person(tunnel))


def not_let(tunnel: Tunnel, service: str) -> Failure:
    """Return that the other side lets no connection through to `service`."""
    what = "permitopen in authorized_keys, AllowTcpForwarding and AllowStreamLocalForwarding in sshd_config there"
    if tunnel.direction is Direction.REMOTE:
        return Failure(State.UNPROVEN, f"the forward of {service} was accepted; that side does not let us try it", f"To have it tried, see {what}.")
    return Failure(State.FORWARD_REFUSED, f"sshd lets nothing through to {service}: administratively prohibited", f"See {what}.")


def _person(tunnel: Tunnel) -> str:
    return f"needs a person: ssh {tunnel.target.login}" + (f" -p {tunnel.target.port}" if tunnel.target.port else "")


def _forget(said: Iterable[str], tunnel: Tunnel, known_hosts: str) -> str:
    """Return the command that takes the old key of a host out of the file in which ssh found it."""
    for line in said:
        if found := re.search(r"Offending .* in (.+):(\d+)$", line):
            return shlex.join(["sed", "-i", f"{found[2]}d", found[1]])
    target = tunnel.target
    return shlex.join(["ssh-keygen", "-f", known_hosts, "-R", f"[{target.host}]:{target.port}" if target.port else target.host])


def _filled(remedy: str, tunnel: Tunnel, forget: str, identity: str) -> str:
    public = f" ({identity}.pub)" if identity else ""
    return remedy.format(name=tunnel.name, login=tunnel.target.login, forget=forget, person=_person(tunnel), identity=public)
