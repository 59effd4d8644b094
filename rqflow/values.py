"""The kinds of values that settings and options have: durations, sizes, time zones, graces, limits; how each is read and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rqflow import clock

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Zone(str):
    """The name of a time zone, UTC or Area/City."""

    __slots__ = ()


class Size(int):
    """A number of bytes, written as `512`, `16M`, `1G`."""


@dataclass(frozen=True, slots=True)
class Graces:
    """A length of time: of all queues (or folders), and of single ones; None is for ever."""

    default: timedelta | None = None
    queues: Mapping[str, timedelta | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """A limit: of all queues, and of single ones; None is no limit. Its kinds differ in how it is written."""

    default: float | None = None
    queues: Mapping[str, float | None] = field(default_factory=dict)

    def of(self, queue: str) -> float | None:
        """Return the limit of a queue."""
        return self.queues.get(queue, self.default)


class Sizes(Limits):
    """Limits in bytes, written as sizes."""

    __slots__ = ()


class Processors(Limits):
    """Limits in processors, which may be parts of one."""

    __slots__ = ()


class Numbers(Limits):
    """Limits that are whole numbers."""

    __slots__ = ()


def parse_duration(text: str) -> timedelta:
    """Return the length of `90s`, `15m`, `2h`, `7d`, `1h30m`, `0.5s` or a bare number of seconds.

    Raises ValueError for anything else.
    """
    text = text.strip()
    written = f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text) else text
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", written)
    if not parts or "".join(a + b for a, b in parts) != written:
        raise ValueError(f"{text!r} is no duration: write it like 90s, 15m, 2h, 7d or 1h30m")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError as error:
        raise ValueError(f"{text!r} is no duration: it is too long") from error


def parse_graces(text: str) -> Graces:
    """Return the graces of `never`, `1h`, or `never, gpu=2h, short=5m`; raises ValueError for anything else."""
    default: timedelta | None = None
    queues: dict[str, timedelta | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        queue, is_queue, length = part.rpartition("=")
        grace = None if length.strip() == "never" else parse_duration(length)
        if grace is not None and not grace:
            raise ValueError(f"{part!r} leaves no time at all; write `never` for no end")
        if is_queue:
            queues[queue.strip()] = grace
        else:
            default = grace
    return Graces(default, queues)


def format_graces(graces: Graces) -> str:
    """Return `graces` as parse_graces reads them."""
    def said(grace: timedelta | None) -> str:
        return "never" if grace is None else format_duration(grace)

    return ", ".join([said(graces.default), *(f"{queue}={said(grace)}" for queue, grace in graces.queues.items())])


def parse_limits(text: str, kind: type[Limits]) -> Limits:
    """Return the limits of `none`, `4G`, or `4G, gpu=64G, free=none`; raises ValueError for anything else."""
    read = _LIMITS[kind]
    default: float | None = None
    queues: dict[str, float | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        queue, is_queue, written = part.rpartition("=")
        limit = None if written.strip() == "none" else read(written.strip())
        if is_queue:
            queues[queue.strip()] = limit
        else:
            default = limit
    return kind(default, queues)


def format_limits(limits: Limits) -> str:
    """Return `limits` as parse_limits reads them."""
    def said(limit: float | None) -> str:
        return "none" if limit is None else format_size(int(limit)) if isinstance(limits, Sizes) else f"{limit:g}"

    return ", ".join([said(limits.default), *(f"{queue}={said(limit)}" for queue, limit in limits.queues.items())])


def parse_processors(text: str) -> float:
    """Return the number of processors of `2` or `0.5`; raises ValueError for anything else."""
    if not re.fullmatch(r"\d+(\.\d+)?", text.strip()) or not float(text):
        raise ValueError(f"{text!r} is no number of processors: write it like 2 or 0.5")
    return float(text)


def parse_number(text: str) -> int:
    """Return a whole number; raises ValueError for anything else."""
    if not re.fullmatch(r"-?\d+", text.strip()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def format_duration(length: timedelta) -> str:
    """Return `length` as parse_duration reads it, in the largest unit that divides it."""
    seconds = length.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{seconds:g}s"


def parse_size(text: str) -> Size:
    """Return the bytes of `512`, `48K`, `16M`, `1G`; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is no size: write it like 512, 48K, 16M or 1G")
    return Size(int(match[1]) * _SIZES[match[2].upper()])


def parse_zone(text: str) -> Zone:
    """Return the zone of `UTC`, `Area/City`, or `system`, which is this machine's; raises ValueError for one that is not known here."""
    name = clock.local_zone() if text == "system" else "UTC" if text.lower() == "utc" else text
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is no time zone; write UTC, system, or Area/City, like Europe/Berlin") from error
    return Zone(name)


def format_size(size: int) -> str:
    """Return `size` bytes as parse_size reads it, in the largest unit that divides it."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return str(size)


_LIMITS: dict[type[Limits], Callable[[str], float]] = {Sizes: parse_size, Processors: parse_processors, Numbers: parse_number}


def parse(text: str, kind: Any) -> Any:
    """Return `text` as a value of the type `kind` of a setting; raises ValueError when it is none."""
    if kind is bool:
        if text.lower() not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() in {"1", "true", "yes", "on"}
    if kind in _LIMITS:
        return parse_limits(text, kind)
    readers: dict[Any, Callable[[str], Any]] = {
        timedelta: parse_duration, Size: parse_size, Zone: parse_zone, Graces: parse_graces, int: int, str: str,
    }
    return readers[kind](text)


def show(value: Any) -> str:
    """Return `value` of a setting as it is written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Graces):
        return format_graces(value)
    if isinstance(value, Limits):
        return format_limits(value)
    return format_size(value) if isinstance(value, Size) else str(value)


def is_text(value: str) -> bool:
    """Tell whether a string is text that every database takes: without NUL, and without halves of surrogate pairs."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
