"""The keeper of the private Redis: its parent process, which ends it when nobody uses it any more.

Run as a file of its own, on the standard library alone, so that it starts in milliseconds:

    python -I -S keeper.py SPEC.json

Who uses the Redis holds a shared flock on `users`; the kernel drops it however that process ends, kill -9 included. The keeper
looks for the moment at which it gets that lock exclusively; after `linger` seconds of it, it ends Redis *while it holds the lock*,
so that a newcomer waits and then starts a new one. A Redis that dies under its users is started again, unless it ends at once three times in a row.
A keeper that was killed leaves Redis running; the next user starts a new keeper, which adopts it by its pid. One whose home was removed goes on
with the file that it has open, until those who use it are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

RESTART_PAUSE = 0.5
GIVE_UP_AFTER = 3
QUICK_END = 2.0
STOP_PATIENCE = 60.0
TOUCH_EVERY = 10.0


def opened(path: str) -> int:
    """Return a descriptor of the file, which is made unless it is there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Keeper:
    """One private Redis: its process, and who uses it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Take `spec`: argv, socket, users, keeper, owner (paths), pid (a running Redis to adopt, or null) and linger (seconds)."""
        self.spec = spec
        self.pid: int = spec["pid"] or 0
        self.ours = not self.pid
        self.ending = False
        self.touched = self.started = 0.0
        self.failures = 0

    def run(self) -> int:
        """Keep Redis until nobody uses it, in the background; return 0 at once, or 1 when another keeper is there already."""
        keeper, self.users = opened(self.spec["keeper"]), opened(self.spec["users"])
        try:
            fcntl.flock(keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 1
        if os.fork():
            return 0  # the lock is the child's too: whoever waits for this exit code finds it held
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if self.ours:
            self.start()
        self.watch()
        self.end()
        os.close(keeper)
        os.close(self.users)  # last: a newcomer that waits for it must find no keeper any more
        return 0

    def stop(self, *_: object) -> None:
        """End at the next look, whoever uses Redis."""
        self.ending = True

    def start(self) -> None:
        """Start Redis as a child; its output goes where the keeper's goes."""
        Path(self.spec["socket"]).unlink(missing_ok=True)
        self.pid, self.ours = os.posix_spawn(self.spec["argv"][0], self.spec["argv"], os.environ), True
        self.started = time.monotonic()

    def alive(self) -> bool:
        """Tell whether Redis runs; a child that ended is reaped."""
        if self.ours:
            return os.waitpid(self.pid, os.WNOHANG)[0] == 0
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def watch(self) -> None:
        """Look four times a linger, and at least once a second, until it is over; then hold the lock that keeps newcomers waiting."""
        linger = self.spec["linger"]
        while not self.is_unused(linger):
            if not self.alive():
                self.failures = self.failures + 1 if time.monotonic() - self.started < QUICK_END else 0
                if self.failures >= GIVE_UP_AFTER:
                    sys.exit("the private Redis ends as soon as it is started: given up")
                time.sleep(RESTART_PAUSE)
                self.start()
            self.touch()
            time.sleep(min(1.0, max(linger / 4, 0.05)))

    def is_unused(self, linger: float) -> bool:
        """Take the exclusive lock when nobody has used Redis for `linger` seconds, and tell so; each user that comes touches the file."""
        if self.ending:
            return True
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.utime(self.users)
            return False
        if time.time() - os.fstat(self.users).st_mtime >= linger:
            return True
        fcntl.flock(self.users, fcntl.LOCK_UN)
        return False

    def has_other_home(self) -> bool:
        """Tell whether the home was removed and made anew: what stands there now is not ours."""
        try:
            return not os.path.samestat(Path(self.spec["users"]).stat(), os.fstat(self.users))
        except FileNotFoundError:
            return False

    def touch(self) -> None:
        """Give the sign of life by which other machines see that this home is in use."""
        if time.monotonic() - self.touched < TOUCH_EVERY:
            return
        self.touched = time.monotonic()
        with contextlib.suppress(OSError):  # the home was removed or is out of reach: neither ends the Redis that people use
            os.utime(self.spec["owner"])

    def end(self) -> None:
        """End Redis in an orderly way (it writes its append-only file), with KILL when it takes too long.

        With KILL at once where its home was made anew: its file is gone, and it would take away the socket of the next one.
        """
        deadline = time.monotonic() + STOP_PATIENCE
        replaced = self.has_other_home()
        try:
            os.kill(self.pid, signal.SIGKILL if replaced else signal.SIGTERM)
            while self.alive():
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.02)
        except (ProcessLookupError, ChildProcessError):
            pass  # it was gone already
        for path in () if replaced else (self.spec["socket"], self.spec["owner"]):
            with contextlib.suppress(OSError):
                Path(path).unlink()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as stream:
        sys.exit(Keeper(json.load(stream)).run())
