"""Traps of bash, files and the environment of tasks (reliability R84, R85; architecture section 6)."""

from __future__ import annotations

import sys

from tests.e2e.lab import Lab, states, tasks
from tests.waiting import until


def test_r84_pipes_succeed_as_in_airflow_unless_pipefail_and_scripts_run_without_a_blank(lab: Lab) -> None:
    script = lab.dag("#!/bin/sh\necho from the script\n", "tools/y.sh")
    script.chmod(0o755)
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("pipes", default_args={{"pipefail": True}}):
            BashOperator(task_id="lenient", bash_command="false | true", pipefail=False)
            BashOperator(task_id="strict", bash_command="false | true")
            BashOperator(task_id="script", bash_command="{script}")
            BashOperator(task_id="blank", bash_command="{script} ")
    """)
    run = lab.outcome(file)
    assert states(run) == {"lenient": "success", "strict": "failed", "script": "success", "blank": "success"}
    assert "from the script" in lab.task_log(run["run_id"], "script")


def test_r85_outputs_are_whole_or_not_there(lab: Lab) -> None:
    data = lab.folder / "data"
    data.mkdir()
    file = lab.dag(f"""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("outputs"):
            half = BashOperator(task_id="half", outputs=["{data}/f"], retries=1, retry_delay=timedelta(0),
                                bash_command='echo part > {data}/f; test "$RQFLOW_TRY" = 2 || kill -9 $$; echo whole > {data}/f')
            half >> BashOperator(task_id="child", bash_command="grep -q whole {data}/f")
            BashOperator(task_id="missing", outputs=["{data}/never"], bash_command="true")
            BashOperator(task_id="resumed", outputs=["{data}/there"], skip_if_outputs_exist=True, bash_command="exit 1")
    """)
    (data / "there").write_text("kept")
    run = lab.outcome(file)
    assert states(run) == {"half": "success", "child": "success", "missing": "failed", "resumed": "success"}
    assert (data / "f.partial-1").read_text() == "part\n"
    assert (data / "f").read_text() == "whole\n"
    assert "never" in tasks(run)["missing"]["reason"]
    assert (data / "there").read_text() == "kept"


def test_the_environment_has_what_a_task_needs_and_nothing_of_ours(lab: Lab) -> None:
    lab.worker("-Q", "odd", work_dir="odd-worker", environ={"LANG": "C", "LC_ALL": "", "VIRTUAL_ENV": sys.prefix, "AIRFLOW__CORE__KEY": "secret-of-airflow",
                                                           "RQFLOW__DATABASE__URL": lab.environ.get("RQFLOW__DATABASE__URL", "")})
    (lab.folder / "vars.env").write_text("FROM_FILE=\"with blank\"\n")
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("surroundings", default_args={{"queue": "odd"}}):
            BashOperator(task_id="show", bash_command="env; umask", env={{"OWN": "größe"}}, append_env=True, env_file="{lab.folder}/vars.env", umask="027",
                         setup="export SET_UP=first")
    """)
    run = lab.outcome(file)
    assert run["state"] == "success", tasks(run)["show"]["reason"]
    lines = lab.task_log(run["run_id"], "show").splitlines()
    shown = dict(line.split("=", 1) for line in lines if "=" in line)
    assert (shown["OWN"], shown["FROM_FILE"], shown["SET_UP"], shown["PYTHONUNBUFFERED"]) == ("größe", "with blank", "first", "1")
    assert (shown["RQFLOW_DAG_ID"], shown["RQFLOW_TASK_ID"], shown["RQFLOW_TRY"], shown["RQFLOW_RUN_ID"]) == ("surroundings", "show", "1", run["run_id"])
    assert shown["LANG"] == "C.UTF-8"
    assert not [name for name in shown if name.startswith(("RQFLOW__", "AIRFLOW__")) or name == "VIRTUAL_ENV"]
    assert "0027" in lines


def test_names_beyond_ascii_and_a_command_of_200_kilobytes_run(lab: Lab) -> None:
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("big"):
            BashOperator(task_id="long", bash_command="# " + "x" * 200_000 + chr(10) + "echo the end")
            BashOperator(task_id="name", bash_command="touch '{lab.folder}/größe-文件'; ls {lab.folder}")
    """)
    run = lab.outcome(file)
    assert run["state"] == "success", [t["reason"] for t in run["tasks"]]
    assert "the end" in lab.task_log(run["run_id"], "long")
    assert "größe-文件" in lab.task_log(run["run_id"], "name")


def test_the_log_keeps_every_byte_and_names_the_end(lab: Lab) -> None:
    file = lab.dag(r"""
        from rqflow import DAG, BashOperator
        with DAG("bytes"):
            BashOperator(task_id="odd", bash_command=r"printf '\377\000\033[31mred\033[0m\r50%%\r100%%\n'; exit 3")
    """)
    run = lab.outcome(file)
    path = until(lambda: next((log for log in lab.home.glob("state/*/logs/bytes/odd/*/1.log") if not log.stat().st_mode & 0o200), None),
                 what="the log to come whole")
    kept = path.read_bytes()
    assert kept.startswith(b"\377\000\033[31mred\033[0m\r50%\r100%\n")
    last = kept.decode(errors="replace").splitlines()[-1]
    assert "exit code 3" in last
    assert "CPU" in last
    assert run["tasks"][0]["tries"][0]["max_rss_bytes"] > 100_000
    assert run["tasks"][0]["tries"][0]["cpu_seconds"] >= 0


def test_the_report_of_a_run_shows_the_end_of_the_log_of_what_failed(lab: Lab) -> None:
    run = lab.outcome(lab.dag("""
from rqflow import DAG, BashOperator
with DAG("reported"):
    BashOperator(task_id="a", bash_command="echo '<b>the disk is full</b>'; exit 3")
"""))
    page = lab.run("run", "report", run["run_id"], "--html", "-").stdout
    assert "&lt;b&gt;the disk is full&lt;/b&gt;" in page
