"""A hub with the DAGs of examples/ and some days of runs, for pictures: real processes carry out real tasks; their dates are moved back then."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
import requests
from sqlalchemy import select, update

from benchmarks.browsing import logged_in
from rqflow import clock
from rqflow.actions import query, trigger
from rqflow.actions.model import Run
from rqflow.actions.people import setup
from rqflow.actions.sights import fleet
from rqflow.store import tables
from rqflow.store.engine import transaction
from tests.e2e.lab import Lab
from tests.services import redis_server
from tests.waiting import until

EXAMPLES = Path(__file__).parents[1] / "examples"
#: The person of the pictures; seconds that all runs may take.
PERSON, PATIENCE = "maria", 240.0
#: How many days of runs there are.
DAYS = 24
_ENDED = {"success", "failed", "cancelled"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A web server that has something to show, and who is logged in to it."""

    url: str
    #: As a browser sends it: NAME=VALUE.
    cookie: str
    #: Addresses of pages, by the name of their picture; `strangers` are those for who is not logged in.
    pages: dict[str, str]
    strangers: dict[str, str] = field(default_factory=dict)


@contextmanager
def demo(folder: Path) -> Iterator[Hub]:
    """Run a hub with a history, until the end of the block."""
    (folder / "redis").mkdir()
    with redis_server(folder / "redis", "--appendonly", "yes") as url:
        lab = Lab(folder / "lab", redis_url=url)
        held: list[psutil.Process] = []
        try:
            lab.hub()
            lab.worker("-n", "4")
            server = lab.start("webserver", "-p", "0")
            said = lab.root / f"webserver-{len(lab.processes) - 1}.log"
            until(lambda: "listening on http" in said.read_text() or server.poll() is not None, what="the web server to listen")
            at = re.search(r"listening on (\S+)", said.read_text())
            assert at, said.read_text()
            hub = _filled(lab, at[1])
            held = _hold(lab)
            yield hub
        finally:
            for process in held:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            lab.close()


def _filled(lab: Lab, url: str) -> Hub:
    for name in ("sequencing", "tutorial", "airflow1_style"):
        lab.run("submit", EXAMPLES / f"{name}.py")
    cookie = logged_in(lab.services.engine, PERSON)
    form = Form(url, cookie)
    form.write_rooms()
    broken = lab.folder / "nowhere"
    broken.write_text("a file where a folder should be")
    found: list[tuple[str, datetime]] = []
    luck, now = random.Random(7), clock.utcnow()
    for day in range(DAYS, 0, -1):
        at = (now - timedelta(days=day, hours=-5)).replace(minute=0, second=0, microsecond=0)
        workdir = {"workdir": str(broken)} if day in {17, 9, 1} else {}
        wanted = [("sequencing", at, {"reads": luck.randint(600, 5000), **workdir})]
        if day % 3 == 0:
            wanted.append(("tutorial", at + timedelta(hours=7), {"greeting": luck.choice(["Hello", "Moin", "Grüezi"])}))
        if day <= 12:
            wanted.append(("airflow1_style", at, {}))
        found += [(_start(lab, *one), one[1]) for one in wanted]
    states = until(lambda: _ended(lab, [key for key, _ in found]), patience=PATIENCE, what="the runs to end")
    for key, at in found:
        _move(lab, key, at)
    form.post(f"/runs/{found[-1][0]}/note", note="Checked by hand, all samples are well. See https://lab.example.org/42")
    form.post("/dags/airflow1_style/backfill", first="2026-01-02", last="2026-01-09", max_active="2")
    changed = lab.folder / "tutorial.py"
    changed.write_text((EXAMPLES / "tutorial.py").read_text().replace('"names": ["Ada", "Grace", "Rosalind"]', '"names": ["Ada", "Grace"]'))
    lab.run("submit", changed)
    live = _start(lab, "sequencing", now, {"reads": 60_000})
    until(lambda: any(task.state.value == "running" and "." in task.task_id for task in _shown(lab, live).tasks), patience=PATIENCE,
          what="the last run to be at work")
    dags = {key: _shown(lab, key).dag_id for key, _ in found}
    latest = [key for key, _ in reversed(found)]
    failed = next(key for key in latest if states[key] == "failed")
    tried = next(key for key in latest if dags[key] == "tutorial")
    good = next(key for key in latest if key != failed and dags[key] == "sequencing")
    return Hub(url=url, cookie=cookie, pages=_pages("sequencing", live=live, good=good, failed=failed, tried=tried, task="brain.align",
                                                    bad="reference", again="wobble",
                                                    worker=fleet.workers(lab.services.broker, None)[0].name),
               strangers={"login": "/login", "setup": f"/setup/{setup.make(lab.services.engine, by=PERSON, username='olga').secret}"})


