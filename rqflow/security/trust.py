"""Whose versions a worker runs: those that a principal of its allowed_signers file has signed, within that principal's limits.

What is checked are bytes; whoever asks parses them only afterwards. A result holds for a minute at most, because keys expire by the clock, and for as
long as the files are as they were.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rqflow import clock
from rqflow.exceptions import ConfigError, NotPermitted
from rqflow.security import keygen, limits, sshsig
from rqflow.security.limits import Limits
from rqflow.settings import Settings

#: Signatures of a version that are looked at; seconds for which a result holds, and how many are kept.
MOST, HOLDS, KEPT = 16, 60.0, 256
HOW_TO_SIGN = "sign it with a key that this worker trusts: `rqflow submit FILE` with security.signing on, or `rqflow dag sync --sign` at the hub"
#: Characters of a sha that people are shown.
SHOWN = 12
_Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Refused(NotPermitted):
    """A version, or a task of it, that this worker does not run; nothing of it was parsed unless its signature was good."""

    @property
    def whole(self) -> str:
        """What is wrong and what to do, in one line."""
        return f"{self.message}. {self.hint[:1].upper()}{self.hint[1:]}"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who has signed: a principal of the allowed_signers file, the fingerprint of the key, and what may be run for it."""

    principal: str
    fingerprint: str
    limits: Limits


