"""How a try ended, in one line."""

from __future__ import annotations

from signal import Signals

from rqflow.actions.model import Try, duration_words, size_words


def ending(one: Try) -> str:
    """Return how a try ended and what it used, as in `exit 1 after 3m12s on node7, max RSS 2.1 GB`; empty while it runs."""
    if one.ended_at is None:
        return ""
    if one.signal:
        said = f"killed by {_signal(one.signal)}"
    elif one.exit_code is not None:
        said = f"exit {one.exit_code}"
    else:
        said = one.state.value
    after = f" after {duration_words(one.duration)}" if one.duration is not None else ""
    where = one.host or one.worker.partition(".")[0]
    on = f" on {where}" if where else ""
    return said + after + on + (f", max RSS {size_words(one.max_rss_bytes)}" if one.max_rss_bytes else "")


def _signal(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
