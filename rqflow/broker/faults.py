"""Broken links to Redis: which errors mean one, how long a call is repeated over one, and what people are told meanwhile."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import redis
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
    wait_random_exponential,
)

from rqflow import clock, logs
from rqflow.exceptions import BrokerError
from rqflow.sdnotify import NOTIFIER

P = ParamSpec("P")
T = TypeVar("T")

#: Times that a call is sent before a broken link is an error.
ATTEMPTS = 5
#: Seconds after which it is not sent again; a connection that limits its calls says itself how long that is.
PATIENCE = 10.0
#: Seconds of the first wait of whoever waits as long as it takes, and of the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
#: Seconds between two reminders that Redis is still away.
REMIND = 60.0


class TakesNoWrites(redis.exceptions.ResponseError):
    """Redis answers, and refuses what would change something: its disk is full, or it has too few replicas."""


class SetBack(redis.exceptions.RedisError):
    """Redis answers, but it was restarted, set back or emptied since this process said what it holds: what it says may be of an older time."""


#: What a lost link, a restarting, a full, a demoted or a set-back Redis raises; the request may or may not have been carried out.
LINK_ERRORS = (
    redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.BusyLoadingError, redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError, TakesNoWrites, SetBack,
)
#: Among them what no retry mends.
_REFUSALS = (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)
#: Refusals of writes for which redis-py has no error of its own; Redis 6 says OOM and READONLY within another error when a script meets them,
#: and redis-py says all within its own words when a pipeline does.
_NO_WRITES = re.compile(r"(?:^|-|caused error: )(MISCONF|NOREPLICAS|OOM|READONLY) ")
_BY_WORD = {"OOM": redis.exceptions.OutOfMemoryError, "READONLY": redis.exceptions.ReadOnlyError}
_HINTS: tuple[tuple[type[Exception], str, str], ...] = (
    (redis.exceptions.BusyLoadingError, "Redis is still loading its data", "It answers when it has; large data take minutes."),
    (redis.exceptions.ReadOnlyError, "Redis is a replica and takes no writes", "Does redis.url in rqflow.cfg name the primary?"),
    (redis.exceptions.OutOfMemoryError, "Redis is full and takes no writes", "Raise maxmemory in redis.conf, or remove what else is kept there."),
    (SetBack, "Redis was restarted, set back or emptied", "Its runs are put right from the history by `rqflow scheduler`; is one running?"),
    (TakesNoWrites, "Redis takes no writes", "Its log says more; most often its disk is full."),
)
_NO_ANSWER = ("Redis does not answer", "Is it running, and does redis.url in rqflow.cfg name it?")


def is_away(error: BaseException) -> bool:
    """Tell whether `error` means that Redis is away, or not ready, and may be back."""
    return isinstance(error, LINK_ERRORS) and not isinstance(error, _REFUSALS)


def translated(ask: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
    """Call `ask`; raises one of LINK_ERRORS for what is one and does not say so by its type."""
    try:
        return ask(*args, **given)
    except LINK_ERRORS:
        raise
    except redis.exceptions.ResponseError as error:
        word = _NO_WRITES.search(str(error))
        if word:
            raise _BY_WORD.get(word[1], TakesNoWrites)(str(error)) from error
        raise


def patiently(connection: redis.Redis, ask: Callable[..., T], *args: Any, **given: Any) -> T:
    """Call `ask`, which may be repeated, again while the link is broken, but not for longer than one call on `connection` may take.

    Raises the last of LINK_ERRORS then.
    """
    limit = connection.connection_pool.connection_kwargs.get("socket_timeout") or PATIENCE
    again = Retrying(retry=retry_if_exception(is_away), stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(limit), reraise=True,
                     wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1))
    answer: T = again(translated, ask, *args, **given)
    return answer


def what_is_wrong(error: Exception) -> tuple[str, str]:
    """Return what an error of redis-py means, in words for people, and what to do about it."""
    for kind, what, hint in _HINTS:
        if isinstance(error, kind):
            return what, hint
    return _NO_ANSWER if isinstance(error, LINK_ERRORS) else ("Redis refuses a call", "Does its version fit, and what may we do there?")


def unreachable(error: Exception, since: datetime, *, where: str = "", noticed: bool = False) -> BrokerError:
    """Return the error for whoever gives up on Redis after having tried `since` then; `where` names the server.

    `noticed`: it did answer before, and `since` is when that was over.
    """
    what, hint = what_is_wrong(error)
    at = f" at {where}" if where else ""
    if noticed:
        what = what.replace("does not answer", "no longer answers")
    return BrokerError(f"{what}{at}: {error}; {'' if noticed else 'tried '}since {_time(since)}, nothing is lost: what Redis holds goes on when "
                       "it is back", hint=hint)


def refusal(connection: redis.Redis) -> str:
    """Return why Redis takes no writes though it answers, most often that its disk is full; empty when it does take them, or is away."""
    try:
        connection.ping()  # which Redis refuses then, as it does every write
    except redis.exceptions.ResponseError as error:
        return str(error)
    except LINK_ERRORS:
        return ""
    return ""


class Outage:
    """The times without Redis, told as they go on: once when one begins or changes its kind, once a minute, once when it is over."""

    def __init__(self, logger: logging.Logger, *, where: str = "") -> None:
        """Tell by `logger`; `where` names the server."""
        self._logger, self._at = logger, f" at {where}" if where else ""
        self._since: datetime | None = None
        self._began = self._remind_at = 0.0
        self._what = ""

    def note(self, error: BaseException | None) -> None:
        """Take note that Redis failed once more, by an error of redis-py, or the one of ours that it caused."""
        error = error.__cause__ if isinstance(error, BrokerError) else error
        if not isinstance(error, Exception):
            return
        now, what = clock.monotonic(), what_is_wrong(error)[0]
        if self._since is None:
            self._since, self._began = clock.utcnow(), now
        elif what == self._what and now < self._remind_at:
            self._logger.debug("%s: %s", what, error, extra=logs.context("link_still_broken"))
            return
        self._what, self._remind_at = what, now + REMIND
        self._logger.warning("%s%s: %s; waiting for it since %s, nothing is lost", what, self._at, error, _time(self._since),
                             extra=logs.context("link_broken", seconds=now - self._began))

    def over(self) -> None:
        """Take note that Redis has answered."""
        if self._since is not None:
            seconds = clock.monotonic() - self._began
            self._logger.info("Redis%s answers again, after %.1f s", self._at, seconds, extra=logs.context("link_mended", seconds=seconds))
            self._since = None


def lastingly(outage: Outage, ask: Callable[..., T], *args: Any, **given: Any) -> T:
    """Call `ask`, which may be repeated, until Redis answers, as long as it takes; `outage` tells of it.

    Raises what is not a broken link, a refused password too.
    """
    def tell(state: RetryCallState) -> None:
        outage.note(state.outcome.exception() if state.outcome else None)

    again = Retrying(retry=retry_if_exception(is_away), wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT), sleep=NOTIFIER.sleep,
                     before_sleep=tell)
    answer: T = again(translated, ask, *args, **given)
    outage.over()
    return answer


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
