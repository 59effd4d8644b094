"""Functions of authors that are called when something has happened: on the task's worker, elsewhere when it is gone; killed and lost tasks too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.lab import Lab, alive, states, tasks
from tests.mailserver import mail_server
from tests.profile import PATIENCE
from tests.waiting import until

HEAD = """
import json, os, time
from datetime import datetime, timedelta
from airflow import DAG
from airflow.models import Variable
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator

def tell(*said):
    with open("{folder}/told", "a") as stream:
        stream.write(json.dumps(said) + "\\n")

def told(word):
    def function(context):
        ti = context["ti"]
        tell(word, ti.task_id, ti.try_number, ti.state, str(context.get("exception") or ""))
        print("told of", word)
    return function

"""


def a_dag(lab: Lab, body: str) -> Path:
    return lab.dag((HEAD + body).replace("{folder}", str(lab.folder)))


def told(lab: Lab) -> list[list[Any]]:
    path = lab.folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ended(lab: Lab, run_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until all calls of a run have ended, `count` of them; return them as `run show -o json` gives them."""
    def look() -> list[dict[str, Any]]:
        run = lab.show(run_id)
        found = [*run["callbacks"], *(call for task in run["tasks"] for call in task["callbacks"])]
        return found if len(found) >= count and all(call["ended_at"] for call in found) else []

    found: list[dict[str, Any]] = until(look, patience=3 * PATIENCE, what=f"{count} calls to end")
    assert len(found) == count
    return found


def test_functions_are_called_once_for_what_happened_to_tasks_and_to_the_run(lab: Lab) -> None:
    run = lab.outcome(a_dag(lab, """
with DAG("kinds", default_args={"on_failure_callback": told("failure"), "on_success_callback": told("success")},
         on_failure_callback=told("run failure"), on_success_callback=told("run success")):
    BashOperator(task_id="good", bash_command="true")
    BashOperator(task_id="bad", bash_command="exit 3", retries=1, retry_delay=timedelta(0), on_retry_callback=[told("retry"), told("again")])
    BashOperator(task_id="skips", bash_command="exit 99", on_skipped_callback=told("skipped"))
    EmptyOperator(task_id="empty")
    BashOperator(task_id="silent", bash_command="exit 4", on_failure_callback=None)
    EmptyOperator(task_id="marked")
"""))
    calls = ended(lab, run["run_id"], 7)
    of_tasks = [said for said in told(lab) if said[0] != "run failure"]
    assert sorted(of_tasks) == [
        ["again", "bad", 1, "up_for_retry", "exit code 3"], ["failure", "bad", 2, "failed", "exit code 3"],
        ["retry", "bad", 1, "up_for_retry", "exit code 3"], ["skipped", "skips", 1, "skipped", "exit code 99"],
        ["success", "empty", 1, "success", ""], ["success", "good", 1, "success", ""], ["success", "marked", 1, "success", ""],
    ]
    assert [said[0] for said in told(lab)].count("run failure") == 1
    assert {call["state"] for call in calls} == {"success"}
    assert {call["worker"] for call in calls} == {tasks(run)["good"]["worker"].rpartition(".")[0]}
    assert next(call for call in calls if call["kind"] == "retry")["output"] == "told of retry\ntold of again\n"


def test_a_person_who_marks_a_task_is_told_nothing(lab: Lab) -> None:
    run = lab.outcome(a_dag(lab, """
with DAG("marks", default_args={"on_failure_callback": told("failure"), "on_success_callback": told("success")}):
    BashOperator(task_id="a", bash_command="true")
"""))
    ended(lab, run["run_id"], 1)
    lab.run("task", "mark", run["run_id"], "a", "failed", "-y")
    until(lambda: states(lab.show(run["run_id"]))["a"] == "failed", what="the mark")
    lab.finish(run["run_id"])
    assert len(ended(lab, run["run_id"], 1)) == 1


