"""Attacks on workers by somebody who can write into Redis, or whose words reach a task: nothing executes, everything is said, the worker lives."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq.command import PUBSUB_CHANNEL_TEMPLATE

from rqflow import clock
from rqflow.actions import trigger
from rqflow.actions.trigger import Given
from rqflow.broker import control, keys, signed
from rqflow.dag.run import RunInfo
from rqflow.dag.version import TaskSpec, Version
from tests.e2e.lab import Lab, tasks
from tests.services import redis_server
from tests.waiting import until

# The commands of a person take seconds each while the machine does other things.
pytestmark = pytest.mark.timeout(240)

STOCK = "stock"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that asks for no signatures, with a worker and a stock one; both live and work at the end, and nobody has done anything else."""
    folder = tmp_path_factory.mktemp("attacks")
    with redis_server(folder, "--appendonly", "yes") as url:
        lab = Lab(folder / "lab", redis_url=url, environ={"RQFLOW_VAR_EVIL": f"$(touch {folder}/lab/evil)"})
        try:
            lab.hub()
            lab.worker("-n", "2")
            yield lab
            assert all(process.poll() is None for process in lab.processes), lab.logs()
            assert not evil(lab).exists()
        finally:
            lab.close()


def evil(lab: Lab) -> Path:
    """What is there when an attack has had its way."""
    return lab.root / "evil"


def version(dag_id: str, command: str = "true", **more: Any) -> Version:
    task = TaskSpec(index=0, task_id="t", operator="bash", operator_name="BashOperator", fields={"bash_command": command, "skip_exit_code": []})
    return Version(dag_id=dag_id, file=f"{dag_id}.py", generation="native", tasks=(task,), **more)


def start(lab: Lab, what: Version, **given: Any) -> RunInfo:
    run = trigger.by_hand(what, Given(**given), clock.utcnow())
    trigger.start(lab.services.broker, lab.services.engine, run, what, by="tester")
    return run


def works(lab: Lab, queue: str = "default") -> None:
    """See that the worker of a queue still does its work."""
    number = len(list(lab.root.glob("well*")))
    (lab.root / f"well{number}").touch()
    what = version(f"well{number}_{queue}")
    if queue != "default":
        what = replace(what, tasks=(replace(what.tasks[0], queue=queue),))
    assert lab.finish(start(lab, what).run_id)["state"] == "success"


def hooked(job: Any, *_: Any) -> None:
    """What a job wants to be called when it has failed."""
    Path(os.environ["RQFLOW_HOME"]).parent.joinpath("evil").touch()


