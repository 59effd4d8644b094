"""Sends the logs of tries to the hub's archive, in a thread with a connection of its own, so that heartbeats never queue behind logs.

A log is read when its task has ended, and every fifth of a second while it runs. No more than a window is under way to the archive, per
log and for the whole worker; beyond it the sender waits for the archive's word. No round trip has more than the link takes in a moment. Of a
log longer than max_log_size the head is sent as it comes, and when it is complete a mark and the tail. The stream of bytes so made is what
offsets count. Secrets in it are blotted out, a star for each byte, so that offsets stay what they are.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import redis

from rqflow import clock, logs
from rqflow.broker.logstream import Archived, LogChunk, LogStream
from rqflow.security.keyring import Keyring
from rqflow.security.masking import Masker
from rqflow.settings import Settings
from rqflow.worker.confided import Confided
from rqflow.worker.link import Backoff
from rqflow.worker.pace import Pace

logger = logging.getLogger(__name__)

#: Seconds between two looks at running logs, between two sends while many short tasks end, between questions to the archive (when it
#: does not answer, up to the longest), and between those while a log waits for room.
_LOOK, _GATHER, _ASK, _ASK_LONGEST, _ASK_WHEN_FULL = 0.2, 0.25, 0.5, 5.0, 0.02
#: Seconds between two looks for logs that nobody took for too long, and for how long they are offered however old they are.
_LOOK_FOR_OLD, _OFFERED = 60.0, 3600.0
#: Bytes of one piece; logs that one question asks about.
_PIECE, _QUESTION = 128 << 10, 2000

_NOTHING = Archived(0, is_whole=False)


@dataclass(slots=True)
class Parcel:
    """One log on its way. Offsets count the bytes that the archive will have."""

    id: str
    file: str
    archive: str
    sent: int = 0
    acked: int = 0
    #: Bytes of the file when the task had ended and nothing more was to come; None before.
    size: int | None = None
    #: All was sent, the last piece marked as such.
    over: bool = False
    #: When the try was known to have ended (clock.boottime), once anybody looked.
    ended_at: float | None = None
    #: How far is archived must be asked before anything is sent: an earlier worker began, or the link broke.
    ask: bool = False


class LogShipper:
    """Ships logs. `watch` and `finish` are called by the worker, `archived` says what has arrived; all else happens in the thread."""

    def __init__(self, stream: LogStream, settings: Settings, notify: Callable[[], None], *, leaves: bool = False,
                 confided: Confided | None = None) -> None:
        """Ship to `stream`; `notify` is called when `archived` has something new. `leaves`: ends before it knows how far logs are archived.

        What `confided` knows of a log is blotted out in it.
        """
        self._confided = confided or Confided(Keyring(()))
        self._stream = stream
        self._leaves = leaves
        self._window, self._all_windows = settings.logs.stream_per_task, settings.logs.stream_per_worker
        self._half = max(settings.worker.max_log_size // 2, 1)
        self._keep = settings.worker.log_retention.total_seconds()
        self._old_at = 0.0
        self._notify = notify
        self._inbox: deque[Parcel] = deque()
        self._finished: deque[tuple[str, int]] = deque()
        self._archived: deque[str] = deque()
        self._settled: list[str] = []
        #: Logs of which something is or will be to send, and those that wait only for the archive.
        self._open: dict[str, Parcel] = {}
        self._waiting: dict[str, Parcel] = {}
        self._under_way = 0
        #: More could be sent if the archive were further.
        self._full = False
        self._stop, self._wake, self._dozing = threading.Event(), threading.Event(), False
        self._doubts = False
        self._ask_at = self._look_at = 0.0
        self._ask_every = _ASK
        self._backoff = Backoff()
        self._pace = Pace()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def watch(self, execution_id: str, file: str, archive: str, *, begun: bool = False) -> None:
        """Ship the log `file` from now on; `begun` says that an earlier worker may have sent some of it."""
        self._inbox.append(Parcel(execution_id, file, archive, ask=begun))
        self._rouse()

    def finish(self, execution_id: str, size: int) -> None:
        """Say that the log of an execution, watched before, is complete with `size` bytes."""
        self._finished.append((execution_id, size))
        self._rouse()

    def doubt(self) -> None:
        """Redis is not what it was: what was sent may be gone. Ask how far each log is, and send it from there."""
        self._doubts = True
        self._rouse()

    def archived(self) -> list[str]:
        """Return the executions whose logs have arrived whole since the last call."""
        return [self._archived.popleft() for _ in range(len(self._archived))]

    def drain(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all finished logs were sent; True when they were."""
        deadline = clock.monotonic() + timeout
        while self._finished or any(parcel.size is not None for parcel in list(self._open.values())):
            if clock.monotonic() > deadline or not self._thread.is_alive():
                return False
            self._rouse()
            clock.sleep(0.005)
        return True

    def stop(self) -> None:
        """End the thread; what was not sent is left to the next worker."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _rouse(self) -> None:
        if self._dozing:
            self._wake.set()

    # -- in the thread --

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
                self._backoff.reset()
            except redis.exceptions.RedisError as error:
                # Said once; that Redis is away, the main loop tells.
                level = logging.DEBUG if self._backoff.failing else logging.WARNING
                logger.log(level, "logs wait for Redis, nothing of them is lost: %s", error, extra=logs.context("logs_held"))
                self._doubt()
                self._stop.wait(self._backoff.next())
            except Exception:
                logger.exception("a bug in the sending of logs; it goes on")
                self._doubt()
                self._stop.wait(self._backoff.next())

    def _turn(self) -> None:
        """Send what there is, ask how far the archive is, and wait until there may be more to do."""
        if self._doubts:
            self._doubts = False
            self._doubt()
        self._take_in()
        self._give_up()
        look = clock.monotonic() >= self._look_at
        if look:
            self._look_at = clock.monotonic() + _LOOK
        self._relearn()
        if clock.monotonic() >= self._ask_at:
            self._ask()
        sent = self._send(look=look)
        if self._full:
            self._ask_at = min(self._ask_at, clock.monotonic() + _ASK_WHEN_FULL)
            self._stop.wait(_ASK_WHEN_FULL)
        elif sent:
            # Some rest, so that the logs of many short tasks go out together.
            self._stop.wait(_GATHER)
        else:
            self._doze()

    def _doze(self) -> None:
        """Wait until a log ends, or until it is time to look at running ones or to ask the archive."""
        self._wake.clear()
        self._dozing = True
        due = [at for at, wanted in ((self._look_at, self._open), (self._ask_at, self._under_way or self._waiting)) if wanted]
        if not self._finished and not self._doubts and not self._stop.is_set() and not (self._inbox and not due):
            self._wake.wait(max(min(due) - clock.monotonic(), 0.0) if due else None)
        self._dozing = False

    def _take_in(self) -> None:
        # What is finished by now was put into the inbox before; what is finished meanwhile is for the next turn.
        finished = len(self._finished)
        while self._inbox:
            parcel = self._inbox.popleft()
            self._open[parcel.id] = parcel
        for _ in range(finished):
            name, size = self._finished[0]
            if name in self._open:
                self._open[name].size = size
            self._finished.popleft()

    def _send(self, *, look: bool) -> bool:
        """Send pieces of finished logs, and of running ones when it is time to `look`; True when any was sent."""
        chunks: list[LogChunk] = []
        trip, self._full = 0, False
        for parcel in list(self._open.values()):
            if parcel.size is None and not look:
                continue
            while trip < self._pace.size:
                room = min(self._window - (parcel.sent - parcel.acked), self._all_windows - self._under_way, _PIECE, self._pace.size - trip)
                chunk = self._piece(parcel, room)
                if chunk is None:
                    break
                chunks.append(chunk)
                size = len(chunk.data)
                parcel.sent, self._under_way, trip = parcel.sent + size, self._under_way + size, trip + size
                self._full = self._full or trip >= self._pace.size or size == room < _PIECE
                if chunk.last:
                    parcel.over = True
                    self._waiting[parcel.id] = self._open.pop(parcel.id)
                    break
        if chunks:
            began = clock.monotonic()
            self._stream.append(chunks)
            self._pace.note(trip, clock.monotonic() - began)
        return bool(chunks)

    def _piece(self, parcel: Parcel, room: int) -> LogChunk | None:
        """Return the next piece of a log, at most `room` bytes; None when there is none, or no room, now."""
        plan = Plan(parcel.size, self._half)
        if room <= 0:
            self._full = self._full or plan.has_more(parcel.file, parcel.sent)
            return None
        data = plan.read(parcel.file, parcel.sent, room)
        # Behind the reading: whatever secret was printed by then had been noted before.
        if data and (masker := self._confided.masker(parcel.file)):
            data = plan.read(parcel.file, parcel.sent, len(data), masker, grows=parcel.size is None)
        last = parcel.size is not None and parcel.sent + len(data) >= plan.length
        if not data and not last:
            if parcel.size is None:
                return None
            # The file is shorter than it was: somebody cut it. What is there is all.
            last = True
        return LogChunk(execution_id=parcel.id, path=parcel.archive, offset=parcel.sent, data=data, last=last, leaves=self._leaves)

    def _doubt(self) -> None:
        """Ask how far each log is before more is sent: what was counted as sent may not have been."""
        self._pace.restart()
        for parcel in (*self._open.values(), *self._waiting.values()):
            parcel.ask = True

    def _relearn(self) -> None:
        """After a broken link, send again from where the archive is: what was under way may be lost, and what comes twice does no harm.

        A log of which all bytes have arrived has its last piece still to come, be it empty: the archive may not know that this is all.
        """
        unsure = [parcel for parcel in (*self._open.values(), *self._waiting.values()) if parcel.ask]
        for at in range(0, len(unsure), _QUESTION):
            part = unsure[at:at + _QUESTION]
            known = self._stream.acknowledged([parcel.id for parcel in part])
            for parcel in part:
                offset = known.get(parcel.id, parcel.acked)
                self._under_way -= parcel.sent - parcel.acked
                parcel.sent, parcel.acked, parcel.ask, parcel.over = offset, offset, False, False
                self._open[parcel.id] = parcel
                self._waiting.pop(parcel.id, None)

    def _ask(self) -> None:
        """Learn how far the archive is."""
        asked = [parcel for parcel in self._open.values() if parcel.sent > parcel.acked]
        asked += [parcel for parcel, _ in zip(self._waiting.values(), range(_QUESTION), strict=False)]
        known = self._stream.archived([parcel.id for parcel in asked]) if asked else {}
        moved = False
        for parcel in asked:
            offset, is_whole = known.get(parcel.id, _NOTHING)
            offset = min(offset, parcel.sent)
            if offset > parcel.acked:
                moved = True
                self._under_way -= offset - parcel.acked
                parcel.acked = offset
            if parcel.over and is_whole and parcel.acked >= parcel.sent:
                self._settle(parcel)
        if self._archived:
            self._notify()
        self._say_settled()
        # An archive that is away is not asked all the time.
        self._ask_every = _ASK if moved or not asked else min(self._ask_every * 1.5, _ASK_LONGEST)
        self._ask_at = clock.monotonic() + self._ask_every

    def _give_up(self) -> None:
        """Let go of logs that no archive took for too long after their last line, so that they do not fill this machine's disk."""
        now = clock.boottime()
        if now < self._old_at:
            return
        self._old_at = now + min(_LOOK_FOR_OLD, self._keep / 4)
        for parcel in [*self._open.values(), *self._waiting.values()]:
            if parcel.size is None:
                continue
            parcel.ended_at = now if parcel.ended_at is None else parcel.ended_at
            if now - parcel.ended_at >= min(_OFFERED, self._keep) and _age(parcel.file) >= self._keep:
                logger.warning("a log is given up: the hub's archive has taken %d of its %d bytes since its end (worker.log_retention): %s",
                               parcel.acked, parcel.size, parcel.archive, extra=logs.context("log_given_up", path=parcel.archive))
                self._under_way -= parcel.sent - parcel.acked
                self._settle(parcel)
        if self._archived:
            self._notify()

    def _settle(self, parcel: Parcel) -> None:
        """Forget a log that is archived whole, and say so."""
        self._confided.forget(parcel.file)
        self._open.pop(parcel.id, None)
        self._waiting.pop(parcel.id, None)
        self._archived.append(parcel.id)
        self._settled.append(parcel.id)

    def _say_settled(self) -> None:
        """Let Redis forget what is settled; should the link break, it forgets by itself, days later."""
        settled, self._settled = self._settled, []
        if settled:
            self._stream.settle(settled)


