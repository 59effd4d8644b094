"""What a worker that joined asks the hub for templates of its tries: stored secrets, sealed for it, in a thread of its own.

Whoever needs one that is not here gets `Awaited`: the try is begun again when the answer is there. A hub that is away is asked until it answers;
the try waits, and says so in its log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import redis

from rqflow import clock, logs
from rqflow.broker import requests
from rqflow.broker.faults import LINK_ERRORS
from rqflow.dag.asking import SECRETS
from rqflow.exceptions import BrokerError, RqflowError, TaskFailed
from rqflow.security.entries import WORDS, Entry
from rqflow.security.keyring import WrongKey
from rqflow.security.membership import Member, Ticket
from rqflow.security.sealing import BoxKey
from rqflow.wire import decode, encode
from rqflow.worker.tries import Try

logger = logging.getLogger(__name__)

#: Seconds for which one question waits for its answer before it is put again, and those between two that went wrong at once.
PATIENCE, _AGAIN = 30.0, 1.0
#: Seconds after which a try that waits says so in its log.
SAY_AFTER = 1.0
#: Answers that are kept.
_MOST = 10_000

#: A kind, a name, and the entry as Redis has it: another one after each change.
Key = tuple[str, str, str]


class Awaited(Exception):
    """A secret was asked of the hub, and is not here yet."""


class Inquiries:
    """The questions of one worker."""

    def __init__(self, connection: redis.Redis, member: Member, wake: Callable[[], None]) -> None:
        """Ask over `connection` as `member`; `wake` is called when an answer is there."""
        self._connection, self._member, self._wake = connection, member, wake
        self._lock = threading.Condition()
        self._wanted: dict[Key, Ticket] = {}
        #: An entry sealed for this worker, None for one that the hub does not have, or why it gives none.
        self._answers: dict[Key, Entry | RqflowError | None] = {}
        #: Who waits for what, since when, and whether its log says so.
        self._waiting: dict[str, tuple[Key, float]] = {}
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inquiries", daemon=True)

    def get(self, held: Try, worker: str, kind: str, name: str, entry: Entry) -> Entry:
        """Return an entry that this worker's key opens; raises Awaited, KeyError when it is gone, TaskFailed with the hub's refusal."""
        key = (kind, name, _text(entry))
        with self._lock:
            if key in self._answers:
                answer = self._answers[key]
                if isinstance(answer, RqflowError):
                    # Asked anew by the next try.
                    del self._answers[key]
                    raise TaskFailed(f"the hub does not give the {WORDS[kind]} {name}: {answer.message}", hint=answer.hint)
                if answer is None:
                    raise KeyError(name)
                return answer
            claim = held.claim
            self._wanted[key] = self._member.ticket(worker, claim.run_key, claim.index, held.id, shared=True)
            self._waiting[held.id] = (key, self._waiting.get(held.id, (key, clock.monotonic()))[1])
            if self._thread.ident is None and not self._stop.is_set():
                self._thread.start()
            self._lock.notify()
        raise Awaited(name)

    def is_answered(self, held: Try) -> bool:
        """Tell whether what a try waits for is here; meanwhile its log says, once, what it waits for."""
        with self._lock:
            if held.id not in self._waiting:
                return True
            key, since = self._waiting[held.id]
            if key in self._answers:
                self.forget(held)
                return True
            is_late = clock.monotonic() - since >= SAY_AFTER and held.id not in self._told
            if is_late:
                self._told.add(held.id)
        if is_late:
            said = f"rqflow: waits for the hub's answer: the {WORDS[key[0]]} {key[1]}; is `rqflow scheduler` running there?\n"
            with suppress(OSError), open(held.log, "ab") as stream:
                stream.write(said.encode())
            logger.warning("%s waits for the hub's answer: the %s %s", held.claim.task_id, WORDS[key[0]], key[1],
                           extra=logs.context("secret_awaited", task_id=held.claim.task_id))
        return False

    def has_told(self, held: Try) -> bool:
        """Tell whether the log of a try says that it waits."""
        return held.id in self._told

    def awaited(self) -> dict[str, str]:
        """Return {execution: what it waits for, in words}."""
        with self._lock:
            return {name: f"the {WORDS[kind]} {called}" for name, ((kind, called, _), _) in self._waiting.items()}

    def forget(self, held: Try) -> None:
        """The try waits no more."""
        self._waiting.pop(held.id, None)
        self._told.discard(held.id)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        with self._lock:
            self._lock.notify()

    def join(self, timeout: float) -> None:
        """Wait until nothing is asked any more, for at most `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._wanted and not self._stop.is_set():
                    self._lock.wait()
                if self._stop.is_set():
                    return
                batches = _by_ticket(self._wanted)
            for ticket, asked in batches:
                self._ask(ticket, asked)

    def _ask(self, ticket: Ticket, asked: list[Key]) -> None:
        answers: dict[Key, Entry | RqflowError | None] = {}
        wanted: dict[str, list[str]] = {}
        for kind, name, _ in asked:
            wanted.setdefault(kind, []).append(name)
        try:
            found = answer_to(ticket, wanted, lambda payload: requests.ask(self._connection, SECRETS, payload, timeout=PATIENCE, stop=self._stop))
            answers = {key: found.get(key[0], {}).get(key[1]) for key in asked}
        except (BrokerError, *LINK_ERRORS):
            with self._lock:
                self._lock.wait(_AGAIN)  # a connection that is refused is so at once
            return
        except RqflowError as error:
            answers = dict.fromkeys(asked, error)
        except Exception as error:
            logger.exception("a bug in a question to the hub")
            answers = dict.fromkeys(asked, TaskFailed(f"its worker could not ask: {error}"))
        with self._lock:
            for key in asked:
                self._wanted.pop(key, None)
            self._answers.update(answers)
            while len(self._answers) > _MOST:
                self._answers.pop(next(iter(self._answers)))
        self._wake()


def answer_to(ticket: Ticket, wanted: dict[str, list[str]], ask: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, dict[str, Entry]]:
    """Ask the hub for `wanted` {kind: names}; return {kind: {name: entry}}, sealed for the ticket, of those that there are.

    Raises WrongKey for an answer that is not the hub's, and what `ask` raises.
    """
    box, nonce = BoxKey(ticket.private), uuid4().hex
    answer = ask({**ticket.request(box.public, wanted), "nonce": nonce})
    text = str(answer["entries"])
    if not box.is_vouched(ticket.hub, {"entries": text, "nonce": nonce}, str(answer["proof"])):
        raise WrongKey("what came as the hub's answer is not from the hub that this worker joined",
                       hint="When the hub's key was changed on purpose: `rqflow worker join` there again.")
    found: dict[str, dict[str, Entry]] = decode(text)
    return found


def _by_ticket(wanted: dict[Key, Ticket]) -> list[tuple[Ticket, list[Key]]]:
    batches: dict[Ticket, list[Key]] = {}
    for key, ticket in wanted.items():
        batches.setdefault(ticket, []).append(key)
    return list(batches.items())


def _text(entry: Entry) -> str:
    return encode(dict(sorted(entry.items()))).decode()
