"""Who is told what: from notices to deliveries, by what the tasks of a version say and the settings, and from these to messages.

All of it is decided in transactions of SQL that change nothing when they are repeated.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from rqflow.dag.version import TaskSpec
from rqflow.exceptions import ConfigError
from rqflow.recorder.notices import noting
from rqflow.settings import Notices
from rqflow.states import RunState
from rqflow.store import dags, events, notices, runs, tasks
from rqflow.store.engine import Connection
from rqflow.store.events import EventFilter
from rqflow.store.notices import Delivery, Heap, Notice
from rqflow.store.runs import RunFilter

#: Notices that one transaction sorts; versions of which is remembered who wants to hear of them.
_AT_ONCE, _VERSIONS = 200, 64
#: Characters of an URL's digest.
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to hear of a task, and of which kinds of notices by mail; little of a version, for many are remembered."""

    email: tuple[str, ...]
    kinds: frozenset[str]

    @classmethod
    def of(cls, task: TaskSpec) -> Wish:
        """Return what a task says."""
        said = {notices.FAILURE: task.email_on_failure, notices.RETRY: task.email_on_retry, notices.SUCCESS: task.email_on_success,
                notices.SLA: True, notices.UNREACHABLE: task.email_on_failure}
        return cls(tuple(map(sys.intern, task.email)), frozenset(kind for kind, is_wanted in said.items() if is_wanted))


@dataclass(frozen=True, slots=True)
class Readers:
    """Who wants to hear of the tasks of one version: {task_id: what it says} of the tasks with an address, or with email_on_success."""

    tasks: Mapping[str, Wish]
    #: After so many failed runs in a row the DAG is paused; None: as the settings say.
    limit: int | None

    @property
    def everybody(self) -> list[str]:
        """All addresses of the DAG."""
        return list(dict.fromkeys(address for wish in self.tasks.values() for address in wish.email))


class Sorter:
    """Decides who is told; the leading scheduler has one."""

    def __init__(self, given: Notices, pause: Callable[[Connection, str], bool]) -> None:
        """`pause` pauses a DAG, and tells whether it was not. Raises ConfigError for settings that name what is not there."""
        self._given, self._pause = given, pause
        self._kinds = kinds(given.tell_on)
        self.webhooks = by_name(notices.WEBHOOK, given.webhook_urls)
        self.chats = by_name(notices.CHAT, given.apprise_urls)
        self._known: dict[str, Readers] = {}

    def sort(self, connection: Connection, now: datetime) -> int:
        """Say who is told of the next notices; return how many these were."""
        found = notices.unsorted(connection, _AT_ONCE)
        if not found:
            return 0
        keys = {one.run_key for one in found}
        followed = tasks.followed(connection, keys)
        versions = {key: record.version for key in keys if (record := runs.by_key(connection, key))}
        deliveries: list[Delivery] = []
        for one in found:
            sha = followed.get((one.run_key, one.task_id, one.try_number)) or versions.get(one.run_key)
            readers = self._readers(connection, sha)
            if one.kind == notices.RUN_FAILED:
                self._count(connection, one, readers)
            else:
                deliveries += self._of(connection, one, readers)
        notices.settle(connection, [one.notice_key for one in found], deliveries, now)
        return len(found)

    def gather(self, connection: Connection, now: datetime) -> int:
        """Make messages of what has waited long enough; return how many."""
        pairs: dict[tuple[str, str], list[Heap]] = {}
        for heap in notices.heaps(connection, now):
            pairs.setdefault((heap.recipient, heap.dag_id), []).append(heap)
        return sum(self._gather(connection, found, now) for found in pairs.values())

    def _readers(self, connection: Connection, sha: str | None) -> Readers:
        """Return who wants to hear of a version; nobody does of one that is not known."""
        if sha is None:
            return Readers({}, None)
        if sha not in self._known:
            while len(self._known) >= _VERSIONS:
                self._known.pop(next(iter(self._known)))
            self._known[sha] = _read(connection, sha)
        return self._known[sha]

    def _gather(self, connection: Connection, found: Sequence[Heap], now: datetime) -> int:
        """Make messages of what waits for one recipient of one DAG."""
        made, is_program = 0, found[0].recipient.startswith(notices.WEBHOOK)
        for heap in found:
            if not self._given.cap or is_program:
                until = None
            else:
                until = notices.free_at(connection, heap.recipient, heap.dag_id, now, self._given.cap, self._given.cap_period)
            if until:
                notices.hold(connection, heap.recipient, heap.dag_id, until)
                return made
            if heap.is_held:
                return made + bool(notices.put_together(connection, heap, now, whole_dag=True))
            if is_program or self._is_complete(heap, now):
                made += bool(notices.put_together(connection, heap, now))
        return made

    def _is_complete(self, heap: Heap, now: datetime) -> bool:
        return now >= min(heap.last_at + self._given.gather, heap.first_at + self._given.gather_most)

    def _of(self, connection: Connection, one: Notice, readers: Readers) -> list[Delivery]:
        """Return who is told of one notice."""
        kind = one.kind
        people = _addresses(one, readers)
        hears = kind in self._kinds and (kind != notices.SUCCESS or _wants_success(one, readers))
        programs: list[str] = [*self.webhooks, *self.chats] if hears else []
        told: set[str] = set()
        if kind == notices.SUCCESS and one.try_number > 1 and self._given.recovery:
            told = notices.told_of_failures(connection, one.run_key, one.task_id)
        recipients = [*(notices.MAIL + address for address in people), *programs]
        found = [_delivery(one, recipient, kind) for recipient in recipients if recipient not in told]
        found += [_delivery(one, recipient, notices.RECOVERY) for recipient in sorted(told) if self._hears_of_recovery(recipient)]
        return found

    def _hears_of_recovery(self, recipient: str) -> bool:
        return recipient.startswith(notices.MAIL) or notices.RECOVERY in self._kinds

    def _count(self, connection: Connection, one: Notice, readers: Readers) -> None:
        """Pause the DAG when so many of its runs in a row failed, the last of which `one` is."""
        limit = self._given.max_failed_runs if readers.limit is None else readers.limit
        if not limit or not self._failed_in_a_row(connection, one.dag_id, limit) or not self._pause(connection, one.dag_id):
            return
        notices.note(connection, [noting.of_pause(one, limit)])

    def _failed_in_a_row(self, connection: Connection, dag_id: str, limit: int) -> bool:
        """Tell whether the last `limit` runs of a DAG, of those that ended, all failed, and nobody has unpaused it since the first of them did."""
        last = runs.search(connection, RunFilter(dag_id=dag_id, states=(RunState.SUCCESS, RunState.FAILED)), limit=limit)
        if len(last) < limit or any(run.state is not RunState.FAILED for run in last):
            return False
        first = min((run.ended_at for run in last if run.ended_at), default=None)
        deeds = events.search(connection, EventFilter(dag_id=dag_id, kinds={events.AUDIT}, since=first))
        return not any(deed.event == "unpaused" for deed in deeds)


