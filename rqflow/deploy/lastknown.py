"""What the side of the scheduler still knows while the tunnel to Redis and the database is down: the newest runs as they were.

The leading scheduler keeps the copy, one file of its state folder; whoever asks while the tunnel is down reads it. The logs are in its archive.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rqflow import clock
from rqflow.actions import model, query, select
from rqflow.actions.model import Run
from rqflow.broker.broker import Broker
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import RunNotFound, UsageError
from rqflow.recorder.loop import keep_running
from rqflow.settings import Settings
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store.engine import Engine
from rqflow.store.runs import RunFilter

#: How many runs are kept, and for how many seconds after its end a run is still looked at: its last events may not have been recorded.
MOST, SETTLES = 100, 60.0
#: A copy takes at most one part in so many of the time.
_SHARE = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What was known when all was last seen to work."""

    #: The newest first, each with its tasks and their tries.
    runs: Sequence[Run]

    def find(self, text: str) -> Run:
        """Return the run that a RUN argument names; raises RunNotFound, or UsageError when it names several."""
        wanted = select.run_reference(text)
        found = [run for run in self.runs if _is(run, wanted)]
        exact = [run for run in found if text in {run.run_id, run.run_key}] or found
        if not found:
            raise RunNotFound(f"the copy of the {len(self.runs)} newest runs has no run {text}", hint="`rqflow run list` shows those that it has.")
        if len(exact) > 1 and isinstance(wanted, select.ByName):
            raise UsageError(f"{text} names {len(exact)} runs: {', '.join(f'{run.dag_id} {run.run_id}' for run in exact[:5])}")
        return exact[0]

    def matching(self, wanted: RunFilter, *, limit: int | None) -> list[Run]:
        """Return the runs that a list asks for."""
        return [run for run in self.runs if _matches(run, wanted)][:limit]


def _is(run: Run, wanted: select.RunReference) -> bool:
    if isinstance(wanted, select.ByName):
        return run.run_id.startswith(wanted.text) or run.run_key == wanted.text
    if run.dag_id != wanted.dag_id:
        return False
    if isinstance(wanted, select.Latest):
        return not wanted.failed or run.state is RunState.FAILED
    return run.logical_date == wanted.logical_date


def _matches(run: Run, wanted: RunFilter) -> bool:
    made = run.created_at
    if wanted.since is not None and (made is None or made < wanted.since):
        return False
    if wanted.until is not None and (made is None or made >= wanted.until):
        return False
    return (wanted.dag_id in {None, run.dag_id} and (wanted.states is None or run.state in wanted.states)
            and wanted.run_type in {None, run.run_type})


def recall(settings: Settings) -> Known | None:
    """Return what was last known; None where nobody keeps a copy."""
    try:
        records = json.loads(linkage.copy_file(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or of a release that is gone
        return None
    return Known(runs=[model.restored(Run, one) for one in records])


@dataclass
class Copier:
    """Keeps the copy; what has ended, and settled, is asked for once."""

    broker: Broker
    engine: Engine
    settings: Settings
    _kept: dict[str, tuple[RunState, datetime | None, Run]] = field(default_factory=dict)
    _written: str = ""

    def run(self, stop: threading.Event) -> None:
        """Keep it until `stop`."""
        def step() -> None:
            began = clock.monotonic()
            self.step()
            stop.wait(max(self.settings.scheduler.copy_interval.total_seconds(), _SHARE * (clock.monotonic() - began)))

        keep_running(step, stop, name="last known")

    def step(self) -> None:
        """Look once, and write what has changed. Raises what Redis and the database raise."""
        now, kept = self.broker.now(), {}
        for one in query.list_runs(self.broker, self.engine, RunFilter(), limit=MOST):
            state, ended, run = self._kept.get(one.run_key, (None, None, None))
            if run is None or (state, ended) != (one.state, one.ended_at) or not _has_settled(one, now):
                run = query.show(self.broker, self.engine, one.run_key)
            kept[one.run_key] = one.state, one.ended_at, run
        self._kept = kept
        self._write(json.dumps([model.plain(run) for _, _, run in kept.values()]))

    def _write(self, text: str) -> None:
        path = linkage.copy_file(self.settings)
        if text == self._written and path.exists():
            os.utime(path)  # that all was seen to work, now
            return
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
        self._written = text


def _has_settled(run: Run, now: datetime) -> bool:
    return run.state in TERMINAL_RUN_STATES and run.ended_at is not None and (now - run.ended_at).total_seconds() > SETTLES
