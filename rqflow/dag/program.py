"""Programs that Python children of tasks start: in their own place, so that the task ends as the program does, or beside themselves."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from rqflow.exceptions import TaskFailed

#: The state in the result of a Python child that has become a program: the program's own end tells the rest.
STARTED = "program"
#: Signals that Python ignores, and that what it becomes would ignore as well.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment of a Python child, and what of it a program gets."""

    environ: Mapping[str, str]
    #: Names that no program gets, and those that it gets also when it does not inherit.
    hidden: Collection[str] = ()
    bare: Collection[str] = ()

    def environment(self, env: Mapping[str, str], *, inherit: bool) -> dict[str, str]:
        """Return the whole environment of a program with `env` laid over."""
        names = set(self.environ).difference(self.hidden) if inherit else set(self.bare).intersection(self.environ)
        return {**{name: self.environ[name] for name in names}, **env}


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to start, all of it rendered."""

    argv: tuple[str, ...]
    #: Laid over the environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: False: of the environment only what the worker gives to every task.
    inherit_env: bool = True
    #: None: where the child is.
    cwd: str | None = None
    #: {path: text} to be written before, for their owner only.
    files: Mapping[str, str] = field(default_factory=dict)

    def start(self, surroundings: Surroundings) -> NoReturn:
        """Become the program; raises TaskFailed when it cannot be started."""
        environ = surroundings.environment(self.env, inherit=self.inherit_env)
        try:
            for path, text in self.files.items():
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                os.fchmod(descriptor, 0o600)  # Whatever the task's umask is, the program must read it.
                with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(text)
            if self.cwd:
                _enter(self.cwd)
            for number in _IGNORED:
                signal.signal(number, signal.SIG_DFL)
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError):  # The DAG file may have closed it.
                    stream.flush()
            os.execvpe(self.argv[0], self.argv, environ)  # noqa: S606 (the shell, where there is one, is named in argv)
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise TaskFailed("could not be started: its command and its environment are too large for the kernel") from error
            raise TaskFailed(f"could not be started: {error.strerror}: {error.filename or self.argv[0]}") from error
        except ValueError as error:
            raise TaskFailed(f"could not be started: {error}") from error


def _enter(folder: str) -> None:
    path = os.path.expanduser(folder)  # noqa: PTH111
    if not os.path.isdir(path):  # noqa: PTH112
        raise TaskFailed(f"could not be started: its folder {path} does not exist")
    os.chdir(path)
