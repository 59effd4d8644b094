"""The hub as a process: what it does without a database, and at a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow.broker import lock
from tests.integration.cli.conftest import Rqflow
from tests.profile import ENVIRON, PATIENCE
from tests.waiting import until


@pytest.fixture
def hub(home: Path, redis_url: str, db: redis.Redis) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler whose database is down."""
    environ = {**os.environ, **ENVIRON, "RQFLOW_HOME": str(home), "RQFLOW__REDIS__URL": redis_url, "RQFLOW__DATABASE__URL": "mysql://u:p@127.0.0.1:1/x"}
    with subprocess.Popen([sys.executable, "-m", "rqflow.cli.main", "scheduler"], env=environ, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_scheduler_leads_without_its_database_and_says_so(hub: subprocess.Popen[bytes], db: redis.Redis) -> None:
    until(lambda: lock.has_leader(db), what="the scheduler to lead")
    hub.send_signal(signal.SIGTERM)
    _, err = hub.communicate(timeout=PATIENCE)
    assert b"going on without the database" in err
    assert b"Traceback" not in err
    assert hub.returncode == 0
    assert not lock.has_leader(db)


def test_once_moves_what_is_due_and_ends(rqflow: Rqflow) -> None:
    assert rqflow("scheduler", "--once").code == 0
