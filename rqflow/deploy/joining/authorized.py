"""One line in authorized_keys of the hub's account: a worker's key, which may forward to the hub's services and do nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rqflow.deploy import flock
from rqflow.exceptions import ConfigError, UsageError
from rqflow.tunnel import Address

#: In the comment of a line, before the name of the worker.
MARK = "rqflow worker"
_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa|sk-[\w@.-]+) [A-Za-z0-9+/]+=*")
#: A port that nothing is behind, and that nobody but root may take: an empty list would mean all.
_NOTHING = "localhost:1"


def line(name: str, ssh_key: str, addresses: Sequence[Address]) -> str:
    """Return the line of a worker on its hub: no shell, no terminal, no agent, no port but these `addresses`, and with OpenSSH no unix socket.

    Raises UsageError for what is no public key.
    """
    ports = [f"{one.host}:{one.port}" for one in addresses] or [_NOTHING]
    return _line(name, ssh_key, [*(f'permitopen="{one}"' for one in ports), f'permitlisten="{_NOTHING}"', 'command="/bin/false"'])


def line_of_hub(name: str, ssh_key: str, command: str) -> str:
    """Return the line of a hub on the machine that it dials: it may run one command there, and listen on no port; the sockets on which it does listen
    it asks through, too. Raises UsageError for what is no public key.
    """
    return _line(name, ssh_key, [f'permitlisten="{_NOTHING}"', f'command="{command}"'])


def _line(name: str, ssh_key: str, options: Sequence[str]) -> str:
    match = _KEY.match(ssh_key.strip())
    if not match:
        raise UsageError("this is no public key of ssh")
    return f"{','.join(['restrict', 'port-forwarding', *options])} {match[0]} {MARK} {name}"


def file_of(home: Path) -> Path:
    """Return authorized_keys of the account whose home folder this is."""
    return home / ".ssh" / "authorized_keys"


def put(file: Path, name: str, text: str) -> bool:
    """Let the line of a worker be this one; False when it was. Raises ConfigError when the file cannot be written."""
    return _change(file, name, text)


def remove(file: Path, name: str) -> bool:
    """Take the line of a worker away; False when there was none. Raises ConfigError when the file cannot be written."""
    return file.exists() and _change(file, name, "")


def _change(file: Path, name: str, text: str) -> bool:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with flock.held(file.parent / ".rqflow.lock"):
            before = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if file.exists() else []
            others = [one for one in before if not one.rstrip().endswith(f" {MARK} {name}")]
            after = [*others, *([text] if text else [])]
            if after == before:
                return False
            fresh = file.with_name(f"{file.name}.rqflow-{os.getpid()}")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, file.stat().st_mode & 0o777 if file.exists() else 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
                stream.writelines(f"{one}\n" for one in after)
            fresh.replace(file.resolve())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint="Who may write it adds or removes the line by hand.") from error
    return True