class Plan:
    """Which bytes of a file the archive gets: all, or head, mark and tail."""

    def __init__(self, size: int | None, half: int) -> None:
        """Plan for a file of `size` bytes (None: still growing) of which `half` bytes at each end are kept."""
        self._half = half
        self._mark = b""
        self.length = half if size is None else size
        self._tail_from = 0
        if size is not None and size > 2 * half:
            self._mark = f"\nrqflow: {size - 2 * half} bytes of this log are left out here (worker.max_log_size)\n".encode()
            self.length = 2 * half + len(self._mark)
            self._tail_from = size - half

    def read(self, file: str, offset: int, room: int, masker: Masker | None = None, *, grows: bool = False) -> bytes:
        """Return up to `room` bytes that stand at `offset` of the plan; empty at its end, or when the file has no more yet.

        With `masker` without its secrets; of a file that `grows` only as far as what comes cannot make a secret of it.
        """
        def take(at: int, count: int) -> bytes:
            return _read(file, at, count) if masker is None else blotted(file, at, count, masker, grows=grows)

        if not self._mark:
            return take(offset, min(room, self.length - offset))
        if offset < self._half:
            return take(offset, min(room, self._half - offset))
        within = offset - self._half
        if within < len(self._mark):
            return self._mark[within:within + room]
        return take(self._tail_from + within - len(self._mark), min(room, self.length - offset))

    def has_more(self, file: str, offset: int) -> bool:
        """Tell whether there is something to read at `offset`."""
        return bool(self.read(file, offset, 1))


def _age(file: str) -> float:
    """Return for how many seconds a file has not been written."""
    try:
        return clock.timestamp() - os.stat(file).st_mtime  # noqa: PTH116 - as the other calls here
    except FileNotFoundError:
        return math.inf


def _read(file: str, offset: int, count: int) -> bytes:
    if count <= 0:
        return b""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, count, offset)
    finally:
        os.close(descriptor)


def blotted(file: str, offset: int, count: int, masker: Masker, *, grows: bool) -> bytes:
    """Return the bytes of a file without its secrets: what stands before and behind is looked at too, wherever the log is cut."""
    first = max(offset - masker.reach, 0)
    data = _read(file, first, offset - first + count + masker.reach)
    upto = min(offset - first + count, masker.sure(data) if grows else len(data))
    return masker.blot(data)[offset - first:upto]
