"""Every command of the groups for DAGs, runs, tasks and control, on one home: -o json, exit codes for bad input, and Airflow 1.7's names and options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from rqflow import settings
from rqflow.actions.people import tokens, users
from rqflow.cli.main import cli, main
from rqflow.deploy.services import open_database
from rqflow.security.roles import Role
from rqflow.web.app import create_app
from tests.integration.cli.conftest import Result, Rqflow, end_all
from tests.integration.web.serving import served
from tests.waiting import until

SOURCE = """
from datetime import datetime
from rqflow import DAG, BashOperator, TaskGroup
with DAG("good", schedule="@daily", start_date=datetime(2026, 1, 1), params={"n": 1}, catchup=False):
    a = BashOperator(task_id="a", bash_command="echo {{ params.n }}")
    with TaskGroup("g"):
        a >> BashOperator(task_id="b", bash_command="echo two")
with DAG("bad", schedule=None):
    BashOperator(task_id="a", bash_command="echo no; false")
with DAG("slow", schedule=None):
    BashOperator(task_id="s", bash_command="trap '' TERM INT; while :; do sleep 0.1; done")
"""
#: Groups whose commands are all to be found below.
GROUPS = ("dag", "run", "task", "backfill", "pool", "queue", "var", "conn", "worker")
RUN = {"dag_id", "run_id", "run_key", "state", "run_type", "logical_date", "started_at", "ended_at", "duration", "conf", "params", "note"}
TASK = {"task_id", "state", "try_number", "max_tries", "reason", "operator", "queue", "pool", "worker", "started_at", "ended_at", "tries"}
TRY = {"try_number", "state", "exit_code", "signal", "worker", "host", "pid", "started_at", "ended_at", "duration", "cpu_seconds", "max_rss_bytes"}
SPEC = {"task_id", "operator", "trigger_rule", "upstream", "queue", "pool", "retries"}
REWRITTEN = {"dag_id", "run_id", "logical_date", "task_id", "state", "done", "reason"}
BACKFILL = {"id", "dag_id", "state", "from_date", "to_date", "total", "succeeded", "failed"}
QUEUE = {"name", "waiting", "running", "failed", "workers", "paused_since"}
WORKER = {"name", "host", "pid", "state", "queues", "labels", "slots", "running"}
POOL = {"name", "slots", "used", "parked", "description"}
#: Commands that show something -> fields that each record of what they print with -o json has. FILE is the file above.
SHOWS: dict[tuple[str, ...], set[str]] = {
    ("dag", "list"): {"dag_id", "schedule", "owner", "tags", "status", "next_run_at", "is_paused", "file", "last_state"},
    ("dag", "list", "--state", "failed"): {"dag_id", "last_state"},
    ("dag", "show", "good"): {"dag_id", "schedule", "tasks"},
    ("dag", "show", "good", "--version", "1", "--at", "2026-01-02"): {"dag_id", "tasks"},
    ("dag", "show", "FILE"): {"file", "dags", "errors", "warnings"},
    ("dag", "source", "good"): {"dag_id", "version", "source"},
    ("dag", "source", "good", "--diff", "1", "1"): {"dag_id", "versions", "diff"},
    ("dag", "graph", "good"): {"dag_id", "nodes", "edges"},
    ("dag", "graph", "good", "--run", "r1", "--collapse", "all"): {"dag_id", "nodes", "edges"},
    ("dag", "validate", "FILE"): {"file", "dags", "errors", "warnings", "unsupported"},
    ("dag", "test", "FILE", "--dag", "good"): {"task_id", "state", "try_number", "exit_code"},
    ("dag", "next", "good", "-n", "2"): {"dag_id", "due_at", "data_interval_start", "data_interval_end", "logical_date", "is_paused"},
    ("run", "list"): RUN,
    ("run", "show", "r1"): RUN | {"tasks"},
    ("run", "show", "r1", "--tasks"): TASK,
    ("run", "watch", "r1"): RUN | {"tasks"},
    ("run", "wait", "r1"): {"dag_id", "run_id", "state"},
    ("run", "note", "r1"): {"dag_id", "run_id", "note"},
    ("run", "report", "r1"): {"dag_id", "run_id", "state", "states", "tries", "cpu_seconds", "max_rss_bytes", "longest", "critical_path"},
    ("run", "start", "good", "--task", "g.*", "--dry-run"): {"dag_id", "run_id", "version", "logical_date", "params", "conf", "tasks"},
    ("task", "list", "good"): SPEC,
    ("task", "list", "r1"): TASK,
    ("task", "show", "r1", "a"): TASK,
    ("task", "show", "r1", "a", "--try", "1"): TRY,
    ("task", "render", "good", "a", "2026-01-02", "--env"): {"field", "value"},
    ("task", "render", "r1", "a"): {"field", "value"},
    ("task", "test", "FILE", "a", "--dag", "good"): {"task_id", "state", "try_number", "exit_code"},
    ("task", "why", "r1", "a"): {"task_id", "state", "reason"},
    ("why", "s1"): set(),
    ("backfill", "list"): BACKFILL,
    ("backfill", "show", "good"): BACKFILL | {"active_runs", "failed_runs"},
    ("backfill", "start", "good", "--from", "2026-03-01", "--to", "2026-03-02", "--dry-run"): {"logical_date", "deed", "run_id", "tasks"},
    ("pool", "list"): POOL,
    ("pool", "get", "p"): POOL,
    ("queue", "list"): QUEUE,
    ("var", "list"): {"key", "value", "is_secret", "description"},
    ("var", "get", "x"): {"key", "value", "is_secret", "description"},
    ("conn", "list"): {"conn_id", "conn_type", "host", "port", "schema", "login", "password", "extra"},
    ("conn", "get", "c"): {"conn_id", "conn_type", "host", "port", "schema", "login", "password", "extra"},
    ("conn", "test", "c"): {"conn_id", "works", "message"},
    ("worker", "list"): WORKER,
    ("worker", "show", "WORKER"): WORKER | {"tasks", "paused_since"},
    ("top",): {"at", "runs", "running", "workers", "queues", "tasks"},
}
LINE = {"task_id", "try_number", "at", "line"}
#: Commands that print streams, an object a line.
STREAMS: dict[tuple[str, ...], set[str]] = {
    ("run", "logs", "r1"): LINE, ("run", "logs", "r1", "--merge"): LINE, ("run", "logs", "r1", "--merge", "-f"): LINE,
    ("task", "logs", "r1", "a"): LINE, ("task", "logs", "r1", "a", "--timestamps", "--since", "1h", "--tail", "1"): LINE,
}
#: What is done, in this order -> exit code, fields of what is printed with -o json. TMP is a folder.
DEEDS: list[tuple[tuple[str, ...], int, set[str]]] = [
    (("pool", "set", "q", "2"), 0, POOL), (("pool", "export", "TMP/pools.json"), 0, {"file", "number"}), (("pool", "delete", "q"), 0, {"name"}),
    (("pool", "import", "TMP/pools.json"), 0, POOL),
    (("var", "set", "y", "1"), 0, {"key"}), (("var", "export", "TMP/vars.json"), 0, {"file", "number"}), (("var", "delete", "y"), 0, {"key"}),
    (("var", "import", "TMP/vars.json"), 0, {"key"}),
    (("conn", "set", "d", "mysql://h/d"), 0, {"conn_id"}), (("conn", "export", "TMP/conns.json"), 0, {"file", "number"}),
    (("conn", "delete", "d"), 0, {"conn_id"}), (("conn", "import", "TMP/conns.json"), 0, {"conn_id"}),
    (("dag", "pause", "good"), 0, {"dag_id", "is_paused", "changed"}), (("dag", "unpause", "good"), 0, {"dag_id", "is_paused", "changed"}),
    (("dag", "sync"), 0, set()), (("dag", "chown", "bad", "root"), 0, {"dag_id", "submitted_by"}),
    (("dag", "share", "good", "--everyone"), 0, {"dag_id", "username"}), (("dag", "unshare", "good", "--everyone"), 0, set()),
    (("run", "note", "r1", "seen"), 0, {"dag_id", "run_id", "note"}),
    (("run", "retry", "b1", "--dry-run"), 0, REWRITTEN), (("run", "clear", "bad", "--dry-run"), 0, REWRITTEN),
    (("run", "mark", "b1", "success", "--dry-run"), 0, REWRITTEN),
    (("task", "clear", "b1", "a", "--dry-run"), 0, REWRITTEN), (("task", "mark", "b1", "a", "skipped", "--yes"), 0, REWRITTEN),
    (("run", "report", "r1", "--html", "TMP/r.html", "--trace", "TMP/r.csv", "--gantt", "TMP/r.svg"), 0, {"kind", "file"}),
    (("queue", "pause", "default"), 0, QUEUE),
    (("run", "start", "good", "--run-id", "r2", "--at", "2026-02-02"), 0, {"dag_id", "run_id", "logical_date"}),
    (("run", "exec", "--", "true"), 0, {"dag_id", "run_id", "logical_date"}),
    (("queue", "empty", "default", "--yes"), 0, {"dag_id", "run_id", "task_id"}),
    (("backfill", "start", "good", "--from", "2026-01-01", "--to", "2026-01-03"), 0, BACKFILL),
    (("backfill", "pause", "good"), 0, {"id", "dag_id", "state", "changed"}), (("backfill", "resume", "good"), 0, {"id", "dag_id", "state", "changed"}),
    (("backfill", "cancel", "good"), 0, {"id", "dag_id", "state", "changed"}),
    (("queue", "resume", "default"), 0, QUEUE), (("queue", "requeue-failed", "default", "--dry-run"), 0, set()),
    (("task", "kill", "s1", "s", "--signal", "INT", "--grace", "1m"), 0, {"dag_id", "run_id", "task_id", "state"}),
    (("run", "cancel", "s1", "--force"), 0, {"dag_id", "run_id", "state"}), (("run", "wait", "s1"), 1, {"dag_id", "run_id", "state"}),
    (("run", "delete", "r2", "--yes"), 0, {"dag_id", "run_id", "is_gone"}), (("dag", "delete", "bad", "--yes"), 0, {"dag_id", "is_gone"}),
    (("worker", "pause", "WORKER"), 0, WORKER), (("worker", "resume", "WORKER"), 0, WORKER),
    (("worker", "drain", "WORKER", "--wait"), 0, WORKER), (("run", "exec", "--follow", "--", "true"), 0, RUN), (("worker", "stop", "WORKER", "--wait", "--timeout", "20s"), 0, WORKER),
]
#: What a hub elsewhere is told to do, and takes back, in this order.
AWAY_DEEDS: list[tuple[tuple[str, ...], int, set[str]]] = [
    *DEEDS[:12], (("dag", "pause", "good"), 0, {"dag_id", "is_paused", "changed"}), (("dag", "unpause", "good"), 0, {"dag_id", "is_paused", "changed"}),
    (("dag", "share", "good", "--everyone"), 0, {"dag_id", "username"}), (("dag", "unshare", "good", "--everyone"), 0, set()),
    (("run", "note", "r1", ""), 0, {"dag_id", "run_id", "note"}),
    (("run", "retry", "b1", "--dry-run"), 0, REWRITTEN), (("run", "clear", "bad", "--dry-run"), 0, REWRITTEN),
    (("run", "mark", "b1", "success", "--dry-run"), 0, REWRITTEN), (("task", "clear", "b1", "a", "--dry-run"), 0, REWRITTEN),
    (("run", "report", "r1", "--html", "TMP/r.html", "--trace", "TMP/r.csv", "--gantt", "TMP/r.svg"), 0, {"kind", "file"}),
    (("queue", "pause", "default"), 0, QUEUE), (("run", "start", "good", "--run-id", "r9", "--at", "2026-02-09"), 0, {"dag_id", "run_id", "logical_date"}),
    (("backfill", "start", "good", "--from", "2026-05-01", "--to", "2026-05-02"), 0, BACKFILL),
    (("backfill", "pause", "good"), 0, {"id", "dag_id", "state", "changed"}), (("backfill", "resume", "good"), 0, {"id", "dag_id", "state", "changed"}),
    (("backfill", "cancel", "good"), 0, {"id", "dag_id", "state", "changed"}),
    (("run", "cancel", "r9"), 0, {"dag_id", "run_id", "state"}), (("run", "wait", "r9"), 1, {"dag_id", "run_id", "state"}),
    (("run", "delete", "r9", "--yes"), 0, {"dag_id", "run_id", "is_gone"}),
    (("queue", "resume", "default"), 0, QUEUE), (("queue", "requeue-failed", "default", "--dry-run"), 0, set()),
    (("worker", "pause", "WORKER"), 0, WORKER), (("worker", "resume", "WORKER"), 0, WORKER),
    (("user", "list"), 0, {"username", "role"}), (("token", "list"), 0, {"id", "name"}), (("audit", "list"), 0, {"at", "who", "event"}),
    (("notice", "list"), 0, set()), (("sla", "list"), 0, set()), (("doctor", "good"), 0, {"question", "verdict"}), (("health",), 0, {"component", "state"}),
]
#: Bad input -> exit code, part of the message. Commands that are not here have their rows in test_exit_codes.py.
WRONG: dict[tuple[str, ...], tuple[int, str]] = {
    ("dag", "list", "--state", "lost"): (2, "Invalid value for '--state'"),
    ("dag", "source", "nope"): (3, "there is no DAG nope"),
    ("dag", "source", "good", "--version", "9"): (3, "good has no version 9"),
    ("dag", "show", "good", "--at", "soon"): (2, "is no time"),
    ("dag", "graph", "nope"): (3, "there is no DAG nope"),
    ("dag", "graph", "good", "--run", "nope"): (3, "there is no run nope"),
    ("dag", "graph", "good", "--run", "b1"): (2, "run b1 is of bad, not of good"),
    ("dag", "graph", "good", "--format", "gif"): (2, "Invalid value"),
    ("dag", "graph", "good", "-O", "/proc/no/x"): (2, "-O /proc/no/x"),
    ("dag", "graph", "FILE"): (2, "Name one with --dag."),
    ("dag", "next", "nope"): (3, "there is no DAG nope"),
    ("dag", "next", "good", "-n", "0"): (2, "Invalid value"),
    ("dag", "pause", "nope"): (3, "there is no DAG nope"),
    ("dag", "unpause", "nope"): (3, "there is no DAG nope"),
    ("dag", "unpause", "good", "--catchup", "some"): (2, "neither a number"),
    ("dag", "unpause", "--all", "good"): (2, "name the DAGs, or say --all"),
    ("dag", "test", "FILE"): (2, "Name one with --dag."),
    ("dag", "test", "FILE", "--dag", "bad"): (1, "a: failed"),
    ("dag", "test", "good", "--task", "nope"): (3, "good has no task nope"),
    ("dag", "validate", "TMP/broken.py"): (6, "broken.py:1:"),
    ("run", "start", "nope"): (3, "there is no DAG nope"),
    ("run", "start", "good", "--run-id", "r1"): (5, "good has a run r1 already"),
    ("run", "start", "good", "--task", "nope"): (3, "good has no task nope"),
    ("run", "start", "good", "-p", "x"): (2, "write it as name=value"),
    ("run", "start", "good", "-c", "{"): (2, "is no JSON"),
    ("run", "start", "good", "--timeout", "1s"): (2, "Add --watch or --wait."),
    ("run", "exec", "-Q", "", "true"): (2, "queue"),
    ("run", "list", "--state", "lost"): (2, "Invalid value"),
    ("run", "show", "s1", "--exit-status"): (8, "run s1 is running"),
    ("run", "show", "b1", "--exit-status"): (1, ""),
    ("run", "show", "good@2020-01-01"): (3, "there is no run good@2020-01-01"),
    ("run", "watch", "nope"): (3, "there is no run nope"),
    ("run", "watch", "s1", "--timeout", "200ms"): (124, "has not ended within 0.2 s"),
    ("run", "wait", "b1"): (1, ""),
    ("run", "wait", "s1", "--timeout", "200ms"): (124, "has not ended within 0.2 s"),
    ("run", "wait", "s1", "--timeout", "soon"): (2, "is no duration"),
    ("run", "logs", "r1", "--task", "nope"): (3, "good has no task nope"),
    ("run", "logs", "r1", "--failed", "-f"): (2, "--failed asks for what is over"),
    ("run", "cancel", "r1"): (5, "run r1 of good has ended: success"),
    ("run", "cancel", "s1", "--force", "--grace", "1s"): (2, "--force is KILL at once"),
    ("run", "cancel", "s1", "--grace", "long"): (2, "is no duration"),
    ("run", "retry", "r1", "--from", "nope", "--yes"): (3, "good has no task nope"),
    ("run", "retry", "b1"): (2, "Add --yes."),
    ("run", "clear", "good", "--since", "then"): (2, "is no time"),
    ("run", "mark", "b1", "success"): (2, "Add --yes."),
    ("run", "delete", "r1"): (2, "Add --yes."),
    ("run", "report", "nope"): (3, "there is no run nope"),
    ("run", "report", "r1", "--html", "-", "--trace", "-"): (2, "can go to stdout"),
    ("run", "report", "r1", "--html", "/proc/no/x"): (2, "/proc/no/x cannot be written"),
    ("task", "list", "good", "--state", "failed"): (2, "asks for the tasks of a run"),
    ("task", "show", "r1", "nope"): (3, "has no task nope"),
    ("task", "show", "r1", "a", "--try", "9"): (3, "has had no try 9"),
    ("task", "logs", "r1", "nope"): (3, "has no task nope"),
    ("task", "logs", "r1", "a", "--try", "9"): (3, "there is no log of a, try 9"),
    ("task", "logs", "r1", "a", "--since", "then"): (2, "is no time"),
    ("task", "logs", "r1", "a", "--grep", "("): (2, "is no regular expression"),
    ("task", "logs", "r1", "a", "--grep", "nothing"): (1, ""),
    ("task", "clear", "r1", "nope", "--yes"): (3, "has no task nope"),
    ("task", "clear", "s1", "s", "--yes"): (5, "s cannot be cleared now"),
    ("task", "mark", "r1", "a", "lost"): (2, "Invalid value"),
    ("task", "kill", "nope", "a"): (3, "there is no run nope"),
    ("task", "kill", "r1", "a"): (5, "has ended"),
    ("task", "kill", "s1", "s", "--signal", "BOO"): (2, "is none of TERM"),
    ("task", "kill", "s1", "s", "--signal", "INT", "--force"): (2, "--force is KILL at once"),
    ("task", "why", "nope", "a"): (3, "nope"),
    ("task", "why", "r1", "nope"): (3, "has no task nope"),
    ("task", "run-now", "nope", "a"): (3, "there is no run nope"),
    ("task", "run-now", "r1", "a"): (5, "a of run r1"),
    ("task", "mark-lost", "nope", "a"): (3, "there is no run nope"),
    ("task", "mark-lost", "s1", "s"): (5, "which is heard of"),
    ("task", "render", "good", "nope"): (3, "good has no task nope"),
    ("task", "render", "good", "a", "soon"): (2, "is no time"),
    ("task", "test", "FILE", "a", "--dag", "bad"): (1, "a: failed"),
    ("task", "test", "good", "nope"): (3, "good has no task nope"),
    ("task", "run", "good", "nope", "2026-01-01"): (3, "good has no task nope"),
    ("backfill", "start", "nope", "--from", "2026-01-01", "--to", "2026-01-02"): (3, "there is no DAG nope"),
    ("backfill", "start", "good", "--from", "2026-01-01"): (2, "--to is missing"),
    ("backfill", "start", "good", "--from", "2026-01-02", "--to", "2026-01-01"): (2, "2026-01-01"),
    ("backfill", "list", "--state", "lost"): (2, "Invalid value"),
    ("backfill", "show", "nope"): (3, "nope"),
    ("backfill", "pause", "99"): (3, "99"),
    ("backfill", "resume", "99"): (3, "99"),
    ("backfill", "cancel", "99"): (3, "99"),
    ("pool", "set", "p", "many"): (2, "is not a valid integer"),
    ("pool", "import", "TMP/half.json"): (2, "a name has 1 to 250 characters"),
    ("pool", "get", "half"): (3, "there is no pool half"),
    ("pool", "export", "/proc/no/x"): (2, "/proc/no/x cannot be written"),
    ("queue", "list", "--fields", "nope"): (2, "there is no field nope"),
    ("var", "export", "/proc/no/x"): (2, "/proc/no/x cannot be written"),
    ("conn", "export", "/proc/no/x"): (2, "/proc/no/x cannot be written"),
    ("conn", "import", "/absent.json"): (2, "there is no such file"),
    ("worker", "forget", "nope"): (3, "nope"),
    ("run", "list", "-L", "99999999999999999999"): (2, "is not in the range from 1 to"),
    ("run", "start", "good", "--at", "0001-01-01"): (2, "the year is from 1000 to 9000"),
    ("run", "start", "good", "--priority", "99999999999999999999"): (2, "is not in the range"),
    ("dag", "show", "good", "--version", "99999999999999999999"): (2, "is not in the range from 1 to"),
    ("task", "logs", "r1", "a", "--tail", "99999999999999999999"): (2, "is not in the range from 0 to"),
    ("pool", "set", "p", "99999999999"): (2, "2147483647 at most"),
    ("dag", "graph", ""): (3, "there is no DAG"),
    ("var", "set", "n", "NaN", "--json"): (2, "NaN is no value of JSON"),
    ("top", "--interval", "1ms"): (2, "is too short"),
    ("top", "--fields", "nope"): (2, "there is no field nope"),
    ("why", "nope"): (3, "nope"),
}
DATE = "2026-01-02"
#: Commands of Airflow 1.7 with all of the options that it had there, in this order -> exit code, what they are called now, part of stdout.
OLD: list[tuple[tuple[str, ...], int, str, str]] = [
    (("initdb",), 0, "db upgrade", ""), (("upgradedb",), 0, "db upgrade", ""),
    (("list_dags",), 0, "dag list", "good"), (("list_dags", "-sd", "FILE", "-r"), 0, "dag list", "SECONDS"),
    (("list_dags", "--subdir", "FILE", "--report", "-o", "name"), 0, "dag list", "bad\ngood\nslow\n"),
    (("list_tasks", "good", "-t", "-sd", "FILE"), 0, "task list", "  g.b"), (("list_tasks", "good", "--tree"), 0, "task list", "  g.b"),
    (("trigger_dag", "good", "-sd", "FILE", "-r", "t1", "-c", '{"k": 1}', "-e", DATE), 0, "run start", ""),
    (("trigger_dag", "good", "--subdir", "FILE", "--run_id", "t2", "--conf", "{}", "--exec_date", "2026-01-03"), 0, "run start", ""),
    (("trigger_dag", "nope"), 3, "run start", ""), (("trigger_dag", "good", "-c", "{"), 2, "run start", ""),
    (("dag_state", "good", DATE, "-sd", "FILE"), 0, "run show", ""), (("dag_state", "good", "2020-01-01"), 0, "run show", "None\n"),
    (("dag_state", "good", DATE, "-o", "json"), 0, "run show", '"dag_id": "good"'), (("dag_state", "nope", DATE), 3, "run show", ""),
    (("task_state", "good", "a", DATE, "--subdir", "FILE"), 0, "task show", ""), (("task_state", "good", "nope", DATE), 3, "task show", ""),
    (("task_failed_deps", "good", "a", DATE, "-sd", "FILE"), 0, "why", ""), (("task_failed_deps", "good", "nope", DATE), 3, "why", ""),
    (("render", "good", "a", DATE, "-sd", "FILE"), 0, "task render", "echo 1"), (("render", "good", "a", "soon"), 2, "task render", ""),
    (("test", "good", "a", DATE, "-sd", "FILE", "-dr"), 0, "task test", "echo 1"),
    (("test", "good", "a", DATE, "--subdir", "FILE", "--task_params", '{"n": 7}'), 0, "task test", "7\n"),
    (("test", "bad", "a", DATE, "--dry_run"), 0, "task test", "false"), (("test", "bad", "a", DATE), 1, "task test", "no\n"),
    (("test", "good", "a", DATE, "-tp", "{"), 2, "task test", ""),
    (("run", "good", "a", DATE, "-sd", "FILE", "-f", "--pool", "p", "--cfg_path", "x", "-l", "-A", "-i", "-I", "--ship_dag", "-p", "1"),
     0, "task test", "1\n"),
    (("run", "good", "a", DATE, "--subdir", "FILE", "--force", "--local", "--ignore_all_dependencies", "--ignore_dependencies",
      "--ignore_depends_on_past", "--pickle", "1"), 0, "task test", "1\n"),
    (("pause", "good", "-sd", "FILE"), 0, "dag pause", ""), (("unpause", "good", "--subdir", "FILE"), 0, "dag unpause", ""),
    (("pause", "nope"), 3, "dag pause", ""), (("unpause", "nope"), 3, "dag unpause", ""),
    (("clear", "good", "-t", "^a$", "-s", "2020-01-01", "-e", "2020-01-05", "-sd", "FILE", "-u", "-d", "-c", "-f", "-x"), 0, "run clear", ""),
    (("clear", "good", "--task_regex", "^a$", "--start_date", "2020-01-01", "--end_date", "2020-01-05", "--subdir", "FILE", "--upstream",
      "--downstream", "--no_confirm", "--only_running", "--exclude_subdags"), 0, "run clear", ""),
    (("clear", "nope", "-c"), 3, "run clear", ""), (("clear", "good", "-t", "(", "-c"), 2, "run clear", ""),
    (("backfill", "good", "-s", "2026-03-01", "-e", "2026-03-02", "-sd", "FILE", "-t", "^a$", "-l", "-x", "-a", "-i", "-I", "--pool", "p", "-dr"),
     0, "backfill start", "2026-03-01"),
    (("backfill", "good", "--start_date", "2026-03-01", "--end_date", "2026-03-02", "--subdir", "FILE", "--task_regex", "a", "--local",
      "--donot_pickle", "--include_adhoc", "--ignore_dependencies", "--ignore_first_depends_on_past", "--dry_run"), 0, "backfill start", "2026-03-02"),
    (("backfill", "good", "-s", "2026-03-01", "-e", "2026-03-02", "-m"), 0, "backfill start", ""),
    (("backfill", "nope", "-s", "2026-03-01"), 3, "backfill start", ""), (("backfill", "good", "-s", "soon"), 2, "backfill start", ""),
    (("variables", "-s", "k", "5"), 0, "var set", ""), (("variables", "-g", "k"), 0, "var get", "5\n"), (("variables", "-g", "k", "-j"), 0, "var get", "5\n"),
    (("variables", "--get", "nope", "--default", "7"), 0, "var get", "7\n"), (("variables", "-g", "nope"), 3, "var get", ""),
    (("variables", "-e", "TMP/old.json"), 0, "var export", ""), (("variables", "-x", "k"), 0, "var delete", ""),
    (("variables", "--import", "TMP/old.json"), 0, "var import", ""), (("variables",), 0, "var list", "k\n"),
    (("variables", "-i", "/absent.json"), 2, "var import", ""),
    (("connections", "-a", "--conn_id", "o", "--conn_uri", "mysql://u:p@h/d", "--conn_extra", "{}"), 0, "conn set", ""),
    (("connections", "--add", "--conn_id", "o2", "--conn_type", "mysql", "--conn_host", "h", "--conn_login", "u", "--conn_password", "p",
      "--conn_schema", "d", "--conn_port", "3306"), 0, "conn set", ""),
    (("connections", "-l"), 0, "conn list", "o2"), (("connections", "-d", "--conn_id", "o"), 0, "conn delete", ""),
    (("connections", "--delete", "--conn_id", "nope"), 3, "conn delete", ""), (("connections", "-a"), 2, "", ""),
    (("pool", "-s", "old", "3", "of old"), 0, "pool set", "old: 3 slots"), (("pool", "-g", "old"), 0, "pool get", "old: 3 slots"),
    (("pool", "-x", "old"), 0, "pool delete", ""), (("pool", "-g", "old"), 3, "pool get", ""), (("pool", "--set", "old", "x", ""), 2, "pool set", ""),
    (("run", "good", "a", DATE, "-m"), 0, "task test", ""), (("run", "good", "nope", DATE, "--mark_success"), 3, "task test", ""),
    (("delete_dag", "nope", "-y"), 3, "dag delete", ""), (("resetdb",), 2, "db reset", ""),
]


#: Fields that the reference has.
DOCUMENTED = set(re.findall(r"`(\w+)`", (Path(__file__).parents[3] / "docs" / "reference" / "json.md").read_text(encoding="utf-8")))


class World:
    """The home and what stands for the words in capitals in the tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"

    def words(self, words: tuple[str, ...]) -> list[str]:
        """The words of a table with paths and names for those in capitals."""
        return [str(self.folder / "w.py") if word == "FILE" else word.replace("TMP/", f"{self.folder}/") for word in words]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A home with DAGs, of which good and bad have run and slow runs, with a pool, a Variable, a Connection and a backfill."""
    made = World(tmp_path_factory.mktemp("every"))
    (made.home / "dags").mkdir(parents=True)
    (made.folder / "w.py").write_text(SOURCE)
    (made.folder / "half.json").write_text('{"half": 1, " ": 2}')
    (made.folder / "broken.py").write_text("with DAG(:\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SCHEDULER__IDLE_EXIT": "60s", "WORKER__SHEPHERD_LINGER": "300ms", "REDIS__EMBEDDED_LINGER": "500ms"}.items():
            patch.setenv(f"RQFLOW__{name}", value)
        for words, code in [
            (("submit", "FILE", "--no-follow"), 0), (("pool", "set", "p", "3"), 0), (("var", "set", "x", "1"), 0),
            (("conn", "set", "c", "--type", "sqlite", "--host", ":memory:"), 0), (("run", "start", "slow", "--run-id", "s1"), 0),
            (("run", "start", "good", "--run-id", "r1", "--wait"), 0), (("run", "start", "bad", "--run-id", "b1", "--wait"), 1),
            (("backfill", "start", "good", "--from", "2026-02-01", "--to", "2026-02-02", "-m", "--wait"), 0),
        ]:
            assert main(["--home", str(made.home), *made.words(words)]) == code, words
        yield made
        main(["--home", str(made.home), "run", "cancel", "s1", "--force"])
        main(["--home", str(made.home), "run", "wait", "s1"])
    end_all(made.home)


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[tuple[str, str]]:
    """The web server of that home, and the token of an administrator."""
    found = settings.load(home=world.home)
    with open_database(found) as engine:
        users.add(engine, "ann", role=Role.ADMIN, by="test")
        token = tokens.make(engine, "ann", name="laptop", by="ann").text
    app = create_app(found)
    with served(app) as url:
        yield url, token
    app.state.parts.close()


@pytest.fixture
def away(world: World, site: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rqflow:
    """Calls the command line on another machine with --server."""
    monkeypatch.setenv("RQFLOW_TOKEN", site[1])

    def call(*words: str) -> Result:
        if "WORKER" in words:
            name = json.loads(call("worker", "list", "-o", "json").out)[0]["name"]
            words = tuple(name if word == "WORKER" else word for word in words)
        code = main(["--home", str(tmp_path / "laptop"), "--server", site[0], *world.words(words)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def rqflow(world: World, capsys: pytest.CaptureFixture[str]) -> Rqflow:
    """Calls the command line with that home."""

    def call(*words: str) -> Result:
        if "WORKER" in words:
            name = until(lambda: json.loads(call("worker", "list", "-o", "json").out), what="a worker to register")[0]["name"]
            words = tuple(name if word == "WORKER" else word for word in words)
        code = main(["--home", str(world.home), *world.words(words)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def records(text: str) -> list[dict[str, Any]]:
    """The records of a JSON text: a list of them, or one."""
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the groups, and those that are in none."""
    context = click.Context(cli)
    for name in GROUPS:
        group = cli.get_command(context, name)
        assert isinstance(group, click.Group)
        yield from (((name, sub), command) for sub, command in group.commands.items() if not command.hidden and sub != "formerly")
    for name in ("top", "why"):
        command = cli.get_command(context, name)
        assert command is not None
        yield (name,), command


