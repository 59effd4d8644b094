"""Reliability R33 and R34 in full: a two-second schedule on two schedulers that are killed, and an audit: each date once.

`python -m benchmarks.ticks` takes five minutes; tests/e2e/test_r34_schedules.py does the same for some seconds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from benchmarks import system
from rqflow.actions import query
from rqflow.actions.model import Run
from rqflow.broker.lock import has_leader
from rqflow.store.runs import RunFilter
from tests.e2e.lab import Lab
from tests.services import redis_server
from tests.waiting import until

EVERY = timedelta(seconds=2)
FILE = f"""
    from datetime import datetime, timezone
    from rqflow import DAG, EmptyOperator
    with DAG("often", schedule="* * * * * */{EVERY.seconds}", start_date=datetime.now(timezone.utc), catchup=True, max_active_runs=1000):
        EmptyOperator(task_id="a")
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What became of the schedule."""

    dates: Sequence[datetime]
    kills: int
    missing: Sequence[datetime]
    doubled: Sequence[datetime]
    #: Seconds by which runs were made late: the median, and the most.
    late: tuple[float, float]

    @property
    def is_clean(self) -> bool:
        """Whether each date from the first to the last was run once."""
        return not self.missing and not self.doubled


def strike(lab: Lab, *, seconds: float, kills: int, seed: int) -> Audit:
    """Let two schedulers follow the schedule for so long, kill one of them so often at random times, and audit what came of it."""
    chance = random.Random(seed)
    hubs = [lab.hub(), lab.hub()]
    until(lambda: has_leader(lab.services.connection), what="a scheduler to lead")
    lab.run("submit", lab.dag(FILE), "--no-follow")
    began = time.monotonic()
    for at in sorted(chance.uniform(1.0, seconds) for _ in range(kills)):
        time.sleep(max(began + at - time.monotonic(), 0.0))
        victim = chance.randrange(len(hubs))
        hubs[victim].kill()
        hubs[victim].wait()
        hubs[victim] = lab.hub()
    time.sleep(max(began + seconds - time.monotonic(), 0.0))
    lab.run("dag", "pause", "often")
    until(lambda: all(run.state.value == "success" for run in _runs(lab)), what="all runs to be recorded")
    return _audit(lab, kills)


def _runs(lab: Lab) -> list[Run]:
    return query.list_runs(lab.services.broker, lab.services.engine, RunFilter(dag_id="often"), limit=None)


def _audit(lab: Lab, kills: int) -> Audit:
    found = _runs(lab)
    counted = Counter(run.logical_date for run in found if run.logical_date)
    first, last = min(counted), max(counted)
    wanted = [first + number * EVERY for number in range(int((last - first) / EVERY) + 1)]
    late = sorted((run.created_at - run.data_interval_end).total_seconds() for run in found if run.created_at and run.data_interval_end)
    return Audit(dates=sorted(counted), kills=kills, missing=[date for date in wanted if date not in counted],
                 doubled=[date for date, number in counted.items() if number > 1 or date not in wanted], late=(late[len(late) // 2], late[-1]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Strike, print the audit; return 1 when a date was missed or doubled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ticks", description="Kill schedulers over a schedule of two seconds.")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (300)")
    parser.add_argument("--kills", type=int, default=40, help="how often a scheduler is killed (40)")
    parser.add_argument("--seed", type=int, default=34, help="of victims and times (34)")
    asked = parser.parse_args(arguments)
    with system.folder() as place, redis_server(place, "--appendonly", "yes") as url:
        lab = Lab(place / "lab", redis_url=url)
        try:
            found = strike(lab, seconds=asked.seconds, kills=asked.kills, seed=asked.seed)
        finally:
            lab.close()
    print(f"seed {asked.seed}, {asked.seconds:g} s, {found.kills} kills: {len(found.dates)} dates, {len(found.missing)} missing, "
          f"{len(found.doubled)} doubled; late by {found.late[0]:.3f} s at the median, {found.late[1]:.3f} s at the most")
    return 0 if found.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
