"""One task process in the shepherd's care: its kill in stages, its end.

A process that ends by itself with success may leave others running, as under Airflow; they are named. When it fails, what is left of its
process group is ended first, so that the next try never runs beside it; processes that made a session of their own are left alone. When
it is killed (timeout, cancel, stop), everything that belongs to it is ended, and its end is told only when nothing is left, or when
KILL did not help for a while.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field, replace

from rqflow import clock
from rqflow.process import Process
from rqflow.worker import confinement, outputs, processes
from rqflow.worker.journal import Started
from rqflow.worker.shepherd_protocol import FENCE, LEFTOVER, TIMEOUT, Ended
from rqflow.worker.spawning import Unborn, send_errand

#: Seconds between two looks at what a kill has left, when something was left and when nothing was, and after KILL until a survivor is
#: given up and named.
_LOOK_AGAIN, _LOOK_SOON, _GIVE_UP = 0.1, 0.03, 5.0


@dataclass(slots=True)
class Kill:
    """A kill that is under way; all times are monotonic."""

    why: str
    kill_at: float
    give_up_at: float
    killed: bool = False
    look_at: float = 0.0
    #: The last look found nothing left. One look is not enough: a process that is just loading its program shows no mark.
    was_empty: bool = False
    #: Signals that it got.
    sent: set[int] = field(default_factory=set)


class Execution:
    """A task process, from its start until its end may be told."""

    __slots__ = ("_fence_fell", "_kill", "_known", "_leader", "_unborn", "entry", "oom_before", "timeout_at")

    def __init__(self, entry: Started, *, oom_before: int | None = None, unborn: Unborn | None = None) -> None:
        self.entry = entry
        self._unborn = unborn
        self.timeout_at = None if entry.timeout is None else clock.monotonic() + entry.timeout - (clock.boottime() - entry.started)
        self._kill: Kill | None = None
        self._fence_fell = False
        #: Processes seen at an earlier look, which may have lost their parent since.
        self._known: set[tuple[int, int]] = set()
        self._leader: Ended | None = None
        #: The kernel's count of kills for want of memory when it was started.
        self.oom_before = oom_before

    def leader_ended(self, *, status: int | None, cpu: float = 0.0, rss: int = 0, oom_now: int | None = None, reused: bool = False) -> None:
        """Note how the process itself ended.

        `status` None says that nobody knows; `reused` that its pid, and so its group's number, may be another's by now.
        """
        error = self._unborn.error() if self._unborn else ""
        by_itself = self._kill is None
        oom = by_itself and was_sigkill(status) and None not in {oom_now, self.oom_before} and oom_now != self.oom_before
        oom = oom or confinement.were_killed(self.entry.confined)
        self._leader = Ended(
            id=self.entry.id, pid=self.entry.pid, status=status, cpu=cpu, rss=rss, oom=oom, lost=status is None,
            started=self.entry.started, ended=clock.boottime(), at=clock.timestamp(), boot=self.entry.boot,
            memo=self.entry.memo, killed=self._kill.why if self._kill else "", notes=tuple((self.entry.confined or {}).get("notes", ())),
        )
        if error:
            self._leader = replace(self._leader, pid=0, status=None, cpu=0.0, rss=0, error=error)
        if by_itself and status != 0 and not reused and processes.group_is_alive(self.entry.pid):
            self.kill(LEFTOVER, self.entry.grace)
        elif self._kill:
            self._kill.look_at = 0.0

    def kill(self, why: str, grace: float, number: int = signal.SIGTERM) -> None:
        """Begin to end it: this signal now, KILL after `grace` seconds. A second call can only make it sooner, or send another signal."""
        now = clock.monotonic()
        if self._kill is None:
            self._kill = Kill(why, now + grace, now + grace + _GIVE_UP)
        if grace > 0 and number not in self._kill.sent:
            self._kill.sent.add(number)
            self._signal(self._members(), signal.Signals(number))
        self._kill.kill_at = min(self._kill.kill_at, now + grace)
        self._kill.give_up_at = min(self._kill.give_up_at, now + grace + _GIVE_UP)
        self._kill.look_at = min(self._kill.kill_at, now + _LOOK_AGAIN)

    def keep_fence(self) -> None:
        """Begin to end the process when it must be dead soon. A machine that slept may be late: then at once."""
        fence = self.entry.fence
        if fence is None or self._fence_fell or self._leader:
            return
        left = fence - clock.boottime()
        if left <= self.entry.grace:
            self._fence_fell = True
            self.kill(FENCE, max(left, 0.0))

    def fence_is_over(self) -> bool:
        """Tell whether the time by which it had to be dead has passed: nobody can put that off any more."""
        return self.entry.fence is not None and clock.boottime() >= self.entry.fence

    def step(self) -> Ended | None:
        """Do what is due; return the end when it may be told."""
        self.keep_fence()
        now = clock.monotonic()
        if self._kill is None:
            if self._leader is None:
                if self.timeout_at is not None and now >= self.timeout_at:
                    self.kill(TIMEOUT, self.entry.grace)
                return None
            return self._end(self._leader)
        if now < self._kill.look_at:
            return None
        left = self._members()
        if self._leader and (now >= self._kill.give_up_at or (not left and self._kill.was_empty)):
            return self._end(self._leader, survivors=left)
        self._kill.was_empty = not left
        if now >= self._kill.kill_at and now < self._kill.give_up_at:
            self._kill.killed = True
            self._signal(left, signal.SIGKILL)
        again = now + (_LOOK_AGAIN if left else _LOOK_SOON)
        self._kill.look_at = again if self._kill.killed else min(max(self._kill.kill_at, now), again)
        return None

    def next_step(self) -> float | None:
        """Return when, by the monotonic clock, `step` must be called again; None: only when the process ends."""
        due = [self._kill.look_at if self._kill else self.timeout_at]
        if self.entry.fence is not None and self._leader is None and not self._fence_fell:
            due.append(clock.monotonic() + self.entry.fence - self.entry.grace - clock.boottime())
        return min((at for at in due if at is not None), default=None)

    def _members(self) -> list[Process]:
        if self._kill and self._kill.why == LEFTOVER:
            return processes.of_session(self.entry.pid, since=self.entry.earliest)
        found = processes.belonging(self.entry.pid, marker=self.entry.id, since=self.entry.earliest, known=self._known)
        self._known.update((process.pid, process.started) for process in found)
        return found

    def _signal(self, members: list[Process], number: signal.Signals) -> None:
        account = (self.entry.confined or {}).get("account") or {}
        if "errand" in account:
            with contextlib.suppress(OSError):
                send_errand(account["errand"], {
                    "do": "signal", "uid": account["uid"], "group": self.entry.pid, "number": int(number), "mark": self.entry.id,
                    "processes": [(member.pid, member.started) for member in members],
                })
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._leader is None or any(member.group == self.entry.pid for member in members):
                os.killpg(self.entry.pid, number)
        processes.send([member for member in members if member.group != self.entry.pid], number)

    def _end(self, leader: Ended, *, survivors: list[Process] | None = None) -> Ended:
        left: list[Process] = []
        if leader.status == 0 and not leader.killed and processes.group_is_alive(self.entry.pid):
            left = processes.of_session(self.entry.pid, since=self.entry.earliest)
        partial: list[str] = []
        if self.entry.outputs and (leader.status != 0 or leader.killed):
            with contextlib.suppress(OSError):
                partial = outputs.mark_partial(self.entry.outputs, self.entry.try_number)
        if not (left or survivors or partial):
            return leader
        return replace(leader, left=_names(left), survivors=_names(survivors or []), partial=tuple(partial))


def was_sigkill(status: int | None) -> bool:
    """Tell whether the wait status names SIGKILL, or the exit code by which a shell tells that its command died of it."""
    if status is None:
        return False
    return os.WTERMSIG(status) == signal.SIGKILL if os.WIFSIGNALED(status) else os.WEXITSTATUS(status) == 128 + signal.SIGKILL


def _names(members: list[Process]) -> tuple[str, ...]:
    return tuple(str(member) for member in members)
