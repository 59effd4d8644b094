"""What the big pages cost, whatever the machine: questions to the database, round trips to Redis, bytes on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import event, insert

from rqflow.actions import submit
from rqflow.dag.run import run_key
from rqflow.recorder.logpath import log_path
from rqflow.store.engine import transaction
from rqflow.store.tables import dag_run, task_instance
from rqflow.web.run_pages import run_pages_of
from tests.integration.web import rooms
from tests.integration.web.site import Site
from tests.unit.builders import A_DATE, a_task, a_version

TASKS, RUNS, DAGS, LINES = 1000, 25, 200, 20_000
LONG_AGO = A_DATE - timedelta(days=1000)


class Costs:
    """What was asked in a block."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.round_trips = 0


@contextmanager
def counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    """Count what the application asks."""
    found, engine = Costs(), site.app.state.parts.lasting.engine()
    send = redis.connection.AbstractConnection.send_packed_command

    def sent(self: redis.connection.AbstractConnection, *args: object, **given: object) -> object:
        found.round_trips += 1
        return send(self, *args, **given)

    def note(*told: object) -> None:
        if not str(told[2]).startswith(("BEGIN", "PRAGMA")):
            found.statements.append(str(told[2]))

    event.listen(engine, "before_cursor_execute", note)
    with monkeypatch.context() as patched:
        patched.setattr(redis.connection.AbstractConnection, "send_packed_command", sent)
        yield found
    event.remove(engine, "before_cursor_execute", note)


def fill(site: Site) -> tuple[str, str]:
    """Write a history of 200 DAGs, of which one has 1,000 tasks, one run of it goes on, and a log; let 20 workers serve 21 queues;

    return the keys of a run that has ended and of that one.
    """
    names = [f"step{n // 200}.sample{n % 200:03}" for n in range(TASKS)]
    wide = a_version({name: [] for name in names}, dag_id="wide", groups={f"step{n}": {} for n in range(5)},
                     specs=[a_task(name, group_id=name.partition(".")[0]) for name in names])
    versions = [wide, *(a_version({"a": []}, dag_id=f"dag{n:03}", tags=(f"tag{n % 5}",), description="One of many.") for n in range(DAGS - 1))]
    submit.register(site.hub.broker, site.engine, versions)
    runs, tasks = [], []
    for version in versions:
        for n in range(RUNS):
            at, key, state = LONG_AGO + timedelta(days=n), run_key(version.dag_id, f"r{n}"), "failed" if n % 7 == 0 else "success"
            runs.append({"run_key": key, "dag_id": version.dag_id, "run_id": f"r{n}", "run_type": "scheduled", "version": version.sha,
                         "logical_date": at, "tick": at, "data_interval_start": at, "data_interval_end": at, "conf": {}, "params": {}, "priority": 0,
                         "note": "", "ignores_past": False, "state": state, "seq": 1, "created_at": at, "started_at": at,
                         "ended_at": at + timedelta(minutes=9)})
            if version is wide:
                tasks += [{"run_key": key, "task_id": name, "task_index": number, "try_number": 1, "max_tries": 1, "seq": 1, "reason": "",
                           "execution_id": "e", "queue": "default", "worker": "w1", "pool": "default_pool", "started_at": at, "ended_at": at,
                           "updated_at": at, "state": "failed" if (n + number) % 17 == 0 else "success"} for number, name in enumerate(names)]
    with transaction(site.engine) as connection:
        connection.execute(insert(dag_run), runs)
        connection.execute(insert(task_instance), tasks)
    for n in range(20):
        rooms.a_worker(site.hub.db, f"host{n}.dir.1", queues=("default", f"queue{n}"))
    file = Path(site.settings.logs.folder, log_path("wide", names[0], LONG_AGO + timedelta(days=3), 1, run_key=""))
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"line {n} of the log of a task\n" for n in range(LINES)))
    return run_key("wide", "r3"), site.hub.start(wide).run_key


def test_big_pages_cost_a_fixed_number_of_questions_and_bytes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, live = fill(site)
    ann = site.browser("ann")
    pieces = {"HX-Request": "true"}
    asked = {
        "home": ("/", {}), "home, a piece": ("/", pieces), "DAG list": ("/dags", {}), "DAG list, a piece": ("/dags", pieces),
        "grid": ("/dags/wide?fold=none", {}), "grid, a piece": ("/dags/wide?fold=none", pieces), "grid, closed": ("/dags/wide", {}),
        "workers": ("/workers", {}), "run": (f"/runs/{ended}", {}), "run, its tasks": (f"/runs/{ended}", pieces | {"HX-Target": "div#tasks"}),
        "live run": (f"/runs/{live}", {}), "live run, its tasks": (f"/runs/{live}", pieces | {"HX-Target": "div#tasks"}),
        "log, a block": (f"/runs/{ended}/logs/step0.sample000/1?format=block&line=9000", {}),
    }
    found = {}
    for name, (path, headers) in asked.items():
        ann.get(path, headers=headers)  # what is kept for the life of the process is kept now
        for run in (ended, live):
            run_pages_of(site.app).forget(run)
        with counted(site, monkeypatch) as costs:
            answer = ann.get(path, headers=headers)
        assert answer.status_code == 200, name
        found[name] = (len(costs.statements), costs.round_trips, -(-int(answer.headers["content-length"]) // 1000))
    assert found == {
        # questions to the database, round trips to Redis, thousands of bytes
        "home": (5, 16, 4), "home, a piece": (5, 16, 2), "DAG list": (7, 4, 26), "DAG list, a piece": (7, 4, 23),
        "grid": (4, 4, 127), "grid, a piece": (4, 4, 124), "grid, closed": (4, 4, 5),
        "workers": (2, 12, 5), "run": (9, 2, 5), "run, its tasks": (9, 2, 1), "live run": (8, 5, 5), "live run, its tasks": (8, 5, 1), "log, a block": (9, 2, 14)}