def _shown(lab: Lab, run_key: str) -> Run:
    return query.show(lab.services.broker, lab.services.engine, run_key)


def _hold(lab: Lab) -> list[psutil.Process]:
    """Stop the tasks that run, so that they go on as long as pictures are taken; return their processes."""
    held = []
    for process in {child.pid: child for one in lab.belongings() for child in one.children(recursive=True)}.values():
        with contextlib.suppress(psutil.Error):
            if "RQFLOW_TASK_ID" in process.environ():
                process.suspend()
                held.append(process)
    return held


def _start(lab: Lab, dag_id: str, at: datetime, params: dict[str, object]) -> str:
    broker, engine = lab.services.broker, lab.services.engine
    version = query.find_version(engine, dag_id)
    run = trigger.by_hand(version, trigger.Given(logical_date=at, run_id=None, params=params), clock.utcnow())
    trigger.start(broker, engine, run, version, by=PERSON)
    return run.key


def _ended(lab: Lab, keys: list[str]) -> dict[str, str]:
    """Return the states of these runs in the history, when all have ended there."""
    with lab.services.engine.connect() as connection:
        found = {key: str(getattr(state, "value", state)) for key, state in connection.execute(
            select(tables.dag_run.c.run_key, tables.dag_run.c.state).where(tables.dag_run.c.run_key.in_(keys)))}
    return found if len(found) == len(keys) and set(found.values()) <= _ENDED else {}


def _move(lab: Lab, run_key: str, to: datetime) -> None:
    """Let a run that has ended have been made at another time, and be known to the history alone."""
    with transaction(lab.services.engine) as connection:
        made = connection.execute(select(tables.dag_run.c.created_at).where(tables.dag_run.c.run_key == run_key)).scalar_one()
        for table, names in ((tables.dag_run, ("created_at", "started_at", "ended_at")), (tables.task_try, ("started_at", "ended_at")),
                             (tables.task_instance, ("started_at", "ended_at", "updated_at"))):
            key = list(table.primary_key)
            for row in connection.execute(select(table).where(table.c.run_key == run_key)).mappings().all():
                moved = {name: row[name] + (to - made) for name in names if row[name] is not None}
                connection.execute(update(table).where(*(column == row[column.name] for column in key)).values(**moved))
    lab.services.broker.forget_run(run_key)


class Form:
    """A person who fills in forms."""

    def __init__(self, url: str, cookie: str) -> None:
        """Be logged in by a cookie."""
        self._url = url
        self._client = requests.Session()
        self._client.headers["Cookie"] = cookie

    def post(self, path: str, **filled: str) -> None:
        """Send a form."""
        answer = self._client.post(self._url + path, data=filled, allow_redirects=False, timeout=60)
        assert answer.status_code in {200, 303}, (path, answer.status_code, re.findall(r"<p>(.*?)</p>", answer.text)[:3])

    def write_rooms(self) -> None:
        """Have pools, Variables, Connections, people, tokens."""
        for pool, slots, about in (("sequencer", "2", "The two sequencers in the basement"), ("licences", "8", "Licences of the aligner")):
            self.post("/pools", pool=pool, slots=slots, description=about)
        for key, value, about in (("reference", "GRCh38", "Genome that reads are aligned to"), ("samples", '["liver", "kidney", "spleen"]', ""),
                                  ("mail_to", "lab@example.org", "Who is told of reports")):
            self.post("/variables", key=key, value=value, description=about)
        self.post("/variables", key="api_key", value="s3cr3t-and-long", secret="1", description="Of the archive")
        self.post("/connections", conn_id="warehouse", conn_type="postgres", host="db.example.org", login="lab", password="s3cr3t-and-long",
                  port="5432", schema="results", description="Results of all runs")
        self.post("/connections", conn_id="archive", conn_type="http", host="archive.example.org")
        for name, role, full in (("tom", "operator", "Tom Bauer"), ("ines", "viewer", "Ines Costa")):
            self.post("/users", username=name, role=role, full_name=full, email=f"{name}@example.org")
        self.post("/owners", owner="lab", username="tom")
        self.post("/tokens", name="nightly report", days="90")


