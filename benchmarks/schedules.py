"""W9: how late scheduled runs are made, of many DAGs spread over the hour, and of many that are due in the same second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from statistics import quantiles

from benchmarks import shapes, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from rqflow import clock
from rqflow.actions import submit
from rqflow.dag.run import SCHEDULED
from rqflow.dag.version import Version
from rqflow.store import runs
from rqflow.store.engine import reading
from rqflow.store.runs import RunFilter

#: DAGs that are spread over an hour, and that are due at once; seconds for which the former are watched.
SPREAD, AT_ONCE, WATCHED = 10_000, 1_000, 60.0
HOUR = 3600
#: Milliseconds late at the median, seconds late of the 99th in a hundred, seconds until the last of those at once (architecture section 13).
MEDIAN, LATEST, LAST = Budget(goal=100), Budget(goal=1.0), Budget(goal=10.0)
#: DAGs that are registered in one transaction.
_CHUNK = 200


def w9(options: Options, report: Report) -> None:
    """Schedules: 10,000 hourly DAGs spread evenly, and 1,000 due in the same second."""
    for store in options.stores:
        count = options.tasks or SPREAD
        with system.running(store) as ours:
            report.say(f"{count:,} hourly DAGs on {store}")
            step, seconds = (0.1, 3.0) if options.is_trial else (HOUR / count, WATCHED)
            report.add(spread(ours, store, count, step, seconds))
        count = options.tasks or AT_ONCE
        with system.running(store) as ours:
            report.say(f"{count:,} DAGs due at once on {store}")
            report.add(at_once(ours, store, count))


def spread(ours: system.System, store: str, count: int, step: float, seconds: float) -> Iterator[Figure]:
    """Give the figures of hourly DAGs of which one is due every `step` seconds, watched for some seconds."""
    began = _register(ours, "spread", count, lambda first, number: first + timedelta(seconds=number * step))
    time.sleep(max((began - clock.utcnow()).total_seconds(), 0) + seconds)
    until, due = began + timedelta(seconds=seconds), min(int(seconds / step), count)
    system.patiently(lambda: len(_lateness(ours, until)) >= due, what=f"{due} runs", every=0.5)
    late = _lateness(ours, until)
    yield Figure(workload="W9", system=store, name=f"{count:,} hourly DAGs: a run is made late by, median", unit="ms", values=[_part(late, 50) * 1e3],
                 budget=MEDIAN, note=f"{len(late)} runs")
    yield Figure(workload="W9", system=store, name="the same, 99 of 100 by at most", unit="s", values=[_part(late, 99)], budget=LATEST)


def at_once(ours: system.System, store: str, count: int) -> Iterator[Figure]:
    """Give the figures of DAGs that are all due in the same second."""
    _register(ours, "once", count, lambda first, _: first)
    system.patiently(lambda: len(_lateness(ours)) >= count, what="all runs", every=0.5)
    title = f"{count:,} DAGs due at once: the last run is made after"
    yield Figure(workload="W9", system=store, name=title, unit="s", values=[max(_lateness(ours))], budget=LAST)


def _register(ours: system.System, name: str, count: int, due: Callable[[datetime, int], datetime]) -> datetime:
    """Register DAGs of one task with a run due every hour, the first at `due(first, number)`; return when the first of all is due."""
    plain = system.load(shapes.single("true"))
    services, made, began = ours.services, 0, time.monotonic()
    # How long the rest takes is known after the first ones, which come an hour later than the others.
    first = clock.utcnow() + timedelta(hours=1)
    versions = (_version(plain, f"{name}_{number}", due(first, number)) for number in range(count))
    while chunk := list(islice(versions, _CHUNK)):
        submit.register(services.broker, services.engine, chunk)
        made += len(chunk)
        if made == min(_CHUNK, count):
            first = clock.utcnow() + timedelta(seconds=4 + 2 * (time.monotonic() - began) * max(count / _CHUNK, 1))
    submit.register(services.broker, services.engine,
                    [_version(plain, f"{name}_{number}", due(first, number)) for number in range(min(count, _CHUNK))])
    assert clock.utcnow() < first, "registering took too long"
    return first


def _version(plain: Version, dag_id: str, due: datetime) -> Version:
    return replace(plain, dag_id=dag_id, schedule=f"timedelta:{HOUR}", start_date=(due - timedelta(seconds=HOUR)).isoformat())


def _lateness(ours: system.System, until: datetime | None = None) -> list[float]:
    """Return by how many seconds each scheduled run that was due before `until` was made late."""
    with reading(ours.services.engine) as connection:
        found = [(run.created_at, run.data_interval_end) for run in runs.search(connection, RunFilter()) if run.run_type == SCHEDULED]
    return [(made - due).total_seconds() for made, due in found if made and due and (until is None or due < until)]


def _part(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]
