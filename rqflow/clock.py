"""The only module that asks the time. Tests replace `utcnow`; leases and order use Redis' TIME, never this clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["EPOCH", "UTC", "boottime", "cpu_seconds", "from_micros", "local_zone", "monotonic", "sleep",
           "thread_seconds", "timestamp", "to_micros", "utcnow"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utcnow() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.now(UTC)


def timestamp() -> float:
    """Return the seconds since the epoch in UTC, with the machine's clock."""
    return time.time()


def monotonic() -> float:
    """Return seconds of a clock that never steps back; only differences of it mean anything."""
    return time.monotonic()


def boottime() -> float:
    """Return seconds since boot, counting the time in which the machine slept (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def cpu_seconds() -> float:
    """Return the seconds of a processor that this process, all its threads together, has used."""
    return time.process_time()


def thread_seconds() -> float:
    """Return the seconds of a processor that this thread has used; only differences within one thread mean anything."""
    return time.thread_time()


def local_zone() -> str:
    """Return the name of this machine's time zone, like Europe/Berlin; UTC where it is not set up."""
    import tzlocal  # here: only asked where a person is told of times

    try:
        return str(tzlocal.get_localzone_name())
    except (LookupError, ValueError, OSError):
        return "UTC"


def sleep(seconds: float) -> None:
    """Wait `seconds`."""
    time.sleep(seconds)


def from_micros(micros: int | str) -> datetime:
    """Return the aware UTC time of `micros`, microseconds since the epoch as the Lua steps write them."""
    return EPOCH + timedelta(microseconds=int(micros))


def to_micros(moment: datetime) -> int:
    """Return `moment`, which must be aware, as microseconds since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def aware(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone is taken as UTC, and so is one at an end of time that UTC does not reach."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)
