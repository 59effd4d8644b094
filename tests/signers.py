"""People with SSH keys, for tests of signing: real keys of ssh-keygen, in a folder of the test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.services import needs

NAMESPACE = "rqflow-dag"


def keygen(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run ssh-keygen, which must succeed; return what it printed."""
    return subprocess.run(["ssh-keygen", *map(str, arguments)], input=data, capture_output=True, check=True).stdout


@dataclass(frozen=True)
class Person:
    """Somebody with a key."""

    name: str
    key: Path

    @property
    def public(self) -> str:
        """Type and key, without a name."""
        return " ".join(self.key.with_name(f"{self.key.name}.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        return keygen("-l", "-f", f"{self.key}.pub").decode().split()[1]

    def sign(self, data: bytes, namespace: str = NAMESPACE) -> str:
        return keygen("-q", "-Y", "sign", "-f", self.key, "-n", namespace, data=data).decode()


def person(folder: Path, name: str, *, passphrase: str = "", kind: str = "ed25519") -> Person:
    """Make somebody a key."""
    needs("ssh-keygen", "ssh-agent")
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / f"{name.partition('@')[0]}_key"
    keygen("-q", "-t", kind, "-N", passphrase, "-C", name, "-f", key)
    return Person(name, key)


def allow(path: Path, *lines: tuple[Person, str]) -> Path:
    """Write a file of allowed signers, each with these options."""
    path.write_text("".join(f"{one.name} {options} {one.public}\n" for one, options in lines))
    path.chmod(0o644)
    return path


@contextlib.contextmanager
def agent(folder: Path, *people: Person) -> Iterator[dict[str, str]]:
    """An ssh-agent that has the keys of these people; gives the environment by which it is found."""
    needs("ssh-agent", "ssh-add")
    sock = folder / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        environ = {"SSH_AUTH_SOCK": str(sock)}
        for _ in range(1000):
            if sock.exists():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        for one in people:
            subprocess.run(["ssh-add", "-q", str(one.key)], env={**os.environ, **environ}, check=True, stdin=subprocess.DEVNULL)
        yield environ
    finally:
        process.terminate()
        process.wait()
