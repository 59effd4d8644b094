"""Tries that could not be started: what the person reads, in the reason and in the log."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rqflow.broker.messages import Claim
from rqflow.exceptions import TemplateError
from rqflow.states import TaskState
from rqflow.worker.conclude import Machine, refuse
from rqflow.worker.tries import Try

CLAIM = Claim(run_key="k", index=0, task_id="a", try_number=1, execution_id="e", job_id="j", queue="default", version="v", started_at=0)


@pytest.mark.parametrize(("error", "words"), [
    (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/data/tries/1"), "could not be started: Disk quota exceeded: /data/tries/1"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/tries/1"), "could not be started: No space left on device: /data/tries/1"),
    (TemplateError("bash_command, line 1: there is no variable datee"), "bash_command, line 1: there is no variable datee"),
])
def test_the_reason_says_what_kept_a_try_from_starting(tmp_path: Path, error: Exception, words: str) -> None:
    held = Try(claim=CLAIM, folder=tmp_path, log=str(tmp_path / "log"), archive="d/a/r/1.log", timeout=None)
    told = refuse(held, error, Machine("here", "boot"))
    assert (told.state, told.reason) == (TaskState.FAILED, words)
    assert words in (tmp_path / "log").read_text()
