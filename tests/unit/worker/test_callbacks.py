"""Which of the calls that the hub gave to a worker begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from rqflow.settings import Settings
from rqflow.worker import callbacks
from rqflow.worker.workdir import WorkDir


def test_a_call_that_ends_while_the_orders_are_read_does_not_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = cast(Any, None)
    calls = callbacks.Callbacks(nobody, "machine", Settings(home=tmp_path), WorkDir(tmp_path), {}, nobody, nobody, nobody)
    begun: list[str] = []
    monkeypatch.setattr(calls, "_carry_out", lambda name, order: begun.append(name))
    calls._running["first"] = nobody

    def read(*_: object) -> dict[str, Any]:
        calls._running.pop("first", None)
        return {"first": {}, "second": {}}

    monkeypatch.setattr(callbacks.orders, "orders", read)
    calls.look(nobody)
    calls._running["second"].join()
    assert begun == ["second"]
    calls.look(nobody)
    calls._running["first"].join()
    assert begun == ["second", "first"], "Redis has it still: it has not told its end"
