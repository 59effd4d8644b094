from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rqflow.actions.logview.ending import ending
from rqflow.actions.model import Try
from rqflow.states import TaskState

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("known", "said"), [
    ({"ended_at": AT, "exit_code": 1, "duration": 192.0, "host": "node7", "max_rss_bytes": 2_254_857_830}, "exit 1 after 3m12s on node7, max RSS 2.1 GB"),
    ({"ended_at": AT, "signal": 9, "duration": 4.0, "worker": "node7.work.ab12"}, "killed by SIGKILL after 4.0s on node7"),
    ({"ended_at": AT, "signal": 250}, "killed by signal 250"),
    ({"ended_at": AT, "state": TaskState.LOST}, "lost"),
    ({}, ""),
])
def test_the_end_of_a_try_is_one_line(known: dict[str, Any], said: str) -> None:
    assert ending(Try(**{"try_number": 1, "state": TaskState.FAILED, **known})) == said