def test_no_command_is_left_out_here() -> None:
    there = {words for words, _ in commands()}
    shown = {words[:2] for words in (*SHOWS, *STREAMS, *(words for words, _, _ in DEEDS))} | {("why",), ("top",)}
    # Their success takes what other tests make: a retry that waits, a machine that is gone, another machine.
    assert there - shown == {("task", "run-now"), ("task", "mark-lost"), ("worker", "forget"), ("worker", "join"), ("worker", "add"), ("worker", "bootstrap"),
                             ("worker", "sudoers"), ("dag", "sign")}


def test_every_command_has_an_output_for_programs() -> None:
    lacking = [words for words, command in commands() if not any("-o" in parameter.opts for parameter in command.params)]
    assert lacking == [("worker", "bootstrap"), ("worker", "sudoers")]  # all of it is for a program: sh, sudo


@pytest.mark.parametrize("words", SHOWS, ids=" ".join)
def test_what_is_shown_is_json_with_its_fields(words: tuple[str, ...], rqflow: Rqflow) -> None:
    result = rqflow(*words, "-o", "json")
    assert result.code == 0, result
    found = records(result.out)
    assert found
    for one in found:
        assert SHOWS[words] - one.keys() == set()
        assert one.keys() - DOCUMENTED == set(), "docs/reference/json.md has all"
    if "--fields" not in result.err and words[1:2] not in [("graph",), ("validate",)]:
        name = next(iter(found[0]))
        assert [list(one) for one in records(rqflow(*words, "-o", "json", "--fields", name).out)] == [[name]] * len(found)
        wrong = rqflow(*words, "-o", "json", "--fields", "nope")
        assert (wrong.code, wrong.out, wrong.err.startswith("rqflow: --fields: there is no field nope\n")) == (2, "", True)


