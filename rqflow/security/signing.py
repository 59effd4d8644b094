"""Signing versions with a person's own SSH key, as git does: any key that ssh-keygen takes, in a file, in the agent, or in hardware.

What is signed are the bytes of the version's canonical JSON. Nothing is asked where nobody is at a terminal.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rqflow.exceptions import NotPermitted
from rqflow.security import keygen, sshsig
from rqflow.settings import Settings

SETTING = "security.signing_key"
#: Below ~/.ssh, in the order of OpenSSH.
_FILES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
#: Seconds that a person has to type a passphrase or to touch a key.
_PERSON = 300.0
WAYS_OUT = (f"Put your key into the agent (`ssh-add`), or name another one: {SETTING} = FILE, RQFLOW__SECURITY__SIGNING_KEY=FILE. "
            "A .pub file stands for the private half in the agent. `ssh-keygen -t ed25519` makes a key, whose public half an administrator adds to "
            "the allowed_signers of the workers. Without any, somebody who has one signs: `rqflow dag sign FILE`.")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that a person signs with: a file that ssh-keygen is given, or the public line of one that the agent has."""

    path: Path | None
    line: str = ""

    @property
    def fingerprint(self) -> str:
        """Its fingerprint, of a certificate that of all of it; empty when only a try can tell."""
        try:
            return sshsig.fingerprint_of_line(self.line)
        except ValueError:
            return ""

    @property
    def said(self) -> str:
        """What it is called for people."""
        return str(self.path) if self.path else f"{' '.join(self.line.split()[2:]) or self.fingerprint} of the agent"


def find_key(settings: Settings, environ: Mapping[str, str]) -> SigningKey:
    """Return the key to sign with: the one that the settings name, else the agent's first, else the first of ~/.ssh.

    Raises NotPermitted, with the ways out, when there is none.
    """
    named = settings.security.signing_key
    if named:
        path = settings.home / Path(named).expanduser()
        if not path.is_file():
            raise NotPermitted(f"{SETTING}: there is no file {path}", hint=WAYS_OUT)
        return SigningKey(path, _public_line(path))
    if lines := _in_agent(environ):
        return SigningKey(None, lines[0])
    folder = Path("~/.ssh").expanduser()
    for name in _FILES:
        if (folder / name).is_file():
            return SigningKey(folder / name, _public_line(folder / name))
    has_agent = "the agent has none" if environ.get("SSH_AUTH_SOCK") else "no agent is running"
    raise NotPermitted(f"there is no SSH key to sign with: {has_agent}, and {folder} has none", hint=WAYS_OUT)


def sign(key: SigningKey, payloads: Sequence[bytes], environ: Mapping[str, str], *, may_ask: bool) -> list[str]:
    """Return the armored signature of each payload. With `may_ask` ssh-keygen speaks to the person at the terminal: passphrase, touch of a key.

    Raises NotPermitted, with the ways out, when the key is locked, away or refuses; ConfigError without ssh-keygen.
    """
    program = keygen.program()
    with tempfile.TemporaryDirectory(prefix="rqflow-sign-") as name:
        folder = Path(name)
        path = key.path
        if path is None:
            path = folder / "agent.pub"
            path.write_text(key.line + "\n", encoding="utf-8")
        files = [folder / f"{number}.json" for number in range(len(payloads))]
        for file, payload in zip(files, payloads, strict=True):
            file.write_bytes(payload)
        environ = {**environ, "LC_ALL": "C"} | ({} if may_ask else {"SSH_ASKPASS_REQUIRE": "never"})
        try:
            done = subprocess.run(
                [program, "-q", "-Y", "sign", "-f", str(path), "-n", keygen.NAMESPACE, *map(str, files)], env=environ, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=None if may_ask else subprocess.PIPE, timeout=_PERSON if may_ask else keygen.PATIENCE,
                # Without a terminal of its own it cannot ask at ours.
                start_new_session=not may_ask, check=False)
        except subprocess.TimeoutExpired as error:
            raise NotPermitted(f"the key {key.said} did not sign in time: was it to be touched?", hint=WAYS_OUT) from error
        if done.returncode:
            raise NotPermitted(f"the key {key.said} did not sign{_why(done.stderr)}", hint=WAYS_OUT)
        return [file.with_name(f"{file.name}.sig").read_text(encoding="ascii") for file in files]


def _why(stderr: bytes | None) -> str:
    """Return what ssh-keygen said, in words of ours where these are plainer."""
    lines = [line.strip() for line in (stderr or b"").decode(errors="replace").splitlines() if line.strip()]
    text = " ".join(lines)
    if "incorrect passphrase" in text:
        return ": it is locked with a passphrase, and nobody can be asked for it here"
    if "No private key found" in text or "Couldn't find key in agent" in text:
        return ": its private half is neither beside it nor in the agent"
    return f": {text}" if text else ": ssh-keygen says why above"


def _public_line(path: Path) -> str:
    """Return the public half of a key file, if it lies beside it."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        return public.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _in_agent(environ: Mapping[str, str]) -> list[str]:
    """Return the public lines of the keys in the agent."""
    if not environ.get("SSH_AUTH_SOCK"):
        return []
    asked = ["ssh-add", "-L"]
    try:
        done = subprocess.run(asked, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=keygen.PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
    return [line for line in lines if len(line.split()) >= 2]
