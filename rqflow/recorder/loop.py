"""The loop that the chores of a hub share: go on whatever happens, wait longer after each failure in a row."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import RedisError
from tenacity import RetryCallState, RetryError, Retrying, sleep_using_event, stop_when_event_set, wait_random_exponential

from rqflow import clock, logs
from rqflow.exceptions import RqflowError

logger = logging.getLogger(__name__)

#: Seconds of the first wait after a failure, of the longest, and between two words about a service that is away.
FIRST_WAIT, LONGEST_WAIT, REMIND = 0.2, 15.0, 60.0
#: By how much threads that write behind are nicer than others: a third of their share.
NICE = 5


def step_aside() -> None:
    """Let others go first from now on where the calling thread competes for the processors: tasks, and the worker that starts them.

    What is recorded and archived behind them may come a moment later, and comes cheaper then, because more of it comes at once.
    Linux alone has a priority for each thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)


def gathering(step: Callable[[], int], stop: threading.Event, *, pause: float, enough: int) -> Callable[[], int]:
    """Return `step`, which tells how much it did, with a pause of so many seconds after it did something, so that the next one has more to do.

    A commit, a wake-up, a round trip cost as much for one event as for a hundred. There is no pause after `enough`: then more is waiting.
    """
    def paced() -> int:
        done = step()
        if 0 < done < enough:
            stop.wait(pause)
        return done

    return paced


def keep_running(step: Callable[[], object], stop: threading.Event, *, name: str) -> None:
    """Call `step` until `stop` is set. `step` blocks for a moment when there is nothing to do; its errors are logged and it is tried again.

    A service that is away is named once, and once a minute.
    """
    since = clock.utcnow()
    told: tuple[type, float] | None = None

    def log_trouble(state: RetryCallState) -> None:
        nonlocal since, told
        error = state.outcome.exception() if state.outcome else None
        extra = logs.context("loop_failed", loop=name, failures=state.attempt_number)
        if state.attempt_number == 1:
            since, told = clock.utcnow(), None
        if isinstance(error, RqflowError | RedisError | OSError):
            now = clock.monotonic()
            if told is None or told[0] is not type(error) or now - told[1] >= REMIND:
                told = (type(error), now)
                logger.warning("%s waits since %s UTC, nothing is lost: %s", name, f"{since:%Y-%m-%d %H:%M:%S}", error, extra=extra)
        else:
            logger.error("%s failed and goes on", name, exc_info=error, extra=extra)

    retrying = Retrying(
        sleep=sleep_using_event(stop), stop=stop_when_event_set(stop), wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        before_sleep=log_trouble,
    )
    while not stop.is_set():
        try:
            retrying(step)
        except RetryError:
            return
