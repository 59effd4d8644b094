from __future__ import annotations

import logging
import os
import sys
import threading

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from rqflow import clock
from rqflow.recorder.loop import NICE, keep_running, step_aside


def test_step_that_fails_is_tried_again_until_the_end(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    troubles = [RedisConnectionError("no redis"), RedisConnectionError("no redis"), RuntimeError("a bug")]

    def step() -> None:
        if troubles:
            raise troubles.pop(0)
        stop.set()

    monkeypatch.setattr(clock, "utcnow", lambda: clock.from_micros(0))
    keep_running(step, stop, name="archive")
    assert [(record.levelno, record.message, bool(record.exc_info)) for record in caplog.records] == [
        (logging.WARNING, "archive waits since 1970-01-01 00:00:00 UTC, nothing is lost: no redis", False),
        (logging.ERROR, "archive failed and goes on", True)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_thread_that_steps_aside_is_alone_in_it() -> None:
    before, found = os.getpriority(os.PRIO_PROCESS, 0), []

    def behind() -> None:
        step_aside()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=behind)
    thread.start()
    thread.join()
    assert found == [min(before + NICE, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