def kinds(text: str) -> frozenset[str]:
    """Return the kinds that notices.tell_on names; raises ConfigError for an unknown one."""
    found = frozenset(word for word in text.replace(",", " ").split())
    if unknown := sorted(found - set(notices.TOLD)):
        raise ConfigError(f"notices.tell_on: there is no {unknown[0]}", hint=f"There are: {', '.join(notices.TOLD)}.")
    return found


def by_name(channel: str, urls: str) -> dict[str, str]:
    """Return {recipient: URL} of the URLs in a setting. The recipient is shown, and so holds no more of it than scheme and host."""
    found: dict[str, str] = {}
    for url in urls.replace(",", " ").split() if channel == notices.CHAT else urls.split():
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        if channel == notices.WEBHOOK and (parts.scheme not in {"http", "https"} or not host):
            raise ConfigError("notices.webhook_urls: each must begin with http:// or https:// and a host; they are separated by spaces")
        if not parts.scheme:
            raise ConfigError("notices.apprise_urls: each is a URL such as slack://… (github.com/caronc/apprise has them all)")
        digest = hashlib.sha256(url.encode()).hexdigest()[:_DIGEST]
        # Of a chat's URL the host may be a secret itself, such as a token.
        found[f"{channel}{host if channel == notices.WEBHOOK else parts.scheme} ({digest})"[:240]] = url
    return found


def _wants_success(one: Notice, readers: Readers) -> bool:
    wish = readers.tasks.get(one.task_id)
    return wish is not None and notices.SUCCESS in wish.kinds


def _addresses(one: Notice, readers: Readers) -> Iterable[str]:
    """Return the addresses that are told of a notice, by what the task says."""
    if one.kind == notices.PAUSED:
        return readers.everybody
    wish = readers.tasks.get(one.task_id)
    return wish.email if wish and one.kind in wish.kinds else ()


def _delivery(one: Notice, recipient: str, kind: str) -> Delivery:
    """Return a delivery. Each notice is a message of its own to a program; to people each attempt of a task that is tried again is one."""
    part = int(one.notice_key[:7], 16) if recipient.startswith(notices.WEBHOOK) else one.try_number if kind == notices.RETRY else 0
    return Delivery(notice_key=one.notice_key, recipient=recipient, dag_id=one.dag_id, run_key=one.run_key, kind=kind, part=part)


def _read(connection: Connection, sha: str) -> Readers:
    version = dags.version(connection, sha)
    if version is None:
        return Readers({}, None)
    wishes = {task.task_id: Wish.of(task) for task in version.tasks if task.email or task.email_on_success}
    return Readers(wishes, version.max_consecutive_failed_dag_runs)
