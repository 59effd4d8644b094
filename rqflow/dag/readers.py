"""Readers of arguments: each takes what an author wrote and returns the value that the model keeps, or raises ValueError saying what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any

from dateutil import parser as date_parser

from rqflow.dag import zones
from rqflow.dag.problems import nearest
from rqflow.dag.trigger_rule import ALIASES, TriggerRule
from rqflow.dag.xcomarg import XComArg
from rqflow.values import format_duration, parse_duration, parse_size

Reader = Callable[[Any], Any]
#: Characters of an address of mail.
MOST_ADDRESS = 240


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its default, and how its value is read."""

    default: Any
    read: Reader


def shown(name: str, value: Any) -> str:
    """Return how a value that the author gave for the argument `name` is shown to them."""
    if isinstance(value, timedelta):
        return f"-{format_duration(-value)}" if value < timedelta(0) else format_duration(value)
    return f"{value:#o}" if name == "umask" and type(value) is int else repr(value)


def anything(value: Any) -> Any:
    """Return the value as it is."""
    return value


def optional(read: Reader) -> Reader:
    """Return a reader that lets None pass."""
    return lambda value: None if value is None else read(value)


def default_for_none(default: Any, read: Reader) -> Reader:
    """Return a reader that takes None as `default`."""
    return lambda value: default if value is None else read(value)


def whole(minimum: int | None = None) -> Reader:
    """Return a reader of whole numbers, also written as text, of at least `minimum`."""

    def read(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError("must be a whole number") from None
        if isinstance(value, float) and value != number:
            raise ValueError("must be a whole number")
        if minimum is not None and number < minimum:
            raise ValueError(f"must be at least {minimum}")
        return number

    return read


def duration(value: Any) -> timedelta:
    """Read a timedelta, a number of seconds, or text like `5m`; not negative."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise ValueError("is too long") from None
    elif isinstance(value, str):
        value = timedelta(-1) if value.startswith("-") else _parsed_duration(value)
    if not isinstance(value, timedelta):
        raise ValueError("must be a timedelta, a number of seconds, or text like 90s, 5m, 2h")
    if value < timedelta(0):
        raise ValueError("must not be negative")
    return value


def _parsed_duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{text.strip()!r} ")) from None


def positive_duration(value: Any) -> timedelta:
    """Read a duration that is longer than nothing."""
    length = duration(value)
    if not length:
        raise ValueError("must be longer than 0 s")
    return length


def size(value: Any) -> int:
    """Read bytes, as a number or as text like `512M`, more than 0."""
    if isinstance(value, str):
        try:
            value = int(parse_size(value))
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{value!r} ")) from None
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError("must be a number of bytes, or text like 512M, 4G")
    return int(value)


def processors(value: Any) -> float:
    """Read a number of processors, more than 0; parts of one too."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise ValueError("must be a number of processors, like 2 or 0.5")
    return number


def niceness(value: Any) -> int:
    """Read a niceness."""
    number: int = whole(-20)(value)
    if number > 19:
        raise ValueError("must be at most 19")
    return number


def grace(value: Any) -> timedelta | None:
    """Read how long a task may go on while its worker cannot be reached: None is what the worker says, 0 s is "never", for no end."""
    if value is None:
        return None
    return timedelta(0) if value == "never" else positive_duration(value)


def moment(value: Any) -> datetime:
    """Read a datetime, a date, or text; what names no time zone is meant in core.default_timezone."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(0), zones.assumed())
    if not isinstance(value, datetime):
        raise ValueError("must be a datetime, or text like 2024-01-31 or 2024-01-31T06:00")
    return value if value.tzinfo else value.replace(tzinfo=zones.assumed())


def _parsed(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return date_parser.parse(text, default=datetime(1970, 1, 1, tzinfo=zones.assumed()))
    except (ValueError, OverflowError):
        return None


def flag(value: Any) -> bool:
    """Read true or false."""
    if isinstance(value, str) and value.strip().lower() in {"true", "false", "yes", "no", "0", "1", ""}:
        return value.strip().lower() in {"true", "yes", "1"}
    if not isinstance(value, bool | int | None):
        raise ValueError("must be True or False")
    return bool(value)


def text(value: Any) -> str:
    """Read text."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """Read one text or a list of them."""
    if isinstance(value, str | PurePath):
        return (str(value),)
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise ValueError("must be text or a list of texts")
    return tuple(str(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value))


def paths(value: Any) -> tuple[str, ...]:
    """Read one path or a list of them."""
    found = [value] if isinstance(value, str | PurePath) else list(value) if isinstance(value, Iterable) and not isinstance(value, Mapping) else None
    if found is None or not all(isinstance(item, str | PurePath) and str(item) for item in found):
        raise ValueError("must be a path or a list of paths")
    return texts(value)


def env(value: Any) -> Any:
    """Read variables of the environment: a mapping by name, the output of a task, or a template that makes one."""
    if isinstance(value, XComArg) or (isinstance(value, str) and "{" in value):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be a dictionary, {name: value}")
    for name in value:
        if not isinstance(name, str) or not name or set(name) & set("=\0"):
            raise ValueError(f"has {name!r}, which is no name of a variable")
    return value


def exit_codes(value: Any) -> list[int]:
    """Read one exit code or a collection of them."""
    given = value if isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) else [value]
    try:
        return [whole(0)(code) for code in given]
    except ValueError:
        raise ValueError("must be an exit code or a list of exit codes") from None


def words(value: Any) -> tuple[str, ...]:
    """Read names as a list, or as text with commas or semicolons between them."""
    parts = value.replace(";", ",").split(",") if isinstance(value, str) else texts(value)
    return tuple(part.strip() for part in parts if part.strip())


def addresses(value: Any) -> tuple[str, ...]:
    """Read addresses of mail as a list, or as text with commas or semicolons between them; each counts once."""
    found = tuple(dict.fromkeys(words(value)))
    for one in found:
        if not one.isprintable() or len(one) > MOST_ADDRESS:
            raise ValueError(f"has {one[:60]!r}, which is no address")
    return found


def labels(value: Any) -> tuple[str, ...]:
    """Read labels of workers: `gpu, disk=ssd`, a list of such, or a mapping."""
    if isinstance(value, Mapping):
        return tuple(name if given is True else f"{name}={given}" for name, given in value.items())
    return words(value)


def mapping(value: Any) -> dict[str, Any]:
    """Read a mapping."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a dictionary")
    return dict(value)


def one_of(*allowed: str) -> Reader:
    """Return a reader of one of these words; members of an enum count by their value."""

    def read(value: Any) -> str:
        word = str(getattr(value, "value", value))
        if word not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}{nearest(word, allowed)}")
        return word

    return read


def trigger_rule(value: Any) -> TriggerRule:
    """Read a trigger rule, given as a member of an enum or by its name."""
    word = str(getattr(value, "value", value)).strip().lower()
    if word in ALIASES:
        return ALIASES[word]
    valid = [rule.value for rule in TriggerRule]
    if word not in valid:
        raise ValueError(f"is no trigger rule; there are {', '.join(valid)}{nearest(word, [*valid, *ALIASES])}")
    return TriggerRule(word)


def umask(value: Any) -> str:
    """Read a umask, given as octal text or as a number."""
    digits = f"{value:03o}" if isinstance(value, int) else str(value).removeprefix("0o")
    if not digits or set(digits) - set("01234567") or int(digits, 8) > 0o777:
        raise ValueError("must be octal like '022'")
    return digits