@pytest.mark.parametrize("words", [words for words in SHOWS if words[1:2] not in [("graph",), ("validate",), ("test",)]], ids=" ".join)
def test_what_is_shown_is_a_table_for_people(words: tuple[str, ...], rqflow: Rqflow) -> None:
    result = rqflow(*words, "-o", "wide")
    assert (result.code, bool(result.out) or "--diff" in words, "Traceback" in result.err) == (0, True, False), result


@pytest.mark.parametrize("words", STREAMS, ids=" ".join)
def test_streams_are_an_object_a_line(words: tuple[str, ...], rqflow: Rqflow) -> None:
    result = rqflow(*words, "-o", "json")
    assert result.code == 0, result
    found = [json.loads(line) for line in result.out.splitlines()]
    assert found
    assert all(one.keys() >= STREAMS[words] for one in found)
    assert rqflow(*words).out


#: What differs from call to call, or is told of the machine on which it is called.
MOVING = {("worker", "list"), ("worker", "show"), ("top",), ("queue", "list"), ("dag", "test"), ("task", "test"), ("run", "start"), ("conn", "test")}
#: Bad input of which a hub elsewhere is not asked, or that it answers in its own words.
OWN_WORDS = {("dag", "source", "good", "--version", "9"), ("dag", "graph", "")}


