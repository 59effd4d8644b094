"""The benchmarks run, each with tiny settings; their figures mean nothing then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import latency, shapes, stock, throughput
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from tests.e2e.lab import base_environ
from tests.services import needs

pytestmark = pytest.mark.timeout(240)  # on a machine that others load
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    """Run the benchmarks' command; return what its file says."""

    def run(*arguments: str) -> dict[str, Any]:
        file = tmp_path / "result.json"
        command = [sys.executable, "-m", "benchmarks", "--reps", "1", "--output", str(file), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=base_environ(), capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        assert all(figure["name"][:20] in done.stdout for figure in content["figures"])
        return content

    return run


def names(content: dict[str, Any], system: str) -> set[str]:
    """What was measured of a system."""
    return {figure["name"] for figure in content["figures"] if figure["system"] == system}


def test_chain_beside_its_limit_with_its_budgets(bench: Any) -> None:
    content = bench("--only", "w1", "--tasks", "3", "--store", "sqlite", "--no-stock")
    ratio = next(figure for figure in content["figures"] if figure["name"] == "chain of 3: share of the limit")
    assert ratio["median"] > 0
    assert ratio["budget"] == "≥ 0.6 (≥ 0.45)"
    assert {"SQL complete after the end", "logs archived after the end"} <= names(content, "sqlite")
    assert "time per task" in names(content, "a plain loop")
    assert {"date", "commit", "cores", "cpu", "python", "redis", "kernel"} <= set(content["about"])


def test_stock_rq_does_the_same_graph_each_time() -> None:
    with stock.running("stock SimpleWorker", 30) as theirs:
        for _ in range(2):  # each looks whether all of its own jobs have ended
            outcome = theirs.measure(throughput.graph_of(shapes.fan(2)))
            assert outcome.seconds is not None
            assert (outcome.finished, outcome.tasks) == (4, 4)


def test_stock_rq_is_given_up_at_its_limit() -> None:
    forking, other = throughput.stock_figures("W3", shapes.layers(1), Options(stock_limit=0.001), Report())
    assert (forking.text, forking.values, forking.system) == ("> 0.001 s (stalled)", (), "stock RQ")
    assert other.text == forking.text


def test_fan_on_mariadb(bench: Any) -> None:
    needs("mariadbd", "mariadb-install-db")
    content = bench("--only", "w2", "--tasks", "4", "--store", "mariadb", "--no-stock")
    assert {"fan 1-4-1: share of the limit", "SQL complete after the end"} <= names(content, "mariadb")


def test_growth(bench: Any) -> None:
    content = bench("--only", "w7", "--tasks", "4", "--store", "sqlite", "--no-stock")
    assert {"fan 1-4-1: share of the limit", "fan 1-8-1: share of the limit", "time per task, 8 against 4"} <= names(content, "sqlite")


def test_schedules(bench: Any) -> None:
    content = bench("--only", "w9", "--tasks", "20", "--store", "sqlite", "--no-stock")
    assert {"20 hourly DAGs: a run is made late by, median", "20 DAGs due at once: the last run is made after"} <= names(content, "sqlite")


def test_latency_on_a_running_system() -> None:
    called, commanded = latency.warm_figures(Options(reps=1, tasks=1), Report(), "sqlite")
    assert (len(called.values), len(commanded.values)) == (4, 1)
    assert all(0 < value < 60_000 for value in [*called.values, *commanded.values])


def test_latency_of_the_embedded_default_with_nothing_running() -> None:
    first, again = latency.cold_figures(Options(reps=1, tasks=1), Report())
    assert (len(first.values), len(again.values)) == (1, 0)
    assert 0 < first.values[0] < 60


def test_idle_processes_and_the_price_of_the_shepherd(bench: Any) -> None:
    content = bench("--only", "w5,w8", "--tasks", "10", "--store", "sqlite", "--idle-seconds", "0.5")
    assert {f"memory of {name}" for name in ("scheduler", "worker", "shepherd", "Redis", "worker + shepherd")} <= names(content, "sqlite")
    assert {"CPU of the client a task", "CPU of the shepherd a task"} <= names(content, "shepherd")


def test_big_dag_run_skipped_cancelled_and_forgotten(bench: Any) -> None:
    content = bench("--only", "w6", "--tasks", "12", "--store", "sqlite", "--retention", "2")
    left = next(figure for figure in content["figures"] if figure["name"] == "keys in Redis once forgotten")
    assert left["median"] == 0, left["note"]
    assert {"longest stall of Redis while it is skipped", "longest stall of Redis while it is cancelled, its tasks queued"} <= names(content, "sqlite")


def test_profile_divides_by_process_step_and_function(bench: Any) -> None:
    fan, = bench("--profile", "--only", "w2", "--tasks", "30", "--store", "sqlite")["profiles"]
    assert fan["shape"] == "fan 1-30-1"
    assert {"worker", "shepherd", "scheduler", "Redis", "task processes"} <= set(fan["cpu"])
    assert all(micros > 0 for micros in fan["cpu"].values())
    assert "step turn" in fan["by_step"]
    assert "rqflow.worker.loop:Loop.run" in {name for thread in fan["threads"]["worker"] for name in thread["with_called"]}


def test_budget_has_a_goal_and_a_floor() -> None:
    share, lag = Budget(goal=0.6, floor=0.45, is_least=True), Budget(goal=1.0)
    verdicts = [Figure(workload="W1", name="x", values=[value, value, 9], budget=share).verdict for value in (0.6, 0.5, 0.4)]
    assert verdicts == ["met", "above the floor", "NOT MET"]
    assert [Figure(workload="W1", name="x", values=[value], budget=lag).verdict for value in (1.0, 1.1)] == ["met", "NOT MET"]
    assert Figure(workload="W1", name="x", text="> 60 s (stalled)", budget=lag).verdict == ""
