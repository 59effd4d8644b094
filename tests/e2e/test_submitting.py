"""What submit refuses, keeps, carries along and protects (reliability R47, R65, R66, R68, R74, R76)."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import pty
import signal
import time
from collections.abc import Callable

import pytest
import redis

from tests.e2e.lab import COMMAND, Lab, states, tasks
from tests.profile import PATIENCE
from tests.waiting import until

GOOD = """
    from rqflow import DAG, BashOperator
    with DAG("steady"):
        BashOperator(task_id="a", bash_command="echo one")
"""


def test_r47_an_unknown_pool_is_refused_and_a_queue_nobody_serves_is_said(lab: Lab) -> None:
    file = lab.dag(GOOD.replace("steady", "pooled_nowhere").replace('bash_command="echo one"', 'bash_command="true", pool="nowhere"'))
    refused = lab.run("submit", file, "--run", "--no-follow", code=6)
    assert "nowhere" in refused.stderr
    assert "pooled_nowhere" not in [each["dag_id"] for each in lab.json("dag", "list")]
    lab.run("pool", "set", "small", "1")
    file = lab.dag(GOOD.replace('bash_command="echo one"', 'bash_command="true", pool="small", pool_slots=2'))
    assert "small" in lab.run("submit", file, "--run", "--no-follow", code=6).stderr
    file = lab.dag(GOOD.replace('bash_command="echo one"', 'bash_command="true", queue="lonely"'))
    accepted = lab.run("submit", file, "--run", "--no-follow")
    assert "lonely" in accepted.stderr


@pytest.mark.parametrize(("broken", "words"), [
    ("from rqflow import DAG\nwith DAG('steady')\n    pass\n", "dag.py:2"),
    ("from rqflow import DAG, BashOperator\nwith DAG('steady'):\n    a = BashOperator(task_id='a', bash_command='true')\n"
     "    b = BashOperator(task_id='b', bash_command='true')\n    a >> b >> a\n", "a -> b -> a"),
    ("from rqflow import DAG, BashOperator\nwith DAG('steady'):\n    BashOperator(task_id='a', bash_command='true')\n"
     "    BashOperator(task_id='a', bash_command='true')\n", "dag.py:4"),
    ("import time\ntime.sleep(600)\n", "dag.py:2"),
])
def test_r65_a_broken_file_is_refused_with_its_line_and_the_old_version_stays(lab: Lab, broken: str, words: str) -> None:
    first = lab.outcome(lab.dag(GOOD))
    path = lab.dag(GOOD)
    path.write_text(broken)
    began = time.monotonic()
    refused = lab.run("submit", path, "--run", "--no-follow", code=6, environ={"RQFLOW__CORE__LOAD_TIMEOUT": "2s"})
    assert time.monotonic() - began < PATIENCE
    assert words in refused.stderr
    assert lab.json("dag", "show", "steady")["dag_id"] == "steady"
    assert lab.latest() == first["run_id"]


def test_r66_a_run_keeps_the_version_it_started_with(lab: Lab) -> None:
    source = """
        from rqflow import DAG, BashOperator
        with DAG("changing"):
            BashOperator(task_id="wait", bash_command="until test -e {folder}/go; do sleep 0.05; done") >> BashOperator(task_id="say", bash_command="echo VERSION")
    """.replace("{folder}", str(lab.folder))
    old = lab.submit(lab.dag(source.replace("VERSION", "old")))
    until(lambda: states(lab.show(old))["wait"] == "running", what="the first run to start")
    new = lab.submit(lab.dag(source.replace("VERSION", "new")), "--run-id", "second")
    (lab.folder / "go").touch()
    assert lab.finish(old)["version"] != lab.finish(new)["version"]
    assert "old" in lab.task_log(old, "say").split()
    assert "new" in lab.task_log(new, "say").split()


def test_r68_a_worker_needs_neither_the_file_nor_a_shared_folder(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    """The worker has a home of its own, no database, and the folder of the DAG is gone before it starts."""
    hub, far = new_lab(redis_url=lab_redis), new_lab(redis_url=lab_redis)
    hub.hub()
    hub.dag("GREETING = 'hello from a module'\n", "here/helper_module.py")
    hub.dag("echo template of {{ ds }} says {{ params.word }}\n", "here/script.sh")
    file = hub.dag("""
        import helper_module
        from rqflow import DAG, BashOperator, PythonOperator
        with DAG("far_away", params={"word": "hi"}):
            BashOperator(task_id="script", bash_command="script.sh")
            PythonOperator(task_id="module", python_callable=lambda: print(helper_module.GREETING))
    """, "here/dag.py")
    run_id = hub.submit(file)
    for path in (hub.folder / "here").iterdir():
        if path.is_file():
            path.unlink()
    far.worker()
    run = hub.finish(run_id)
    assert run["state"] == "success", far.logs()
    assert "says hi" in hub.task_log(run_id, "script")
    assert "hello from a module" in hub.task_log(run_id, "module")


class Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_r74_a_pickle_in_a_queue_is_not_executed(lab: Lab) -> None:
    mark = lab.folder / "exploded"
    with redis.Redis.from_url(lab.redis_url) as connection:
        connection.hset("rq:job:evil", mapping={"data": pickle.dumps(Bomb(str(mark))), "status": "queued", "origin": "default", "created_at": ""})
        connection.rpush("rq:queue:default", "evil")
        connection.lpush("rqflow:bell:default", "1")
        run = lab.outcome(lab.dag(GOOD))
        assert run["state"] == "success"
        stock = lab.stock_worker("default")
        until(lambda: connection.llen("rq:queue:default") == 0, what="the stock worker to take the job")
        until(lambda: connection.hget("rq:job:evil", "status") != b"queued" or stock.poll() is not None, what="the stock worker to be done with it")
    assert not mark.exists()


NASTY = """$(touch /tmp/never) `id` '"; exit 7 #"""


