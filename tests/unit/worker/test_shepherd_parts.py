"""The parts of the shepherd that need no processes of their own: protocol, journal, /proc, slots, waits."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rqflow import process
from rqflow.broker.messages import End
from rqflow.states import TaskState
from rqflow.wire import decode, encode
from rqflow.worker import processes
from rqflow.worker.execution import was_sigkill
from rqflow.worker.journal import Journal, Started
from rqflow.worker.link import Backoff
from rqflow.worker.memory import OomCounter
from rqflow.worker.shepherd_protocol import Ended, Lines, Start, from_plain, pack, to_plain
from rqflow.worker.slots import Slots
from rqflow.worker.tries import Try
from tests.unit.worker.test_outcome import a_claim
from tests.waiting import until


def test_message_survives_the_wire() -> None:
    start = Start(id="e", argv=("a", "ä\udcff\n"), log="l", cwd="c", env={"A": "1"}, outputs=("x",), timeout=1.5)
    assert from_plain(Start, decode(pack("start", start).rstrip(b"\n"))) == start


def test_fields_of_another_release_are_ignored_and_missing_ones_have_defaults() -> None:
    assert from_plain(Ended, {"id": "e", "from_the_future": 1}) == Ended(id="e")


def test_lines_come_out_whole_however_they_arrive() -> None:
    data = pack("one", text="ä" * 10) + pack("two") + pack("three", n=[1])
    for size in (1, 7, 1000):
        lines = Lines()
        found = [message["op"] for at in range(0, len(data), size) for message in lines.feed(data[at:at + size])]
        assert found == ["one", "two", "three"]


def a_start(name: str) -> Started:
    return Started(id=name, pid=1, earliest=2, latest=3, boot="b", started=1.0, outputs=("o",), memo="m\udcff")


def start(journal: Journal, name: str) -> None:
    entry = a_start(name)
    journal.intend(replace(entry, pid=0, latest=0))
    journal.start(name, entry.pid, entry.latest)


def ended(journal: Journal, name: str) -> None:
    entry = Ended(id=name, status=0, left=("x",))
    journal.end(entry, encode(to_plain(entry)))


def test_journal_remembers_what_is_open(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for name in ("runs", "ended", "accepted", "forgotten"):
        start(journal, name)
    for name in ("ended", "accepted", "forgotten"):
        ended(journal, name)
    journal.accept(["accepted", "forgotten"])
    journal.forget(["forgotten"])
    journal.flush()
    journal.close()
    again = Journal(path)
    assert again.running == {"runs": a_start("runs")}
    assert [(e.id, e.accepted, e.left) for e in again.open_ends()] == [("ended", False, ("x",)), ("accepted", True, ("x",))]
    again.close()


def test_start_whose_second_line_is_torn_is_remembered_as_intended(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    start(journal, "a")
    journal.flush()
    journal.close()
    path.write_bytes(path.read_bytes()[:-5])
    again = Journal(path)
    assert again.running == {"a": replace(a_start("a"), pid=0, latest=0)}
    again.start("a", 1, 3)
    again.flush()
    again.close()
    last = Journal(path)
    assert last.running == {"a": a_start("a")}
    last.close()


def test_journal_passes_over_torn_and_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    second = b'{"format":1,"what":"start","id":"torn","pid":1,"latest":2}\n'
    path.write_bytes(b'{"format":9,"what":"start"}\nnonsense\n' + second + b'{"format":1,"what":"st')
    journal = Journal(path)
    assert (journal.running, journal.ended) == ({}, {})
    start(journal, "a")
    journal.flush()
    journal.close()
    again = Journal(path)
    assert list(again.running) == ["a"]
    again.close()


def test_journal_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    start(journal, "long")
    for number in range(20_000):
        start(journal, str(number))
        ended(journal, str(number))
        journal.forget([str(number)])
        if number % 100 == 0:
            journal.flush()
    journal.flush()
    assert path.stat().st_size < 5 << 20
    ended(journal, "long")
    journal.forget(["long"])
    journal.flush()
    assert path.stat().st_size < 1 << 10
    journal.close()


def test_journal_with_much_that_is_open_is_not_rewritten_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal")
    rewrites = []
    rewrite = journal._rewrite
    monkeypatch.setattr(journal, "_rewrite", lambda: (rewrites.append(1), rewrite()))
    for number in range(20_000):
        ended(journal, f"{number:0200}")
        if number % 20 == 0:
            journal.flush()
    assert 0 < len(rewrites) < 4
    journal.close()


def test_this_process_in_proc() -> None:
    me = process.read(os.getpid())
    assert me
    assert (me.parent, me.group, me.session) == (os.getppid(), os.getpgrp(), os.getsid(0))
    assert processes.is_same(me.pid, me.started, me.started)
    assert not processes.is_same(me.pid, me.started + 1, me.started + 2)
    assert process.read(1 << 30) is None


@pytest.mark.parametrize(
    ("status", "expected"), [(int(signal.SIGKILL), True), (137 << 8, True), (int(signal.SIGTERM), False), (0, False), (1 << 8, False), (None, False)]
)
def test_was_sigkill(status: int | None, expected: bool) -> None:
    assert was_sigkill(status) is expected


def test_kills_for_want_of_memory_are_counted_here() -> None:
    counter = OomCounter()
    first = counter.read()
    assert first is not None
    assert first >= 0
    counter.close()


def a_try(name: str) -> Try:
    files: dict[str, Any] = {"folder": Path("/tries/1"), "log": "/logs/a.log", "archive": "a/b/c/1.log", "outputs": ("/o",), "moved": ("/o.before-1",)}
    return Try(claim=a_claim(execution_id=name, run_key=f"k{name}"), timeout=2.0, **files)


def test_try_survives_its_memo() -> None:
    held = a_try("a")
    assert Try.from_memo(held.memo()) == held
    with pytest.raises(ValueError, match="no memo"):
        Try.from_memo("{}")


def an_end(name: str) -> End:
    return End(run_key="k", index=0, try_number=1, execution_id=name, state=TaskState.SUCCESS)


def test_slot_is_free_at_the_end_but_the_try_is_named_until_it_is_accepted() -> None:
    slots = Slots(2, None)
    one, two = a_try("1"), a_try("2")
    slots.take(one)
    slots.take(two)
    assert (slots.room(), len(slots), slots.claimed) == (0, 2, 2)
    slots.end(one, an_end("1"))
    assert (slots.room(), len(slots), slots.has_ends) == (1, 1, True)
    assert slots.named() == {"1": ("k1", 0, 1), "2": ("k2", 0, 1)}
    assert [held.id for held, _ in slots.accept([an_end("1"), an_end("9")])] == ["1"]
    assert slots.named() == {"2": ("k2", 0, 1)}


def test_end_that_waits_to_be_told_grows_older() -> None:
    slots = Slots(1, None)
    one = a_try("1")
    slots.take(one)
    slots.end(one, replace(an_end("1"), ended_ago=5.0))
    assert until(lambda: (ago := slots.ends()[0].ended_ago) > 5.0 and ago, what="the end to grow older") < 15.0


def test_slots_end_at_the_limit() -> None:
    slots = Slots(3, 2)
    assert slots.room() == 2
    slots.take(a_try("1"))
    slots.take(a_try("2"), adopted=True)
    assert (slots.room(), slots.spent, slots.claimed) == (1, False, 1)
    slots.take(a_try("3"))
    assert (slots.room(), slots.spent) == (0, True)


def test_waits_grow_and_begin_anew_after_success() -> None:
    backoff = Backoff()
    waits = [backoff.next() for _ in range(12)]
    assert all(0.05 <= wait <= 5.0 for wait in waits)
    assert waits[0] <= 0.1 < 2.5 <= waits[-1]
    assert backoff.failing
    assert backoff.left() > 0
    backoff.reset()
    assert (backoff.failing, backoff.left()) == (False, 0.0)
