"""The keys of hosts that are dialled: met once, shown to a person, and believed from then on."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rqflow.deploy.tunnels import failures
from rqflow.deploy.tunnels.command import Ssh
from rqflow.exceptions import ConfigError, NotPermitted, ServiceUnreachable
from rqflow.settings import environment

#: A host that has not shown its key after so many times tunnels.connect_timeout, for each host on the way, does not answer.
_TIMES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKey:
    """The key of a host that is not believed yet."""

    #: The host, as known_hosts names it.
    host: str
    #: Its kind, such as ED25519.
    kind: str
    #: SHA256:…, which people compare.
    fingerprint: str
    #: Its line of known_hosts.
    line: str


def met(ssh: Ssh) -> list[HostKey]:
    """Go the way of a tunnel up to its host, and return the keys on it that are new; empty when all are known.

    Raises ServiceUnreachable when a host does not answer, or shows another key than it had, and ConfigError without ssh.
    """
    with tempfile.TemporaryDirectory(prefix="rqflow-") as folder:
        file = Path(folder) / "known_hosts"
        before = ssh.known_hosts.read_text(encoding="utf-8") if ssh.known_hosts.exists() else ""
        file.write_text(before, encoding="utf-8")
        said = _meet(replace(ssh, learns=file))
        after = file.read_text(encoding="utf-8")
    failure = failures.understood(said, 255, ssh.tunnel, known_hosts=str(ssh.known_hosts), identity=str(ssh.identity() or ""))
    new = [line for line in after.removeprefix(before).splitlines() if line.strip()]
    # Nobody wants to log in there, so that it sends us away; a host on the way that does so is not meant.
    is_met = failure.state in {failures.State.DENIED, failures.State.LOST} and not any("kex_exchange_identification" in line for line in said)
    if not is_met:
        raise ServiceUnreachable(f"{ssh.tunnel.target}: {failure.state}: {failure.error}", hint=failure.remedy)
    return [_shown(line) for line in new]


def believe(ssh: Ssh, keys: Sequence[HostKey], fingerprints: Collection[str]) -> None:
    """Add keys to known_hosts; with `fingerprints` each must have one of them. Raises NotPermitted naming one that has not."""
    wanted = {text.rstrip("=") for text in fingerprints}
    for key in keys:
        if wanted and key.fingerprint.rstrip("=") not in wanted:
            raise NotPermitted(f"{key.host} has the key {key.fingerprint}, which is none of those that you named",
                               hint="Somebody may be in between. Ask the owner of the host for the fingerprint of its key.")
    try:
        ssh.known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ssh.known_hosts.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{key.line}\n" for key in keys)
    except OSError as error:
        raise ConfigError(f"{ssh.known_hosts} cannot be written: {error.strerror}") from error


def _meet(ssh: Ssh) -> list[str]:
    """Carry out the meeting; return what ssh said."""
    seconds = ssh.settings.connect_timeout.total_seconds() * _TIMES * (1 + len(ssh.tunnel.jumps))
    try:
        done = subprocess.run(ssh.meeting(), env={**environment(), "LC_ALL": "C"}, capture_output=True, text=True, errors="replace", check=False,
                              stdin=subprocess.DEVNULL, timeout=seconds)
    except OSError as error:
        raise ConfigError(f"{ssh.settings.ssh} cannot be run: {error.strerror}", hint="Install OpenSSH's client, or name it: tunnels.ssh.") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceUnreachable(f"{ssh.tunnel.target} has not shown its key after {seconds:g} s") from error
    return done.stderr.splitlines()


def _shown(line: str) -> HostKey:
    told = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=line, capture_output=True, text=True, check=True).stdout.split()
    return HostKey(host=line.split()[0], kind=told[-1].strip("()"), fingerprint=told[1], line=line)
