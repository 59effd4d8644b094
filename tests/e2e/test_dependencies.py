"""Chaining and retries with real workers (reliability R24, R26, R28, R31, R32, R45)."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from statistics import median

from tests.e2e.lab import Lab, states, tasks
from tests.profile import NOISE, PATIENCE
from tests.waiting import until


def moments(task: dict, name: str) -> list[datetime]:
    return [datetime.fromisoformat(each[name]) for each in task["tries"]]


def test_r24_what_needs_a_failed_task_is_upstream_failed_at_once(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("chain"):
            BashOperator(task_id="a", bash_command="exit 3") >> BashOperator(task_id="b", bash_command="true")
    """)
    run = lab.outcome(file)
    assert run["state"] == "failed"
    assert states(run) == {"a": "failed", "b": "upstream_failed"}
    assert tasks(run)["a"]["tries"][0]["exit_code"] == 3
    assert "exit code 3" in tasks(run)["a"]["reason"]
    ended = [datetime.fromisoformat(tasks(run)["a"]["ended_at"]), datetime.fromisoformat(run["ended_at"])]
    assert (ended[1] - ended[0]).total_seconds() < NOISE


def test_r26_three_tries_each_after_its_delay_while_downstream_waits(lab: Lab) -> None:
    file = lab.dag("""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("retry"):
            a = BashOperator(task_id="a", bash_command='test "$RQFLOW_TRY" = 3', retries=2, retry_delay=timedelta(seconds=1))
            a >> BashOperator(task_id="b", bash_command="true")
    """)
    run = lab.outcome(file)
    a, b = tasks(run)["a"], tasks(run)["b"]
    assert run["state"] == "success"
    assert [(each["state"], each["exit_code"]) for each in a["tries"]] == [("up_for_retry", 1), ("up_for_retry", 1), ("success", 0)]
    starts, ends = moments(a, "started_at"), moments(a, "ended_at")
    gaps = [(start - end).total_seconds() for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert all(1.0 <= gap < 3.0 for gap in gaps), gaps
    assert len(b["tries"]) == 1
    assert moments(b, "started_at")[0] >= ends[-1]


def test_r28_cancelling_a_run_stops_what_runs_and_never_starts_the_rest(lab: Lab) -> None:
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("cancelled"):
            BashOperator(task_id="a", bash_command="sleep 600") >> BashOperator(task_id="b", bash_command="touch {lab.folder}/b-ran")
    """)
    run_id = lab.submit(file)
    until(lambda: states(lab.show(run_id))["a"] == "running", what="a to run")
    lab.run("run", "cancel", run_id)
    run = lab.finish(run_id)
    assert run["state"] == "cancelled"
    assert states(run) == {"a": "cancelled", "b": "cancelled"}
    assert not (lab.folder / "b-ran").exists()


def test_r31_a_chain_moves_on_without_pauses(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator, chain
        with DAG("long"):
            chain(*[BashOperator(task_id=f"t{i:03d}", bash_command="true") for i in range(50)])
    """)
    run = lab.outcome(file)
    order = sorted(tasks(run).values(), key=lambda task: task["task_id"])
    gaps = [(datetime.fromisoformat(after["started_at"]) - datetime.fromisoformat(before["ended_at"])).total_seconds()
            for before, after in pairwise(order)]
    assert run["state"] == "success"
    assert min(gaps) >= 0
    assert median(gaps) < 0.2


def test_r32_exit_99_skips_and_all_skipped_upstream_skips_on(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("skipping"):
            both = [BashOperator(task_id=name, bash_command="exit 99") for name in "ab"]
            both >> BashOperator(task_id="c", bash_command="true") >> BashOperator(task_id="d", bash_command="true", trigger_rule="all_done")
    """)
    run = lab.outcome(file)
    assert run["state"] == "success"
    assert states(run) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "success"}


def test_r45_ids_with_dots_and_times_with_plus_and_colon_work(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("my.dag-v1"):
            BashOperator(task_id="a.b", bash_command="echo {{ ts }}")
    """)
    run = lab.outcome(file, "--at", "2026-11-23T01:02:03+05:30", "--run-id", "odd:+id 2026")
    assert run["state"] == "success"
    assert "2026-11-22T19:32:03+00:00" in lab.task_log("odd:+id 2026", "a.b")


def test_r49_pool_of_three_never_runs_more_and_is_free_afterwards(lab: Lab) -> None:
    lab.run("pool", "set", "narrow", "3")
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("pooled"):
            for i in range(12):
                BashOperator(task_id=f"t{{i}}", pool="narrow", bash_command="mkdir -p {lab.folder}/now; touch {lab.folder}/now/$RQFLOW_TASK_ID;"
                             " ls {lab.folder}/now | wc -l >> {lab.folder}/seen; sleep 0.1; rm {lab.folder}/now/$RQFLOW_TASK_ID")
    """)
    run = lab.outcome(file)
    assert run["state"] == "success"
    assert max(int(line) for line in (lab.folder / "seen").read_text().split()) <= 3
    pool = next(each for each in lab.json("pool", "list") if each["name"] == "narrow")
    assert (pool["slots"], pool["used"]) == (3, 0)


def test_a_branch_and_a_short_circuit_skip_what_they_should(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator, BranchPythonOperator, EmptyOperator, ShortCircuitOperator
        with DAG("branching"):
            branch = BranchPythonOperator(task_id="branch", python_callable=lambda: "left")
            join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
            branch >> [BashOperator(task_id="left", bash_command="true"), BashOperator(task_id="right", bash_command="true")] >> join
            stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
            stop >> BashOperator(task_id="never", bash_command="true") >> BashOperator(task_id="nor", bash_command="true", trigger_rule="all_done")
    """)
    run = lab.outcome(file)
    assert states(run) == {"branch": "success", "left": "success", "right": "skipped", "join": "success", "stop": "success", "never": "skipped",
                           "nor": "skipped"}


def test_xcoms_pass_from_bash_to_python_to_bash(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator, PythonOperator
        def double(ti, **_):
            return int(ti.xcom_pull(task_ids="number")) * 2
        with DAG("values"):
            BashOperator(task_id="number", bash_command="echo noise; echo 21") >> PythonOperator(task_id="double", python_callable=double) \\
                >> BashOperator(task_id="say", bash_command="echo it is {{ ti.xcom_pull(task_ids='double') }}")
    """)
    began = time.monotonic()
    run = lab.outcome(file)
    assert run["state"] == "success", lab.logs()
    assert "it is 42" in lab.task_log(run["run_id"], "say")
    assert time.monotonic() - began < PATIENCE


def test_templates_know_the_last_successful_run_before(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator, PythonOperator
        def tell(ti, **context):
            print("python saw", context["prev_start_date_success"] is not None, context["var"]["value"].greeting)
        with DAG("again"):
            BashOperator(task_id="a", bash_command="echo before: {{ prev_data_interval_start_success }}")
            PythonOperator(task_id="b", python_callable=tell)
    """)
    first = lab.outcome(file, "--at", "2026-01-01")
    assert first["state"] == "success", lab.task_log(first["run_id"], "b")
    assert "before: None" in lab.task_log(first["run_id"], "a")
    second = lab.outcome(file, "--at", "2026-01-02")
    assert "before: 2026-01-01" in lab.task_log(second["run_id"], "a")
    assert "python saw True hello" in lab.task_log(second["run_id"], "b")
