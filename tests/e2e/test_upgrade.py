"""Upgrades: files that are replaced under processes that run on, and releases that meet."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import rqflow
from rqflow.broker import protocol
from rqflow.operators.registry import OPERATORS
from rqflow.worker.shepherd_client import ShepherdClient
from tests.e2e.lab import Lab, states, tasks
from tests.profile import PATIENCE
from tests.waiting import until

EACH = """
    import sys
    import rqflow
    from datetime import datetime, time, timedelta
    from rqflow import (
        DAG, BashOperator, BashSensor, BranchDateTimeOperator, BranchDayOfWeekOperator, BranchPythonOperator, DateTimeSensor, DayOfWeekSensor,
        EmailOperator, EmptyOperator, ExternalTaskSensor, FileSensor, HttpOperator, HttpSensor, LatestOnlyOperator, PythonOperator, PythonSensor,
        ShortCircuitOperator, SqlSensor, SQLExecuteQueryOperator, TimeDeltaSensor, TimeSensor, TriggerDagRunOperator,
    )
    from rqflow import BaseBranchOperator, BaseSensorOperator, ExternalPythonOperator
    from helper import shout

    def seven():
        return 7

    def own():
        print(shout("python"), rqflow.__file__)

    with DAG("each", user_defined_macros={"loud": shout}):
        bash = BashOperator(task_id="bash", bash_command="echo {{ params.x }} {{ ds }}", params={"x": 1})
        rendered = BashOperator(task_id="rendered", bash_command="echo {{ loud('by a macro') }}")
        retried = BashOperator(task_id="retried", bash_command="test $RQFLOW_TRY -gt 1", retries=1, retry_delay=timedelta(seconds=0.2))
        python = PythonOperator(task_id="python", python_callable=own)
        branch = BranchPythonOperator(task_id="branch_python", python_callable=lambda: "taken")
        short = ShortCircuitOperator(task_id="short", python_callable=lambda: False)
        empty = EmptyOperator(task_id="empty")
        empty >> [bash, rendered, retried, python, branch, short]
        branch >> [EmptyOperator(task_id="taken"), EmptyOperator(task_id="not_taken")]
        short >> EmptyOperator(task_id="cut")

        class Mine(BaseSensorOperator):
            def poke(self, context):
                return True

        class Either(BaseBranchOperator):
            def choose_branch(self, context):
                return "chosen"

        days, long_ago, once = dict(week_day={"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}), datetime(2020, 1, 1), dict(poke_interval=1, timeout=1)
        empty >> [
            Mine(task_id="sensor"), BashSensor(task_id="bash_sensor", bash_command="true"), DateTimeSensor(task_id="date_time_sensor", target_time=long_ago),
            DayOfWeekSensor(task_id="day_of_week_sensor", **days), FileSensor(task_id="file_sensor", filepath="/etc/passwd"),
            PythonSensor(task_id="python_sensor", python_callable=lambda: True), TimeDeltaSensor(task_id="time_delta_sensor", delta=timedelta(0)),
            TimeSensor(task_id="time_sensor", target_time=time(0)), LatestOnlyOperator(task_id="latest_only"),
            ExternalPythonOperator(task_id="external_python", python=sys.executable, python_callable=seven),
            SQLExecuteQueryOperator(task_id="sql", conn_id="nothing", sql="SELECT 1"), SqlSensor(task_id="sql_sensor", conn_id="nothing", sql="SELECT 1", **once),
            EmailOperator(task_id="email", to="a@example.org", subject="s", html_content="c"), TriggerDagRunOperator(task_id="trigger_dag", trigger_dag_id="gone"),
            ExternalTaskSensor(task_id="external_task_sensor", external_dag_id="gone", check_existence=True, **once),
            HttpOperator(task_id="http", http_conn_id="nothing"), HttpSensor(task_id="http_sensor", http_conn_id="nothing", endpoint="/", **once),
        ]
        either = Either(task_id="branch")
        empty >> either >> EmptyOperator(task_id="chosen")
        for task_id, kind, how in (("branch_date_time", BranchDateTimeOperator, dict(target_lower=long_ago)), ("branch_day_of_week", BranchDayOfWeekOperator, days)):
            one = kind(task_id=task_id, follow_task_ids_if_true=f"{task_id}_yes", follow_task_ids_if_false=f"{task_id}_no", **how)
            empty >> one >> [EmptyOperator(task_id=f"{task_id}_yes"), EmptyOperator(task_id=f"{task_id}_no")]
"""
#: Tasks that end badly, as they must where what they ask for is not there: for that reason, and not because a module is missing.
IN_VAIN = {"sql": "nothing", "sql_sensor": "nothing", "email": "SMTP", "trigger_dag": "gone", "external_task_sensor": "gone", "http": "nothing",
           "http_sensor": "nothing"}
LAST = """
    from rqflow import DAG, PythonOperator
    with DAG("last"):
        PythonOperator(task_id="python", python_callable=lambda: 7)
"""


def test_running_processes_need_no_file_of_theirs_any_more(new_lab: Callable[..., Lab], lab_redis: str, tmp_path: Path) -> None:
    """A copy of the package serves a scheduler and a worker, and is gone before they get anything to do."""
    named = {"short_circuit", *re.findall(r'task_id="(\w+)"', EACH), "branch_date_time", "branch_day_of_week"}
    # The virtual environments of these take long; they begin as external_python does.
    assert set(OPERATORS) - named == {"virtualenv", "branch_virtualenv", "branch_external_python"}, "a new operator needs a task in this test"
    copy = tmp_path / "installed"
    shutil.copytree(Path(rqflow.__file__).parent, copy / "rqflow")
    lab = new_lab(redis_url=lab_redis)
    hub = lab.start("scheduler", environ={"PYTHONPATH": str(copy)})
    worker = lab.worker("-n", "4", environ={"PYTHONPATH": str(copy)})
    until(lambda: lab.services.connection.exists("rqflow:leader"), what="the scheduler to lead")
    (copy / "rqflow").rename(tmp_path / "elsewhere")
    lab.dag("def shout(text):\n    return text.upper()\n", "helper.py")
    ended = lab.outcome(lab.dag(EACH))
    found = states(ended)
    unsuccessful = {name for name, state in found.items() if state != "success"}
    assert unsuccessful - IN_VAIN.keys() == {"not_taken", "cut", "branch_date_time_no", "branch_day_of_week_no"}, tasks(ended)
    reasons = {name: tasks(ended)[name]["reason"] for name in IN_VAIN}
    assert all(word in reasons[name] for name, word in IN_VAIN.items()), reasons
    assert tasks(ended)["retried"]["try_number"] == 2
    assert until(lambda: log_of(lab, "rendered"), what="a log").startswith("BY A MACRO\n")
    said, _, used = until(lambda: log_of(lab, "python"), what="a log").splitlines()[0].partition(" ")
    assert said == "PYTHON"
    assert Path(used).is_relative_to(Path(lab.services.settings.worker.work_dir) / "program"), "a child runs what the worker runs"
    # A shepherd that dies is replaced by one from the same copy.
    folder = Path(lab.services.settings.worker.work_dir)
    with closing(ShepherdClient(folder, env={}, linger=1.0, role="")) as client:
        client.connect()
        os.kill(client.pid, signal.SIGKILL)
    assert lab.outcome(lab.dag(LAST, "last.py"))["state"] == "success"
    for process in (worker, hub):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, lab.logs()
    said = "".join(path.read_text() for path in lab.root.glob("*.log"))
    assert "starting another one" in said
    assert "Traceback" not in said, said


def log_of(lab: Lab, task_id: str) -> str:
    """What the archive has of the only log of a task."""
    return "".join(path.read_text() for path in Path(lab.services.settings.logs.folder).glob(f"each/{task_id}/*/1.log"))


#: A command of a release with another protocol.
RELEASE = "import sys; from rqflow.broker import protocol; protocol.PROTOCOL = int(sys.argv.pop(1)); from rqflow.cli.main import main; sys.exit(main())"


def start(lab: Lab, number: int, command: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start a process of the release with protocol `number`."""
    with (lab.root / f"{command}-of-{number}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", RELEASE, str(number), command], env={**lab.environ, **environ}, cwd=lab.folder,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    lab.processes.append(process)
    return process


def test_neighbouring_releases_work_together_and_the_next_one_waits_for_the_oldest(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    old = start(lab, protocol.PROTOCOL - 1, "worker")
    until(lambda: protocol.processes(lab.services.connection), what="the old worker to register")
    lab.hub()
    assert lab.outcome(lab.dag(LAST, "last.py"))["state"] == "success"
    newer = start(lab, protocol.PROTOCOL + 1, "worker", RQFLOW__WORKER__WORK_DIR=str(lab.root / "other"))
    assert newer.wait(PATIENCE) == 5
    said = (lab.root / f"worker-of-{protocol.PROTOCOL + 1}.log").read_text()
    assert f"is too new to work with worker {protocol.processes(lab.services.connection)[0].name} on" in said
    old.send_signal(signal.SIGTERM)
    assert old.wait(PATIENCE) == 0
    start(lab, protocol.PROTOCOL + 1, "worker")
    assert lab.outcome(lab.dag(LAST, "last.py"))["state"] == "success"
    assert [process.protocol for process in protocol.processes(lab.services.connection)] == [protocol.PROTOCOL + 1, protocol.PROTOCOL]
