"""A hub in this process: a broker that also plays the worker, a history, and a recorder that brings the one into the other."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import redis

from rqflow import clock
from rqflow.actions import submit, trigger
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.recorder.recorder import Recorder
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.settings import Logs, Settings
from rqflow.store import runs
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunRecord
from tests.integration.broker import playing
from tests.unit.builders import A_DATE


class Hub:
    """Redis and a history with one caller."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path) -> None:
        self.db, self.engine = db, engine
        self.settings = Settings(home=home, logs=Logs(folder=str(home / "logs")))
        self.broker = Broker(db, self.settings, caller="w1")
        self.recorder = Recorder(EventStream(db), engine, "r")

    def start(self, version: Version, *, day: int = 0, run_id: str | None = None) -> RunRecord:
        """Register the version, and start a run of it for A_DATE + `day` days."""
        submit.register(self.broker, self.engine, [version])
        at: datetime = A_DATE + timedelta(days=day)
        run = trigger.by_hand(version, trigger.Given(logical_date=at, run_id=run_id), clock.utcnow())
        trigger.start(self.broker, self.engine, run, version, by="ann")
        return self.of(run)

    def of(self, run: RunInfo | RunRecord) -> RunRecord:
        """The run as the history has it."""
        with reading(self.engine) as connection:
            found = runs.get(connection, run.dag_id, run.run_id)
        assert found
        return found

    def states(self, run: RunRecord) -> dict[str, str]:
        """The states of its tasks in Redis."""
        return playing.states(self.broker, run.run_key)

    def record(self) -> None:
        """Bring all that happened into the history."""
        while self.recorder.step(block_ms=0):
            pass

    def forget(self, *found: RunRecord) -> None:
        """Record all, and let Redis forget these runs, which have ended."""
        self.record()
        for run in found:
            self.broker.forget_run(run.run_key)

    def lose_everything(self) -> None:
        """Empty Redis, and put it right from the history."""
        self.record()
        self.db.flushall()
        EpochKeeper(self.broker, self.engine).believe()