class Trust:
    """The trust files of one process. Safe with several threads."""

    def __init__(self, allowed: Path, *, revoked: Path | None = None, limits_file: Path | None = None) -> None:
        """Name the files; they are read when they are needed."""
        self.allowed, self.revoked, self.limits_file = allowed, revoked, limits_file
        self._files = [path for path in (allowed, revoked, limits_file) if path is not None]
        self._stamp: _Stamp | None = None
        self._limits: dict[str, Limits] | None = None
        #: {sha: (until, (signers, signatures))} and {(sha, signatures): (until, why not)}, both for the files as `_stamp` has them.
        self._good: OrderedDict[str, tuple[float, tuple[tuple[Signer, ...], tuple[str, ...]]]] = OrderedDict()
        self._bad: OrderedDict[tuple[str, tuple[str, ...]], tuple[float, str]] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings) -> Trust | None:
        """Return what the settings name; None where nothing is verified. Raises ConfigError for limits or revocations without allowed_signers."""
        security = settings.security
        if not security.allowed_signers:
            for name in ("revoked_keys", "signer_limits"):
                if getattr(security, name):
                    raise ConfigError(f"security.{name} is set, and security.allowed_signers is not: nothing would be verified",
                                      hint="Set security.allowed_signers, or take the other one away.")
            return None
        allowed, revoked, limited = (settings.home / Path(name).expanduser() if name else None for name in (
            security.allowed_signers, security.revoked_keys, security.signer_limits))
        assert allowed is not None
        return cls(allowed, revoked=revoked, limits_file=limited)

    def check(self) -> None:
        """Read all files; raises ConfigError for one that is missing, that others may write, or that has a bad line, and without ssh-keygen."""
        keygen.program()
        self._renew(force=True)

    def known(self, sha: str) -> tuple[Signer, ...] | None:
        """Return who has signed a version of which that was found out a moment ago; None: ask `signers`. Raises Refused for files that are unfit."""
        self._fit()
        found = self._good.get(sha)
        return found[1][0] if found and found[0] > clock.monotonic() else None

    def signers(self, sha: str, data: bytes, signatures: Sequence[str]) -> tuple[Signer, ...]:
        """Return who has signed the version `sha`, of which these are the bytes. Raises Refused with the reason when nobody has who is trusted."""
        self._fit()
        if hashlib.sha256(data).hexdigest() != sha:
            raise Refused(f"refused: what lies under the name of the version {sha[:SHOWN]} is something else, which nobody has signed",
                          hint="Redis holds a forgery: see who may write there.")
        key = (sha, tuple(signatures))
        if (known := self._good.get(sha)) and known[0] > clock.monotonic() and known[1][1] == key[1]:
            return known[1][0]
        if (before := self._bad.get(key)) and before[0] > clock.monotonic():
            raise Refused(before[1], hint=HOW_TO_SIGN)
        found, why = self._ask(data, signatures)
        if not found:
            said = f"refused: its version {sha[:SHOWN]} {'; '.join(why) or 'is not signed'}"
            _keep(self._bad, key, said)
            raise Refused(said, hint=HOW_TO_SIGN)
        _keep(self._good, sha, (tuple(found), key[1]))
        return tuple(found)

    def _ask(self, data: bytes, signatures: Sequence[str]) -> tuple[list[Signer], list[str]]:
        """Return those whose signatures are good, and what is wrong with each of the others."""
        found: list[Signer] = []
        why: list[str] = []
        for signature in signatures[:MOST]:
            try:
                found.append(self._signer(data, signature))
            except (ValueError, ConfigError) as error:
                why.append(str(error.message if isinstance(error, ConfigError) else error))
        return found, why

    def _signer(self, data: bytes, signature: str) -> Signer:
        """Return whose signature this is; raises ValueError with what is wrong with it."""
        seen = sshsig.parse(signature)
        if seen.namespace != keygen.NAMESPACE:
            raise ValueError(f"has a signature of {seen.fingerprint} that was made for {seen.namespace[:40]!r}, not for {keygen.NAMESPACE}")
        done = keygen.ask(["find-principals", "-f", str(self.allowed)], signature=signature)
        names = done.stdout.decode(errors="replace").split("\n")[:-1] if done.returncode == 0 else []
        if not names:
            said = self._said(done.stderr, "No principal matched")
            why = f"does not count: {said}" if said else f"is not among those of {self.allowed}"
            raise ValueError(f"was signed with the key {seen.fingerprint}, which {why}")
        wild = [name for name in names if set(name) & set("*?!")]
        if len(wild) == len(names):
            raise ValueError(f"was signed with the key {seen.fingerprint}, whose line in {self.allowed} names nobody: {wild[0]} is a pattern")
        plain = [name for name in names if name not in wild]
        problems = []
        for name in plain:
            if problem := self._problem(name, data, signature, seen.fingerprint):
                problems.append(problem)
            elif its := self._limits_of(name):
                return Signer(name, seen.fingerprint, its)
            else:
                problems.append(f"was signed by {name}, who has no line in {self.limits_file}")
        raise ValueError(problems[0])

    def _problem(self, name: str, data: bytes, signature: str, fingerprint: str) -> str:
        """Return what is wrong with the signature of a principal; empty when it is good."""
        asked = ["verify", "-I", name, "-n", keygen.NAMESPACE, "-f", str(self.allowed)]
        done = keygen.ask([*asked, *(["-r", str(self.revoked)] if self.revoked else [])], signature=signature, data=data)
        if done.returncode == 0:
            return ""
        said = self._said(done.stderr, "Could not verify")
        if "incorrect signature" in said:
            return f"is not what {name} ({fingerprint}) has signed: it was changed afterwards"
        if self.revoked and keygen.ask(asked, signature=signature, data=data).returncode == 0:
            return f"was signed by {name} with the key {fingerprint}, which is revoked"
        return f"was signed by {name} with the key {fingerprint}, which does not count{f': {said}' if said else ''}"

    def _limits_of(self, principal: str) -> Limits | None:
        return limits.of(self._limits, principal) if self._limits is not None else Limits(principal=principal)

    @staticmethod
    def _said(stderr: bytes, unless: str) -> str:
        lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip() and not line.startswith(unless)]
        return "; ".join(lines)[:300]

    def _fit(self) -> None:
        """Read the files anew when they have changed; raises Refused for files that are unfit."""
        try:
            self._renew()
        except ConfigError as error:
            raise Refused(f"refused: nothing can be verified here: {error.message}", hint=error.hint) from error

    def _renew(self, *, force: bool = False) -> None:
        stamp = tuple(map(_stamp, self._files))
        if stamp == self._stamp and not force:
            return
        self._stamp = None
        for path in self._files:
            _check(path)
        self._limits = limits.read(self.limits_file) if self.limits_file else None
        self._good.clear()
        self._bad.clear()
        self._stamp = stamp


K = TypeVar("K")
V = TypeVar("V")


def _keep(kept: OrderedDict[K, tuple[float, V]], key: K, value: V) -> None:
    """Keep a result for as long as it holds; the oldest goes when there are many."""
    kept[key] = (clock.monotonic() + HOLDS, value)
    while len(kept) > KEPT:
        kept.popitem(last=False)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked with each task
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _check(path: Path) -> None:
    """Raise ConfigError for a trust file that is not there, or that others than its owner and root may write."""
    try:
        found = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="The settings security.* name it.") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is no file", hint="The settings security.* name it.")
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigError(f"{path}: belongs to uid {found.st_uid}, who could let in anybody", hint=f"chown {os.geteuid()} {path}")
    if found.st_mode & 0o022:
        raise ConfigError(f"{path}: others may write it, and could let in anybody", hint=f"chmod go-w {path}")
