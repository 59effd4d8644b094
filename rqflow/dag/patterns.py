"""Regular expressions that people and DAG files give, with a limit of time.

Some would keep Python's own `re` busy for years, and with it the whole process: `(a+)+$` and a name of thirty letters are enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from rqflow import clock
from rqflow.exceptions import UsageError

#: Seconds that one question may take.
SECONDS = 2.0


def check(pattern: str) -> None:
    """Raise UsageError for what is no regular expression."""
    import regex  # here: it takes a while to import, and few need it

    try:
        regex.compile(pattern)
    except regex.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from error


def found_in(pattern: str, texts: Sequence[str]) -> list[int]:
    """Return the places of the texts in which the expression is found; it is written as for Python's `re`.

    Raises UsageError for what is no regular expression, or takes longer than SECONDS.
    """
    import regex  # here: as above

    check(pattern)
    until = clock.monotonic() + SECONDS
    try:
        return [place for place, text in enumerate(texts)
                if regex.search(pattern, text, timeout=max(until - clock.monotonic(), 0.001), concurrent=True)]
    except TimeoutError as error:
        raise UsageError(f"{pattern!r} takes too long to look for", hint="Write it without repetitions of repetitions, as (a+)+ is one.") from error


def is_in(pattern: str, text: str) -> bool:
    """Tell whether the expression is found in a text; raises UsageError as `found_in` does."""
    return bool(found_in(pattern, [text]))
