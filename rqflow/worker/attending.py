"""The parent of sudo: it goes on when its command does.

sudo stops itself when its command is stopped (SIGSTOP, as people pause what they run), and nobody tells it that the command goes on or was killed:
it would stay stopped for ever, and with it its try, past each timeout. Only a process of root's, or of the session that it is in, may continue it.
This one is; the account that the command runs under cannot stop it.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import NoReturn

from rqflow import clock
from rqflow.worker import processes

#: Seconds between two looks at a command that is stopped.
_LOOK = 0.2


def attend(sudo: int) -> NoReturn:
    """In the process that has just forked `sudo`: keep it going, and end as it ends."""
    try:
        # Its locks, sockets and pipes are the shepherd's: let go of them, as a program that is executed would.
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        processes.set_name("rqflow-sudo")
        _end_as(_wait(sudo))
    finally:
        # Whatever happens, this process does not go on as a second shepherd.
        os._exit(1)


def _wait(sudo: int) -> int:
    """Return the status with which it ends."""
    while True:
        status = os.waitpid(sudo, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            return status
        while any(one.is_stopped for one in processes.everything() if one.parent == sudo):
            clock.sleep(_LOOK)
        os.kill(sudo, signal.SIGCONT)


def _end_as(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