@pytest.mark.parametrize("words", [words for words in SHOWS if "FILE" not in words or words[1] == "validate"], ids=" ".join)
def test_a_hub_elsewhere_shows_the_same(words: tuple[str, ...], rqflow: Rqflow, away: Rqflow) -> None:
    result = away(*words, "-o", "json")
    assert result.code == 0, result
    found = records(result.out)
    assert found
    assert all(SHOWS[words] <= one.keys() for one in found)
    if words[:2] not in MOVING:
        assert json.loads(result.out) == json.loads(rqflow(*words, "-o", "json").out)


@pytest.mark.parametrize("words", STREAMS, ids=" ".join)
def test_a_hub_elsewhere_streams_the_same(words: tuple[str, ...], rqflow: Rqflow, away: Rqflow) -> None:
    result = away(*words, "-o", "json")
    lines, here = ([json.loads(line) for line in one.out.splitlines()] for one in (result, rqflow(*words, "-o", "json")))
    # The times of what is followed are those at which it was seen.
    assert [{**line, "at": None} for line in lines] == [{**line, "at": None} for line in here]
    assert lines


@pytest.mark.parametrize("words", [words for words, (code, _) in WRONG.items() if code != 2], ids=" ".join)
def test_a_hub_elsewhere_refuses_the_same(words: tuple[str, ...], away: Rqflow) -> None:
    code, message = WRONG[words]
    result = away(*words)
    assert (result.code, "Traceback" in result.err, result.err.count("rqflow: ") <= 1) == (code, False, True), result
    assert message in result.err + result.out or words in OWN_WORDS, result