def _pages(dag_id: str, *, live: str, good: str, failed: str, tried: str, task: str, bad: str, again: str,
           worker: str) -> dict[str, str]:
    """Return the addresses of all pages for these runs, which are of `dag_id` but `tried`, whose task `again` was tried twice."""
    dag, one, named = f"/dags/{quote(dag_id)}", f"/runs/{good}", f"/runs/{good}/tasks/{quote(task)}"
    return {
        "home": "/", "dags": "/dags", "dags-failing": "/dags?show=failing", "dags-none": "/dags?q=nothing-of-this-name", "grid": dag,
        "grid-open": f"{dag}?fold=none", "graph": f"{dag}/graph", "durations": f"{dag}/durations",
        "durations-task": f"{dag}/durations?task={quote(task)}", "dag-runs": f"{dag}/runs", "code": f"{dag}/code", "details": f"{dag}/details",
        "trigger": f"{dag}/trigger", "backfill-form": "/dags/airflow1_style/backfill?first=2026-11-01&last=2026-11-03", "dag-delete": f"{dag}/delete",
        "bulk": f"{dag}/runs/clear?state=failed", "runs": "/runs", "run": one, "run-live": f"/runs/{live}",
        "run-live-log": f"/runs/{live}/tasks/{quote(task)}", "run-timeline": f"{one}?tab=timeline", "run-params": f"{one}?tab=params",
        "run-events": f"{one}?tab=events", "run-failed": f"/runs/{failed}/tasks/{quote(bad)}",
        "run-again": f"/runs/{tried}/tasks/{quote(again)}", "task-details": f"{named}?tab=details", "task-log": named,
        "task-graph": f"{named}?tab=graph", "task-timeline": f"{named}?tab=timeline", "task-rendered": f"{named}?tab=rendered",
        "task-xcoms": f"{named}?tab=xcoms", "clear": f"/runs/{failed}/clear", "mark": f"/runs/{failed}/mark?task={quote(bad)}",
        "cancel": f"/runs/{live}/cancel", "run-delete": f"{one}/delete", "note": f"{one}/note", "log": f"{one}/logs/{quote(task)}/1",
        "backfills": "/backfills", "backfill": "/backfills/1", "workers": "/workers", "pools": "/pools", "pool-new": "/pool-new",
        "variables": "/variables", "variable-new": "/variable-new", "connections": "/connections", "connection-new": "/connection-new",
        "slas": "/slas", "notices": "/notices", "users": "/users", "user-new": "/user-new", "account": "/account", "tokens": "/tokens",
        "token-new": "/token-new", "sessions": "/sessions", "audit": "/audit", "health": "/health", "search": f"/search?q={quote(task)}",
        "search-none": "/search?q=nothing-of-this-name", "reference": "/api/v1/reference", "not-found": "/dags/none",
        "import": "/variable-import", "clear-task": f"{one}/clear?task={quote(task)}&downstream=1", "kill": f"/runs/{live}/tasks/{quote(task)}/kill",
        "mark-lost": f"/runs/{live}/tasks/{quote(task)}/mark-lost", "backfill-cancel": "/backfills/1/cancel",
        "code-diff": "/dags/tutorial/code?against=1",
        "worker": f"/workers/{quote(worker)}", "worker-stop": f"/workers/{quote(worker)}/stop", "worker-forget": f"/workers/{quote(worker)}/forget",
        "queue-empty": "/queues/default/empty", "queue-requeue": "/queues/default/requeue-failed", "pool": "/pools/sequencer",
        "pool-edit": "/pools/sequencer/edit", "pool-delete": "/pools/sequencer/delete", "variable": "/variables/samples",
        "variable-edit": "/variables/samples/edit", "variable-delete": "/variables/samples/delete", "connection-edit": "/connections/warehouse/edit",
        "connection-delete": "/connections/warehouse/delete", "user-edit": "/users/tom/edit", "user-disable": "/users/tom/disable",
        "user-delete": "/users/tom/delete", "token-revoke": "/tokens/1/revoke", "no-page": "/nothing", "bad-input": "/dags?sort=zebra",
    }
