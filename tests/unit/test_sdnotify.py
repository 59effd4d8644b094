"""Telling systemd how a process is."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from rqflow import sdnotify
from rqflow.sdnotify import Notifier


def test_a_systemd_that_does_not_read_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdnotify, "PATIENCE", 0.01)
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.bind(address)
        own.setblocking(False)
        for number in range(50):  # some more than the kernel keeps (net.unix.max_dgram_qlen)
            Notifier(address).tell(STATUS=number)
        told = []
        with suppress(BlockingIOError):
            while True:
                told.append(own.recv(100))
        assert 0 < len(told) < 50
        assert told == [b"STATUS=%d" % number for number in range(len(told))], "what fits is there, in its order"
        Notifier(address).tell(READY=1)
        assert own.recv(100) == b"READY=1"
