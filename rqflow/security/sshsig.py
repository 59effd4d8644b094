"""What stands in an SSH signature (SSHSIG, as `ssh-keygen -Y sign` writes it), read without trusting any of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
#: Characters that a signature may have: those of hardware keys with certificates have some thousands.
LONGEST = 32 << 10
_MAGIC = b"SSHSIG"


@dataclass(frozen=True, slots=True)
class Sshsig:
    """A signature taken apart: whose it says to be, and for what."""

    #: As `ssh-keygen -l` writes it, of a certificate that of all of it: SHA256:…
    fingerprint: str
    #: ssh-ed25519, sk-ssh-ed25519@openssh.com, …
    key_type: str
    namespace: str
    #: The line of an allowed_signers or .pub file without its name: type and key.
    public_key: str


def parse(armored: str) -> Sshsig:
    """Return what a signature says of itself; raises ValueError for what is none."""
    lines = armored.strip().splitlines()
    if len(armored) > LONGEST or len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise ValueError("this is no SSH signature")
    try:
        blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("this SSH signature is damaged") from error
    if not blob.startswith(_MAGIC):
        raise ValueError("this is no SSH signature")
    key, rest = _string(blob[len(_MAGIC) + 4:])
    namespace, _ = _string(rest)
    kind, _ = _string(key)
    try:
        key_type, meant = kind.decode("ascii"), namespace.decode()
    except UnicodeDecodeError as error:
        raise ValueError("this SSH signature is damaged") from error
    return Sshsig(fingerprint=fingerprint(key), key_type=key_type, namespace=meant, public_key=f"{key_type} {base64.b64encode(key).decode()}")


def fingerprint(key: bytes) -> str:
    """Return how people know a public key: SHA256:…"""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def fingerprint_of_line(line: str) -> str:
    """Return the fingerprint of a line of a .pub file; raises ValueError for what is none."""
    words = line.split()
    try:
        return fingerprint(base64.b64decode(words[1], validate=True))
    except (IndexError, binascii.Error, ValueError) as error:
        raise ValueError(f"this is no public key: {line[:60]!r}") from error


def _string(data: bytes) -> tuple[bytes, bytes]:
    """Return the first string of SSH's wire format, and what follows it; raises ValueError."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        raise ValueError("this SSH signature is damaged")
    return data[4:4 + size], data[4 + size:]
