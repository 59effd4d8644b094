"""The worker's loop before it runs; what it does is tested with real workers in tests/integration/worker."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import redis

from rqflow import clock
from rqflow.broker.broker import Broker
from rqflow.settings import Settings
from rqflow.worker.loop import Loop, Options


def a_loop() -> Loop:
    settings = Settings(home=Path("/nowhere"))
    parts: Any = None
    return Loop(Broker(redis.Redis(), settings, caller="w"), parts, parts, parts, Options(queues=("default",), slots=1), settings)


def test_a_pause_ends_when_told_to_stop_and_not_for_another_wake() -> None:
    loop = a_loop()
    began = clock.monotonic()
    loop.wake()
    loop.pause(0.2)
    assert clock.monotonic() - began >= 0.2
    stop = threading.Timer(0.1, loop.request_stop)
    stop.start()
    loop.pause(60)
    stop.join()
    assert clock.monotonic() - began < 30
    loop.pause(60)
    assert clock.monotonic() - began < 30