def test_what_raises_or_hangs_is_told_of_and_keeps_nobody_else_from_being_called(lab: Lab) -> None:
    run = lab.outcome(a_dag(lab, """
def raises(context):
    raise ValueError("no good")

def hangs(context):
    print("I hang", flush=True)
    time.sleep(1000)

with DAG("raises", on_success_callback=told("run")):
    BashOperator(task_id="a", bash_command="true", on_success_callback=[raises, told("success")])
    BashOperator(task_id="b", bash_command="true", on_success_callback=hangs)
"""))
    calls = {call["task_id"]: call for call in ended(lab, run["run_id"], 3)}
    assert calls["a"]["state"] == "failed"
    assert calls["a"]["reason"] == "raises: ValueError: no good"
    assert "Traceback" in calls["a"]["output"]
    assert calls["a"]["output"].endswith("told of success\n")
    assert (calls["b"]["state"], calls["b"]["reason"]) == ("failed", "it took longer than 15 s and was ended")
    assert calls["b"]["output"] == "I hang\n"
    assert {"success", "run"} == {said[0] for said in told(lab)}
    assert set(states(run).values()) == {"success"}, "what becomes of a callback changes no task"
    shown = lab.run("run", "show", run["run_id"]).stdout
    assert "raises: ValueError: no good" in shown


def test_functions_see_variables_connections_and_xcoms_and_secrets_are_blotted_out(lab: Lab) -> None:
    lab.run("var", "set", "db_password", "hunter2secret")
    run = lab.outcome(a_dag(lab, """
def look(context):
    tell("look", Variable.get("db_password"), context["ti"].xcom_pull(task_ids="a"), context["params"]["n"], context["ds"])
    context["ti"].xcom_push(key="seen", value=[1, 2])
    print("the password is", Variable.get("db_password"))

with DAG("looks", params={"n": 3}, start_date=datetime(2026, 1, 1), schedule=None):
    BashOperator(task_id="a", bash_command="echo 41", on_success_callback=look)
""")
    )
    (call,) = ended(lab, run["run_id"], 1)
    assert told(lab) == [["look", "hunter2secret", "41", 3, run["logical_date"][:10]]]
    assert call["output"] == "the password is ***\n"


def test_what_is_to_be_called_before_a_task_runs_in_its_process_and_stops_nothing(lab: Lab) -> None:
    run = lab.outcome(a_dag(lab, """
def before(context):
    tell("before", context["ti"].task_id)
    if context["ti"].task_id == "b":
        raise ValueError("no")

with DAG("befores", default_args={"on_execute_callback": before}):
    BashOperator(task_id="a", bash_command="test -s {folder}/told") >> BashOperator(task_id="b", bash_command="true") >> EmptyOperator(task_id="c")
"""))
    assert states(run) == {"a": "success", "b": "success", "c": "success"}
    assert told(lab) == [["before", "a"], ["before", "b"], ["before", "c"]]
    assert "on_execute_callback before raised an exception; the task goes on" in lab.task_log(run["run_id"], "b")


