from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from rqflow.actions.top import RunningTask, Top
from rqflow.broker.control import QueueStatus
from rqflow.broker.status import WorkerStatus
from rqflow.cli import top
from rqflow.cli.output import Printer

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_top(workers: int, queues: int, tasks: int) -> Top:
    return Top(
        at=NOW, runs=1, running=tasks,
        workers=tuple(WorkerStatus(name=f"w{n}", host="h", pid=1, state="busy", queues=("default",), labels=(), slots=4, running=1, last_heartbeat=NOW)
                      for n in range(workers)),
        queues=tuple(QueueStatus(name=f"q{n}", waiting=2, running=1, failed=0, workers=1) for n in range(queues)),
        tasks=tuple(RunningTask(dag_id="d", run_id="r", task_id=f"t{n} [red]", try_number=1, state="running", queue="q", worker="w0", started_at=NOW,
                                duration=3.0) for n in range(tasks)))


def test_all_of_it_in_one_line() -> None:
    assert top.headline(a_top(2, 1, 3)) == "2026-01-01 12:00:00 UTC: 1 run, 3 tasks running in 8 slots of 2 workers, 2 waiting"


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 1, 1), (3, 2, 500), (50, 1, 3), (40, 40, 400)])
@pytest.mark.parametrize("height", [16, 24, 60])
def test_the_screen_is_never_longer_than_the_terminal(sizes: tuple[int, int, int], height: int) -> None:
    out = StringIO()
    Console(file=out, width=120, height=height).print(top.drawn(a_top(*sizes), Printer(), height=height))
    lines = out.getvalue().splitlines()
    assert len(lines) <= height
    assert lines[0].startswith("2026-01-01")
    if sizes[2] > height:
        assert "more tasks" in out.getvalue()
        assert "t0 [red]" in out.getvalue()
