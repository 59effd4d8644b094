"""Redis, database and worker inside, the scheduler outside, all through one ssh that the inside starts: how task states used to get lost."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.e2e.evidence import a_dag, words
from tests.e2e.far import CALL
from tests.e2e.lab import Lab, states, tasks
from tests.network import Network
from tests.profile import PATIENCE
from tests.waiting import until

# One world, on a machine that others load.
pytestmark = pytest.mark.timeout(360)
#: Tasks, and how many of them end during each cut.
COUNT, DURING = 50, 14
#: Waits for its turn, and writes the same into its log and beside it.
TURN = "while [ ! -e turn.{turn} ]; do sleep 0.05; done; for n in 1 2 3; do echo $RQFLOW_TASK_ID says $n | tee -a said; done; echo $RQFLOW_TASK_ID >> ended"
DOWN = re.compile(r"hub link down since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \(tunnel hub\)")


def stale(lab: Lab, *arguments: str) -> str:
    """Run a command that can only show what was last known, and says so; return what it printed."""
    done = lab.run(*arguments, code=7)
    assert DOWN.search(done.stderr), done.stderr
    return done.stdout


def test_three_cuts_during_a_run_of_fifty_tasks_leave_both_sides_with_the_same_states_tries_and_logs(
        network: Network, new_lab: Callable[..., Lab], mariadb_database: str) -> None:
    """Reliability 3, 5, 6, 7: while the link is cut the run goes on inside; outside is shown what was known, and since when no more is."""
    inside, outside = network.host("inside"), network.host("outside")
    inside.redis()
    outside.sshd.start()
    inside.may_enter(outside)
    within = new_lab(host=inside, redis_url=inside.redis_url, database_url=mariadb_database,
                     environ={**CALL, "RQFLOW__TUNNELS__HUB": "-R outside redis database"})
    landing = outside.home / ".rqflow/tunnels/hub"
    url = make_url(mariadb_database).update_query_dict({"unix_socket": str(landing / "database.sock")}).render_as_string(hide_password=False)
    without = new_lab(host=outside, environ={**CALL, "RQFLOW__REDIS__URL": f"unix://{landing / 'redis.sock'}", "RQFLOW__DATABASE__URL": url})
    within.run("db", "upgrade")
    within.start("tunnel", "up")
    until(lambda: within.link("hub").state == "up", what="the tunnel")
    scheduler, worker = without.hub(), within.worker("-n", "16")
    run_id = within.submit(a_dag(within, f"[task(f't{{n}}', {TURN!r}.format(turn=n // {DURING})) for n in range({COUNT})]", dag_id="fifty"))
    (within.folder / "turn.0").touch()
    until(lambda: len(words(within, "ended")) == DURING, what="the first tasks to end")
    copy, archive = (without.home / "state/outside" / name for name in ("last-known.json", "logs"))
    until(lambda: len([path for path in archive.rglob("*") if path.is_file() and not path.stat().st_mode & 0o200]) >= DURING, what="the first logs")
    until(lambda: copy.exists() and copy.read_text().count('"success"') > DURING, what="the first tasks to be known outside")

    # What an earlier cut left to be told outside is not waited for: it may be cut again at any time.
    breaking: Mapping[str, Callable[[], None]] = {
        "cut": lambda: network.cut(inside, outside), "reset": lambda: network.reset(inside, outside), "sshd": outside.sshd.kill}
    for turn, (name, cut) in enumerate(breaking.items(), 1):
        cut()
        (within.folder / f"turn.{turn}").touch()
        until(lambda: len(words(within, "ended")) == min((turn + 1) * DURING, COUNT), what="tasks to end during a cut")  # noqa: B023
        if name == "cut":
            shown = json.loads(stale(without, "run", "show", run_id, "-o", "json"))
            assert (shown["run_id"], shown["state"]) == (run_id, "running")
            assert sum(one == "success" for one in states(shown).values()) >= DURING
            assert json.loads(without.run("health", "-o", "json", code=1).stdout)[0]["detail"].startswith("hub link down since 20")
        elif name == "reset":
            assert run_id in stale(without, "run", "list")
            assert stale(without, "task", "logs", run_id, "t0").startswith("t0 says 1\nt0 says 2\nt0 says 3\nrqflow: exit code 0")
        else:
            assert DOWN.search(without.run("dag", "list", code=7).stderr), "whatever has no copy says it too"
        network.heal()
        if name == "sshd":
            outside.sshd.start()
        before = copy.stat().st_mtime_ns
        until(lambda: copy.stat().st_mtime_ns > before, patience=2 * PATIENCE, what="the outside to see all again")  # noqa: B023 (called before the next turn)

    run = within.finish(run_id)
    assert (run["state"], {len(task["tries"]) for task in run["tasks"]}) == ("success", {1})
    assert (scheduler.poll(), worker.poll(), words(within, "doubled")) == (None, None, [])
    until(lambda: logged(without, run_id) == said(within), what="all logs to be outside")
    seen = [_told(lab.json("run", "show", run_id)) for lab in (within, without)]
    assert seen[0] == seen[1]
    assert len(seen[0]) == COUNT
    assert tasks(run).keys() == seen[0].keys()


def _told(run: Mapping[str, Any]) -> dict[str, Any]:
    return {task["task_id"]: (task["state"], task["tries"]) for task in run["tasks"]}


def said(lab: Lab) -> dict[str, list[str]]:
    """Return what each task wrote down beside its log."""
    found = defaultdict(list)
    for task_id, *rest in words(lab, "said"):
        found[task_id].append(" ".join([task_id, *rest]))
    return dict(found)


def logged(lab: Lab, run_id: str) -> dict[str, list[str]]:
    """Return what each task wrote by its log, each that is whole."""
    found, whole = defaultdict(list), set()
    for line in map(json.loads, lab.run("run", "logs", run_id, "-o", "json").stdout.splitlines()):
        if line["line"].startswith("rqflow: exit code 0"):
            whole.add(line["task_id"])
        else:
            found[line["task_id"]].append(line["line"])
    return {task_id: lines for task_id, lines in found.items() if task_id in whole}