def test_a_task_that_was_killed_or_lost_is_told_of_elsewhere_when_its_worker_is_gone(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    first = lab.worker(work_dir="first")
    file = a_dag(lab, """
WAIT = "echo $$ > {folder}/pid.$RQFLOW_TASK_ID; while [ ! -e {folder}/go ]; do sleep 0.05; done"
with DAG("dies", default_args={"on_failure_callback": told("failure")}):
    BashOperator(task_id="killed", bash_command=WAIT)
    BashOperator(task_id="lost", bash_command=WAIT)
""")
    run_id = lab.submit(file)
    pids = {name: until(lambda name=name: (lab.folder / f"pid.{name}").exists() and int((lab.folder / f"pid.{name}").read_text() or 0),  # type: ignore[misc]
                        what=f"{name} to run") for name in ("killed", "lost")}
    os.kill(pids["killed"], signal.SIGKILL)
    until(lambda: tasks(lab.show(run_id))["killed"]["callbacks"], what="the call to be noted")
    own = until(lambda: [call for call in tasks(lab.show(run_id))["killed"]["callbacks"] if call["ended_at"]], patience=3 * PATIENCE, what="the call")
    assert own[0]["worker"] == tasks(lab.show(run_id))["killed"]["worker"].rpartition(".")[0]
    shepherd = psutil.Process(pids["lost"]).ppid()
    for pid in (first.pid, shepherd):
        os.kill(pid, signal.SIGKILL)
    os.killpg(pids["lost"], signal.SIGKILL)
    until(lambda: not alive([shepherd, pids["lost"]]), what="the machine to be gone")
    until(lambda: tasks(lab.show(run_id))["lost"]["unreachable_since"], what="lost to be unreachable")
    lab.run("task", "mark-lost", run_id, "lost")
    waits = until(lambda: tasks(lab.show(run_id))["lost"]["callbacks"], what="the call to be noted")
    assert waits[0]["state"] in {"waiting", "sent"}
    second = lab.worker(work_dir="second")
    calls = ended(lab, run_id, 2)
    assert len({call["worker"] for call in calls}) == 2
    # At least once: on a busy machine a call may take longer than its limit, and is made again.
    assert {tuple(said[:3]) for said in told(lab)} == {("failure", "killed", 1), ("failure", "lost", 1)}
    assert second.poll() is None


def test_a_worker_that_is_killed_while_a_function_runs_is_followed_by_another(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    first = lab.worker(work_dir="first")
    run_id = lab.submit(a_dag(lab, """
def slow(context):
    tell("begun", os.getpid())
    while not os.path.exists("{folder}/go"):
        time.sleep(0.05)
    tell("over", os.getpid())

with DAG("follows"):
    BashOperator(task_id="a", bash_command="true", on_success_callback=slow)
"""))
    (begun,) = until(lambda: told(lab), patience=3 * PATIENCE, what="the call to begin")
    for pid in (begun[1], first.pid):
        os.kill(pid, signal.SIGKILL)
    second = lab.worker(work_dir="second")
    (lab.folder / "go").touch()
    (call,) = ended(lab, run_id, 1)
    assert (call["state"], call["sends"]) == ("success", 2)
    assert [said[0] for said in told(lab)] == ["begun", "begun", "over"]
    assert second.poll() is None


def test_missed_slas_are_told_in_one_call_with_the_arguments_that_airflow_gives(lab: Lab) -> None:
    lab.run("submit", a_dag(lab, """
def missed(dag, task_list, blocking_task_list, slas, blocking_tis):
    tell(dag.dag_id, task_list, blocking_task_list, [str(one.task_id) for one in slas], [one.task_id for one in blocking_tis])

HOLD = "while [ ! -e {folder}/go ]; do sleep 0.05; done"
with DAG("late", start_date=datetime.now() - timedelta(minutes=61), schedule=timedelta(hours=1), sla_miss_callback=missed):
    BashOperator(task_id="slow", bash_command=HOLD, sla=timedelta(0))
    BashOperator(task_id="soon", bash_command="true", sla=timedelta(minutes=30))
"""))
    run_id = until(lambda: [run["run_id"] for run in lab.json("run", "list", "--dag", "late")], what="the run")[0]
    (call,) = ended(lab, run_id, 1)
    run = lab.show(run_id)
    date = run["logical_date"]
    assert (call["kind"], call["state"]) == ("sla_miss", "success")
    assert told(lab) == [["late", f"slow on {date}", f"slow on {date}", ["slow"], ["slow"]]]
    (lab.folder / "go").touch()
    lab.finish(run_id)


def test_notifiers_are_called_with_their_fields_rendered_and_send_mail(new_lab: Callable[..., Lab], lab_redis: str, tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        lab = new_lab(redis_url=lab_redis, environ=server.environ())
        lab.hub()
        lab.worker()
        run_id = lab.submit(a_dag(lab, """
from airflow.notifications.basenotifier import BaseNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier, send_smtp_notification

class Own(BaseNotifier):
    template_fields = ("text",)
    def __init__(self, text):
        super().__init__()
        self.text = text
    def notify(self, context):
        tell("own", self.text, context["ti"].task_id)

with DAG("notifies", on_failure_callback=send_smtp_notification(to="bob@x.test", subject="{{ dag.dag_id }} broke")):
    BashOperator(task_id="a", bash_command="exit 3", on_failure_callback=[Own("{{ ti.task_id }} {{ ti.state }}"), SmtpNotifier(to="ada@x.test")])
"""))
        calls = ended(lab, run_id, 2)
        assert {call["state"] for call in calls} == {"success"}, calls
        assert told(lab) == [["own", "a failed", "a"]]
        assert sorted(server.subjects) == ["notifies broke", f"notifies.a, run {run_id}: failed"]
        assert "exit code 3" in "".join(one.html for one in server.mails)
