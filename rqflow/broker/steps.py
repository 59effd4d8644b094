"""The atomic steps: sent, and repeated under the same request id when the answer was lost."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from rqflow import clock
from rqflow.broker import sources
from rqflow.broker.faults import LINK_ERRORS, Outage, lastingly, patiently, translated, unreachable
from rqflow.broker.sources import Function
from rqflow.exceptions import BrokerError
from rqflow.wire import decode, encode

logger = logging.getLogger(__name__)

__all__ = ["LINK_ERRORS", "Request", "Steps"]


@dataclass(frozen=True, slots=True)
class Request:
    """A step with its arguments and the id under which Redis carries it out at most once."""

    step: str
    id: str
    #: JSON.
    payload: bytes


class Steps:
    """Sends steps over one connection. One caller, one Steps: the id of a request counts up within it."""

    def __init__(self, connection: redis.Redis, caller: str) -> None:
        """Take the connection, and the name under which Redis keeps this caller's last reply."""
        self.connection = connection
        self.caller = caller
        # A caller that starts anew under its old name must not be given the reply of its former life.
        self._life = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._scripts: dict[str, Any] = {}

    def request(self, step: str, payload: Mapping[str, Any]) -> Request:
        """Return a new request for `step`; None values are left out, since Lua has no null."""
        plain = {name: value for name, value in payload.items() if value is not None}
        return Request(step, f"{self._life}-{next(self._numbers)}", encode({"caller": self.caller, **plain}))

    def script(self, step: str) -> Any:
        """Return what calls a step with its arguments."""
        if step not in self._scripts:
            in_library = step in sources.IN_LIBRARIES
            self._scripts[step] = Function(self.connection, step) if in_library else self.connection.register_script(sources.script(step))
        return self._scripts[step]

    def send(self, request: Request) -> dict[str, Any]:
        """Send a request and return its reply; safe to call again with the same request when a LINK_ERRORS was raised."""
        reply: dict[str, Any] = decode(translated(self.script(request.step), args=[request.id, request.payload]))
        return reply

    def call(self, step: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send a new request, repeating it over a broken link; raises BrokerError when Redis does not answer."""
        return dict(self._patiently(self.send, self.request(step, payload)))

    def call_believed(self, step: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Do the same where Redis must be believed; raises BrokerError also while its runs are being put right."""
        reply = self.call(step, payload)
        if reply.get("closed"):
            raise BrokerError("Redis was restarted or replaced, and its runs are put right from the history first; nothing is lost")
        return reply

    def call_lastingly(self, step: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send a new request, repeating it over a broken link as long as it takes."""
        return dict(lastingly(Outage(logger), self.send, self.request(step, payload)))

    def plain(self, step: str, args: Sequence[str | int]) -> Any:
        """Run a step that needs no request id, because doing it twice is the same as once; else like `call`."""
        return self._patiently(self.script(step), args=args)

    def command(self, *words: str | int | float) -> Any:
        """Run a command of Redis that may be done twice; else like `call`."""
        return self._patiently(self.connection.execute_command, *words)

    def together(self, *commands: Sequence[str | int | float]) -> Any:
        """Carry out commands of Redis, all of them or none, that may be done twice; else like `call`. Takes large values faster than a step."""
        def ask() -> Any:
            with self.connection.pipeline() as pipe:
                for words in commands:
                    pipe.execute_command(*words)  # type: ignore[no-untyped-call]
                return pipe.execute()

        return self._patiently(ask)

    def _patiently(self, ask: Callable[..., Any], *args: Any, **given: Any) -> Any:
        since = clock.utcnow()
        try:
            return patiently(self.connection, ask, *args, **given)
        except LINK_ERRORS as error:
            raise unreachable(error, since) from error
