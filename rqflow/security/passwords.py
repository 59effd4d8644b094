"""Passwords: what they must be, and their argon2 hashes."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rqflow.exceptions import UsageError

#: Characters of a password; the most keeps a form from being work for the hub.
LEAST, MOST = 8, 1000
#: What OWASP asks for at least, 20 to 40 ms: KiB of memory, passes, threads.
MEMORY, PASSES, THREADS = 19 * 1024, 2, 1
#: Hashes at a time: each takes a processor, and MEMORY.
AT_ONCE = 2


def check(password: str) -> None:
    """Raise UsageError for what is no good as a password."""
    if len(password) < LEAST:
        raise UsageError(f"a password has at least {LEAST} characters", hint="A few words with blanks between them are long, and easy to remember.")
    if len(password) > MOST:
        raise UsageError(f"a password has at most {MOST} characters")


class Passwords:
    """Makes hashes of passwords and holds passwords against them, as slowly as was asked for."""

    def __init__(self, *, memory: int = MEMORY, passes: int = PASSES) -> None:
        """Take the cost: KiB of memory, and passes over it."""
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=THREADS)
        self._room = threading.BoundedSemaphore(AT_ONCE)
        #: Hash that nobody's password has, for names that nobody has: to find out whether a name exists takes as long either way.
        self._dummy = ""

    def hash(self, password: str) -> str:
        """Return the hash of a password. Raises UsageError for what is no good as one."""
        check(password)
        with self._room:
            return self._hasher.hash(_bytes(password))

    def verify(self, kept: str, password: str) -> bool:
        """Tell whether this is the password of a hash; an empty one is of nobody, and takes as long."""
        with self._room:
            if not kept and not self._dummy:
                self._dummy = self._hasher.hash(b"")
            try:
                return self._hasher.verify(kept or self._dummy, _bytes(password[:MOST + 1])) and bool(kept)
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, kept: str) -> bool:
        """Tell whether a hash was made at another cost, so that it should be made anew when the password is at hand."""
        return self._hasher.check_needs_rehash(kept)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