def test_r76_values_given_at_the_trigger_reach_the_task_as_data(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("values", params={"word": "x"}):
            BashOperator(task_id="quoted", bash_command="printf '<%s>' {{ dag_run.conf['word'] | shquote }}")
            BashOperator(task_id="environment", bash_command='printf "<%s>" "$WORD"', env={"WORD": "{{ dag_run.conf['word'] }}"}, append_env=True)
            BashOperator(task_id="raw", bash_command="echo {{ dag_run.conf['word'] }}")
    """)
    run = lab.outcome(file, "--conf", json.dumps({"word": NASTY}))
    assert states(run) == {"quoted": "success", "environment": "success", "raw": "failed"}
    assert f"<{NASTY}>" in lab.task_log(run["run_id"], "quoted")
    assert f"<{NASTY}>" in lab.task_log(run["run_id"], "environment")
    assert "word" in tasks(run)["raw"]["reason"] or "touch" in tasks(run)["raw"]["reason"]
    plain = lab.outcome(file, "--conf", '{"word": "plain-value.txt"}', "--run-id", "plain")
    assert plain["state"] == "success"
    assert "plain-value.txt" in lab.task_log("plain", "raw")


def test_a_killed_terminal_only_ends_the_watching(new_lab: Callable[..., Lab]) -> None:
    """On the embedded default: submit --follow starts what runs the tasks, and dies with its terminal; the run goes on to success."""
    lab = new_lab()
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("watched"):
            BashOperator(task_id="a", bash_command="touch {lab.folder}/started; sleep 2") >> BashOperator(task_id="b", bash_command="true")
    """)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lab.folder)
        os.execve(COMMAND[0], [*COMMAND, "submit", str(file), "--run", "--follow"], lab.environ)
    until(lambda: (lab.folder / "started").exists(), what="the task to start")
    os.close(terminal)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    run = lab.finish(lab.latest())
    assert run["state"] == "success", lab.logs()
    with contextlib.suppress(AssertionError):
        until(lambda: not lab.belongings(), patience=30)
    assert [(process.pid, process.cmdline()) for process in lab.belongings()] == [], f"all of them end by themselves when idle\n{lab.logs()}"