class Bomb:
    """What touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def push(lab: Lab, queue: str, name: str, data: bytes, **more: str) -> bytes:
    """Push a job as RQ does, and as if rqflow had made it ready; return the key of its hash."""
    connection = lab.services.connection
    key = f"{keys.RQ_JOB}{name}".encode()
    now = clock.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
    connection.hset(key, mapping={"created_at": now, "enqueued_at": now, "data": data, "origin": queue, "status": "queued", "timeout": "180", **more})
    connection.sadd(keys.RQ_QUEUES, keys.RQ_QUEUE + queue)
    connection.rpush(keys.RQ_QUEUE + queue, name)
    connection.lpush(keys.BELL + queue, "1")
    return key


def hostile(lab: Lab) -> dict[str, bytes]:
    """Data of jobs that are to make a worker do something else."""
    call = ["os.system", None, [f"touch {evil(lab)}"], {}]
    return {"pickle": zlib.compress(pickle.dumps(Bomb(evil(lab)))), "bare-pickle": pickle.dumps(Bomb(evil(lab))),
            "other-function": json.dumps(call).encode(), "other-function-packed": zlib.compress(json.dumps(call).encode()),
            "half": b'["rqflow.jobs.run_task"', "own-function-with-junk": json.dumps(["rqflow.jobs.run_task", None, ["../../x", "\0"], {}]).encode(),
            "large": b"x" * (4 << 20)}


def test_jobs_that_rqflow_did_not_make_are_never_run(target: Lab) -> None:
    for name, data in hostile(target).items():
        push(target, "default", name, data)
        target.services.connection.zadd(keys.READY + "default", {f"00000000000000:{name}:0": 0.0})
    works(target)
    assert not evil(target).exists()


def test_a_stock_worker_with_our_job_class_runs_nothing_but_tasks(target: Lab) -> None:
    target.stock_worker("--job-class", "rqflow.worker.tasks_only.Job", STOCK)
    for name, data in hostile(target).items():
        push(target, STOCK, f"stock-{name}", data)
    hooks = json.dumps(["rqflow.jobs.run_task", None, ["none", "t"], {}]).encode()
    push(target, STOCK, "hooks", hooks, success_callback_name="shutil.os.getcwd", failure_callback_name="tests.e2e.test_attacks.hooked")
    works(target, STOCK)
    until(lambda: target.services.connection.llen(keys.RQ_QUEUE + STOCK) == 0, what="the stock worker to look at all of them")
    assert not evil(target).exists()
    said = "".join(file.read_text(errors="replace") for file in target.root.glob("stock-*.log"))
    assert said.count("is no task of rqflow, and was not run") >= 2, said[-3000:]


def test_words_from_outside_are_data_to_bash(target: Lab) -> None:
    word = f"$(touch {evil(target)})"
    file = target.dag(f"""
        from rqflow import DAG, BashOperator, Param
        with DAG("words", params={{"p": "x"}}):
            first = BashOperator(task_id="push", bash_command="echo '{word}'")
            for name, text in {{
                "conf": "dag_run.conf.c", "param": "params.p", "variable": "var.value.evil", "xcom": "ti.xcom_pull(task_ids='push')",
                "run_id": "run_id", "connection": "conn.evil.host",
            }}.items():
                first >> BashOperator(task_id=name, bash_command="echo {{{{ " + text + " }}}}")
                first >> BashOperator(task_id=name + "_quoted", bash_command="echo {{{{ " + text + " | shquote }}}}")
                first >> BashOperator(task_id=name + "_env", bash_command='echo "$W"', env={{"W": "{{{{ " + text + " }}}}"}}, append_env=True)
        """, "words.py")
    target.run("conn", "set", "evil", "--type", "http", "--host", word)
    run_id = target.submit(file, "-p", f"p={word}", "--conf", json.dumps({"c": word}), "--run-id", f"r;touch {evil(target)}")
    found = tasks(target.finish(run_id))
    raw = [name for name in found if name != "push" and not name.endswith(("_quoted", "_env"))]
    assert {name: found[name]["state"] for name in raw} == dict.fromkeys(raw, "failed"), {name: found[name]["reason"] for name in raw}
    for name in raw:
        assert "shquote" in found[name]["reason"] or "shquote" in target.task_log(run_id, name), found[name]["reason"]
    others = found.keys() - {*raw}
    assert {found[name]["state"] for name in others} == {"success"}, {name: found[name]["reason"] for name in others}
    assert word in target.task_log(run_id, "conf_quoted")
    assert not evil(target).exists()


def test_files_of_a_version_stay_in_its_folder_and_a_link_travels_as_what_it_shows(target: Lab) -> None:
    outside = target.root / "outside.txt"
    outside.write_text("what the link shows\n")
    beside = target.folder / "link.txt"
    beside.symlink_to(outside)
    file = target.dag("""
        from rqflow import DAG, BashOperator
        with DAG("linked"):
            BashOperator(task_id="t", bash_command='f=$RQFLOW_DAG_FOLDER/link.txt; cat $f; test -L $f && echo "a link"; true', files=["link.txt"])
        """, "linked.py")
    run_id = target.submit(file)
    assert target.finish(run_id)["state"] == "success"
    assert target.task_log(run_id, "t").splitlines()[0] == "what the link shows"
    assert "a link" not in target.task_log(run_id, "t")
    for number, name in enumerate(["../../../evil", str(evil(target)), "a/../../../../evil", "x\0y"]):
        what = version(f"outside{number}", sources={name: "evil"})
        task = what.tasks[0]
        what = replace(what, tasks=(replace(task, fields={**task.fields, "files": ["x"]}),))
        found = target.finish(start(target, what).run_id)
        assert found["state"] == "failed"
        assert "outside of the DAG's folder" in found["tasks"][0]["reason"] or "null byte" in found["tasks"][0]["reason"]
    assert not list(target.root.rglob("evil"))


def test_forged_versions_without_signatures_harm_nobody(target: Lab) -> None:
    broker, connection = target.services.broker, target.services.connection
    control.pause_queue(broker, "default", "tester")
    runs = []
    for number, forged in enumerate((b"", b"[]", b'{"format":1}', b"\xff\xfe", b"[" * 100_000, b'{"format":1,"tasks":[{"index":0,"os":"x"}]}')):
        what = version(f"forged{number}", f"touch {evil(target)}")
        runs.append(start(target, what))
        connection.hset(keys.VERSION + what.sha, signed.JSON, forged)
    what = version("swollen", f"touch {evil(target)}")
    runs.append(start(target, what))
    connection.hset(keys.VERSION + what.sha, signed.SIGNATURES, "x" * (2 << 20))
    for number, forged in enumerate((b"", b"[]", b"{}", b"junk")):
        runs.append(start(target, version(f"forged_run{number}", f"touch {evil(target)}")))
        connection.hset(keys.RUN + runs[-1].key, "info", forged)
    control.resume_queue(broker, "default")
    for run in runs:
        found = target.finish(run.run_id)
        assert found["state"] == "failed"
        said = found["tasks"][0]["reason"]
        assert any(words in said for words in ("what Redis has", "more than the", "Redis does not have the run")), said
    works(target)


def test_commands_that_are_none_and_orders_with_odd_names_harm_nobody(target: Lab) -> None:
    connection = target.services.connection
    worker = next(name.decode() for name in connection.smembers(keys.RQ_WORKERS) if b"." in name)
    name = worker.removeprefix(keys.RQ_WORKER)
    stop = b'{"command":"stop-job","job_id":["x"]}'
    for junk in (b"", b"\xff", b"[]", b"null", b'{"command":5}', stop, b"x" * (8 << 20), pickle.dumps(Bomb(evil(target)))):
        connection.publish(PUBSUB_CHANNEL_TEMPLATE % name, junk)
        connection.publish(keys.HINT + name, junk)
    machine = name.rpartition(".")[0]
    keep = target.root / "keep"
    keep.mkdir()
    order = {"kind": "failure", "version": "0" * 64, "run": {}, "task_id": "t"}
    for order_id, text in {f"../../../../../../..{keep}": json.dumps(order), "x": "junk", "y": "[]", "z": "{}"}.items():
        connection.hset(keys.CALLBACKS + machine, order_id, text)
    connection.publish(keys.HINT + name, "look")
    works(target)
    until(lambda: not connection.hexists(keys.CALLBACKS + machine, f"../../../../../../..{keep}"), what="the order to be put away")
    assert keep.is_dir()
    connection.delete(keys.CALLBACKS + machine)
