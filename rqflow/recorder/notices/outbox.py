"""The outbox: the leading scheduler sorts notices, puts messages together, and sends them until they are sent, refused, or too old.

Each channel has a thread of its own while it has something to send, so that a mail server that hangs holds up nothing else. A message is marked as
being sent before, and as sent after: who is killed in between leaves it to be sent once more, under the same Message-ID, after SENDING.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from rqflow import clock, logs
from rqflow.recorder.loop import keep_running
from rqflow.recorder.notices import content
from rqflow.recorder.notices.channels import Channel, Failure, channels
from rqflow.recorder.notices.sorting import Sorter
from rqflow.settings import Settings
from rqflow.store import notices
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.notices import Message

logger = logging.getLogger(__name__)

#: Seconds between two looks for something to do, when there was nothing, and when there was.
EVERY, AGAIN = 2.0, 0.5
#: A message that is being sent for so long, beyond what the server may take, is not being sent any more: who did it is gone.
SENDING = timedelta(minutes=2)
#: Messages of a channel that are looked at together.
_AT_ONCE = 50
#: So many times the first wait is doubled at most.
_DOUBLED = 20


class Outbox:
    """Sends what there is to tell."""

    def __init__(self, engine: Engine, settings: Settings, sorter: Sorter) -> None:
        """Tell by the settings [smtp] and [notices], with the lines of logs in the archive."""
        self._engine, self._settings, self._given, self._sorter = engine, settings, settings.notices, sorter
        self._channels = channels(settings, sorter.webhooks, sorter.chats)
        self._lease = SENDING + settings.smtp.smtp_timeout + self._given.webhook_timeout
        self._threads: dict[str, threading.Thread] = {}
        #: How often in a row a server was away.
        self._away: dict[str, int] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, over all failures."""
        def step() -> None:
            with reading(self._engine) as connection:
                to_sort, to_send = notices.pending(connection, clock.utcnow())
            if to_sort:
                self.sort()
            self._send_apart([name for name in self._channels if any(recipient.startswith(name) for recipient in to_send)], stop)
            stop.wait(AGAIN if to_sort or to_send else EVERY)

        keep_running(step, stop, name="notices")
        for thread in self._threads.values():
            thread.join(timeout=1)

    def sort(self) -> int:
        """Say who is told of new notices, and make messages of what has waited long enough; return how many messages."""
        now = clock.utcnow()
        while run_in_transaction(self._engine, partial(self._sorter.sort, now=now)):
            continue
        return run_in_transaction(self._engine, partial(self._sorter.gather, now=now))

    def send(self) -> int:
        """Send all that is due now, one after the other; return how many messages were sent."""
        return sum(self._send(name, threading.Event()) for name in self._channels)

    def _send_apart(self, busy: Sequence[str], stop: threading.Event) -> None:
        """Start a thread for each of the channels `busy`, which have something to send, that is not at it."""
        for name in busy:
            if name not in self._threads or not self._threads[name].is_alive():
                self._threads[name] = threading.Thread(target=self._send_logged, args=(name, stop), name=f"notices {name}", daemon=True)
                self._threads[name].start()

    def _send_logged(self, name: str, stop: threading.Event) -> None:
        try:
            self._send(name, stop)
        except Exception:
            # The next step begins it anew.
            logger.exception("messages (%s) could not be sent now", name, extra=logs.context("notices_failed", channel=name))

    def _send(self, name: str, stop: threading.Event) -> int:
        """Send what is due on one channel; return how many messages were sent."""
        with reading(self._engine) as connection:
            found = notices.due(connection, name, clock.utcnow(), _AT_ONCE)
        sent, blocked = 0, set[str]()
        for message in found:
            if stop.is_set():
                break
            if _server_of(message, name) in blocked:
                continue
            now = clock.utcnow()
            if not run_in_transaction(self._engine, partial(notices.claim, message=message, now=now, until=now + self._lease)):
                continue
            try:
                self._send_one(message, self._channels[name], message.recipient.removeprefix(name))
            except Failure as failure:
                if self._failed(message, failure, _server_of(message, name)):
                    blocked.add(_server_of(message, name))
                continue
            self._end(message, notices.SENT)
            self._away.pop(_server_of(message, name), None)
            sent += 1
        return sent

    def _send_one(self, message: Message, channel: Channel, recipient: str) -> None:
        with reading(self._engine) as connection:
            told = content.gather(connection, message, self._settings)
        if not told.told:
            raise Failure("what it tells was deleted", state=notices.REFUSED)
        channel(told, recipient)

    def _failed(self, message: Message, failure: Failure, server: str) -> bool:
        """Say what becomes of a message that could not be sent; True when the others of this server must wait, too."""
        now, error = clock.utcnow(), str(failure)
        if failure.state:
            self._end(message, failure.state, error)
            return False
        if now - message.created_at > self._given.give_up_after:
            self._end(message, notices.GIVEN_UP, error)
            return False
        failures = message.tries + 1
        if failure.is_of_server:
            # A server that is away makes all of its messages wait; how long, is not for one of them to say.
            failures = self._away[server] = self._away.get(server, 0) + 1
        until = now + min(self._given.retry_first * 2 ** min(failures - 1, _DOUBLED), self._given.retry_longest)
        logger.warning("a message to %s waits until %s UTC: %s", message.recipient, f"{until:%H:%M:%S}", error.splitlines()[0],
                       extra=logs.context("notice_waits", message_id=message.message_id, dag_id=message.dag_id))
        run_in_transaction(self._engine, partial(notices.postpone, message_id=message.message_id, until=until, error=error))
        if failure.is_of_server:
            run_in_transaction(self._engine, partial(notices.postpone_all, server=server, now=now, until=until, error=error))
        return failure.is_of_server

    def _end(self, message: Message, state: str, error: str = "") -> None:
        run_in_transaction(self._engine, partial(notices.end, message_id=message.message_id, state=state, now=clock.utcnow(), error=error))
        say = logger.info if state == notices.SENT else logger.warning
        say("message %s about %s to %s: %s%s", message.message_id, message.dag_id, message.recipient, state.replace("_", " "),
            f": {error.splitlines()[0]}" if error else "",
            extra=logs.context("notice_ended", message_id=message.message_id, dag_id=message.dag_id, state=state))


def _server_of(message: Message, channel: str) -> str:
    """Return what the recipients have in common that one server stands for: all mail has one, each webhook and each chat its own."""
    return channel if channel == notices.MAIL else message.recipient