def test_a_hub_elsewhere_does_the_same(away: Rqflow) -> None:
    for words, code, fields in AWAY_DEEDS:
        result = away(*words[:2], "-o", "json", *words[2:])
        assert (result.code, "Traceback" in result.err) == (code, False), (words, result)
        found = records(result.out) if result.out else []
        assert found or not fields, words
        assert all(fields <= one.keys() for one in found), (words, found)


def test_a_file_is_loaded_here_and_runs_elsewhere(away: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "sent.py"
    file.write_text('from rqflow import DAG, BashOperator, Variable\nwith DAG("sent", schedule=None):\n'
                    '    BashOperator(task_id="t", bash_command=f"echo x is {Variable.get(\'x\')}")\n')
    result = away("submit", str(file), "--run", "--run-id", "sent1", "--follow")
    assert (result.code, "run sent1 of sent: success" in result.err) == (0, True), result
    assert away("task", "logs", "sent@latest", "t").out.startswith("x is 1\n")
    assert away("run", "exec", "--follow", "--", "echo", "there").out.count("there\n") == 1
    assert away("dag", "delete", "sent", "--yes", "-o", "json").code == 0
    assert away("run", "list", "--dag", "sent", "-o", "json").out == "[]\n"
    assert not (tmp_path / "laptop").exists(), "nothing is made on the machine of the person"


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_bad_input_has_its_exit_code_and_one_message(words: tuple[str, ...], rqflow: Rqflow) -> None:
    code, message = WRONG[words]
    result = rqflow(*words)
    assert (result.code, message in result.err + result.out, "Traceback" in result.err) == (code, True, False), result
    if code != 1:
        told = result.err + (result.out if words[:2] == ("dag", "validate") else "")
        assert told.count("rqflow: ") + told.count("Error: ") + told.count("error: ") == 1, result
    assert len(result.err.splitlines()) <= 8


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_an_option_that_does_not_exist_is_named(words: tuple[str, ...], rqflow: Rqflow) -> None:
    result = rqflow(*words, "--nonsense")
    assert (result.code, "No such option: --nonsense" in result.err or "No such option '--nonsense'" in result.err) == (2, True), result


AWAY = [("top",), ("queue", "list"), ("run", "report", "r1"), ("task", "kill", "s1", "s"), ("backfill", "list"), ("dag", "pause", "good")]


@pytest.mark.parametrize("words", AWAY, ids=" ".join)
def test_a_redis_that_is_away_is_said(words: tuple[str, ...], rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", f"unix://{tmp_path}/absent.sock")
    result = rqflow(*words)
    assert (result.code, "Redis does not answer" in result.err, "Traceback" in result.err) == (7, True, False), result


@pytest.mark.parametrize("words", [("dag", "list"), ("dag", "source", "good"), ("var", "list"), ("conn", "list"), ("dag", "next", "good")], ids=" ".join)
def test_a_database_that_is_away_is_said(words: tuple[str, ...], rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__DATABASE__URL", "mysql://u:p@127.0.0.1:1/rqflow")
    result = rqflow(*words)
    assert (result.code, "127.0.0.1" in result.err, "Traceback" in result.err) == (7, True, False), result


def test_commands_of_airflow_take_its_options(rqflow: Rqflow) -> None:
    for words, code, new, part in OLD:
        result = rqflow(*words)
        assert (result.code, part in result.out, "Traceback" in result.err) == (code, True, False), (words, result)
        assert not new or f"is now `rqflow {new}" in result.err, (words, result.err)


def test_what_is_done_is_told_as_json(rqflow: Rqflow) -> None:
    for words, code, fields in DEEDS:
        result = rqflow(*words[:2], "-o", "json", *words[2:])
        assert (result.code, "Traceback" in result.err) == (code, False), (words, result)
        found = records(result.out)
        assert found or not fields, words
        assert all(fields <= one.keys() for one in found), (words, found)
