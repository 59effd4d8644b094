"""Tasks under other accounts than their worker's, with real accounts, which the tests make and remove."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import accounts
from tests.accounts import Place
from tests.integration.worker.conftest import RQ, Site
from tests.integration.worker.test_outside import dag
from tests.integration.worker.test_sealed import MADE, SECRET, JoinedHub, hub  # noqa: F401 (a fixture)
from tests.profile import PATIENCE
from tests.proxy import Proxy
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with accounts.place() as made:
        yield made


@pytest.fixture
def lab(site: Site, place: Place) -> Site:
    """A site whose workers, which are root's, may run tasks as both accounts, in a work_dir that nothing but its own mode protects."""
    site.python = place.python
    site.environ |= {
        "RQFLOW__WORKER__ACCOUNTS": f"{place.ann},{place.bob}", "RQFLOW__WORKER__ACCOUNT_DIR": str(place.shared), "WORKERS_OWN": "secret",
    }
    return site


def as_ann(place: Place, task_id: str, command: str, **changes: Any) -> Any:
    return a_task(task_id, command, run_as_user=place.ann, **changes)


def test_a_task_has_the_ids_the_home_and_the_files_of_its_account(lab: Site, place: Place) -> None:
    script = (f"id -un; id -gn; id -Gn; echo $HOME $USER $LOGNAME $SHELL; env | grep -c WORKERS_OWN; umask; touch {place.shared}/f; pwd;"
              "echo $RQFLOW_TASK_ID")
    run = lab.run(a_version(specs=[as_ann(place, "t", script, umask="027")]))
    lab.work()
    assert lab.states(run) == {"t": "success"}, lab.log(run)
    home = Path(place.shared.parent, place.ann)
    lines = lab.log(run).splitlines()
    assert lines[:6] == [place.ann, place.ann, f"{place.ann} {place.lab}", f"{home} {place.ann} {place.ann} /bin/bash", "0", "0027"]
    assert (lines[6].startswith(f"{place.shared}/rqflow-{place.uid(place.ann)}/tries/"), lines[7]) == (True, "t")
    found = (place.shared / "f").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (place.uid(place.ann), 0o640)
    until(lambda: not Path(lines[6]).exists(), what="its folder to be removed")


def test_nothing_of_the_worker_or_of_others_is_to_be_read(lab: Site, place: Place) -> None:
    """Its folders are private by their own mode, whatever lies above them; so is what each try has."""
    for folder in (lab.folder, *lab.folder.parents[:3]):
        folder.chmod(0o755)
    work = lab.folder / "work"
    bob = a_task("bob", f"echo private > kept; pwd > {place.shared}/bobs; while [ ! -e {place.shared}/go ]; do sleep 0.05; done", run_as_user=place.bob)
    script = (f"cat /proc/self/environ | tr '\\0' '\\n' | cut -d= -f1 | sort | tr '\\n' ' '; echo; find {work} -type f 2>/dev/null | wc -l;"
              f"ls {work} 2>/dev/null; ls $(cat {place.shared}/bobs) 2>/dev/null; cat /proc/$PPID/environ 2>/dev/null | wc -c;"
              "exec 3<&1; cat <&3 2>/dev/null; cat /dev/stdout 2>/dev/null; true")
    lab.start()
    other = lab.run(a_version(specs=[bob], dag_id="other"), dag_id="other")
    until((place.shared / "bobs").exists, what="the other task to run")
    run = lab.run(a_version(specs=[as_ann(place, "t", script)]))
    lab.until(run, "success")
    (place.shared / "go").touch()
    lab.until(other, "success", "bob")
    names, *rest = until(lambda: lab.log(run).splitlines() if "exit code" in lab.log(run) else [], what="its log")
    assert set(names.split()) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONUNBUFFERED", "HOME", "USER", "LOGNAME", "SHELL", "SHLVL", "PWD", "_"} | {
        name for name in names.split() if name.startswith(("RQFLOW_", "AIRFLOW_CTX_"))}
    assert rest[:2] == ["0", "0"]
    assert len(rest) == 3, rest


def test_a_python_task_gives_and_takes_xcoms_under_its_account(lab: Site, place: Place) -> None:
    source = ("import os\nfrom rqflow import DAG, PythonOperator\n"
              "def who(ti):\n    return [os.getuid(), ti.xcom_pull('first')]\n"
              f"with DAG('d'):\n    PythonOperator(task_id='second', python_callable=who, run_as_user={place.ann!r})\n")
    second = a_task("second", run_as_user=place.ann, operator="python", operator_name="PythonOperator", needs_source=True, fields={"bash_command": ""})
    version = a_version({"first": [], "second": ["first"], "third": ["second"]}, sources={"d.py": source}, specs=[
        as_ann(place, "first", "echo said"), second, as_ann(place, "third", "echo {{ ti.xcom_pull('second') }}")])
    alone = a_task("alone", run_as_user=place.bob, operator="python", operator_name="PythonOperator", python="/usr/bin/python3", fields={
        "bash_command": "", "source": "def who():\n    import os, sys\n    return [os.getuid(), sys.executable]\n", "function": "who"})
    other = lab.run(a_version(specs=[alone], dag_id="other"), dag_id="other")
    run = lab.run(version)
    lab.work()
    assert set(lab.states(run).values()) == {"success"}, lab.log(run, "second")
    assert lab.broker.xcoms(other.key) == {"alone": {"return_value": f'[{place.uid(place.bob)}, "/usr/bin/python3"]'}}
    assert lab.log(run, "third").splitlines()[0] == f"[{place.uid(place.ann)}, said]"


def test_the_desk_hears_nobody_but_what_it_holds_of_that_account(lab: Site, place: Place) -> None:
    """Ann's task hands what it was given to bob's, and to a later one of her own."""
    source = ("import json, os, pathlib\nfrom rqflow import DAG, PythonOperator\nfrom rqflow.worker import desk\n"
              f"kept = pathlib.Path({str(place.shared)!r}, 'handover')\n"
              "def give():\n    told = dict(one.split('=', 1) for one in open('/proc/self/environ').read().split('\\0') if one)\n"
              "    kept.write_text(told['RQFLOW_HANDOVER'])\n    kept.chmod(0o644)\n    return ask()\n"
              "def ask():\n    try:\n        desk.ask(json.loads(kept.read_text())['hub'], do='note', said=5)\n"
              "    except Exception as error:\n        return error.message\n"
              f"with DAG('d'):\n    give_ = PythonOperator(task_id='give', python_callable=give, run_as_user={place.ann!r})\n"
              f"    PythonOperator(task_id='steal', python_callable=ask, run_as_user={place.bob!r})\n"
              f"    PythonOperator(task_id='late', python_callable=ask, run_as_user={place.ann!r})\n")
    specs = [a_task(name, run_as_user=account, operator="python", operator_name="PythonOperator", needs_source=True)
             for name, account in (("give", place.ann), ("steal", place.bob), ("late", place.ann))]
    run = lab.run(a_version({"give": [], "steal": ["give"], "late": ["give"], "told": ["steal", "late"]}, sources={"d.py": source}, specs=[
        *specs, a_task("told", "echo {{ ti.xcom_pull('give') | shquote }}; echo {{ ti.xcom_pull('steal') }}; echo {{ ti.xcom_pull('late') }}")]))
    lab.work()
    assert set(lab.states(run).values()) == {"success"}, [lab.log(run, name) for name in lab.states(run)]
    refusal = "this worker holds no such execution of this account"
    own, *others = lab.log(run, "told").splitlines()[:3]
    assert own.startswith("this is no question: ")
    assert others == [refusal, refusal]


def test_a_worker_that_joined_lets_accounts_ask_for_their_secrets(lab: Site, place: Place, hub: JoinedHub) -> None:  # noqa: F811 (it is that one)
    """It cannot open them itself: the child asks at its desk with a ticket of its own, and has its worker note what its log must not show."""
    hub.join()
    run = dag(lab, f"""
def read():
    Variable.set("made_password", "{MADE}")
    print("read", Variable.get("plain"), Variable.get("token"), Variable.get("made_password"))
with DAG("d", schedule=None):
    PythonOperator(task_id="p", python_callable=read, run_as_user={place.ann!r})
""")
    lab.work()
    assert lab.states(run) == {"p": "success"}, lab.log(run, "p")
    assert lab.log(run, "p").splitlines()[0] == f"read visible {'*' * len(SECRET)} {'*' * len(MADE)}"


def test_outputs_are_the_accounts_own_affair(lab: Site, place: Place) -> None:
    roots = place.shared / "roots"
    roots.write_text("roots")
    (place.shared / "made").write_text("before")
    os.chown(place.shared / "made", place.uid(place.ann), -1)
    run = lab.run(a_version(specs=[
        as_ann(place, "made", f"echo new > {place.shared}/made", outputs=(f"{place.shared}/made",)),
        as_ann(place, "half", f"echo half > {place.shared}/half; exit 3", outputs=(f"{place.shared}/half",)),
        as_ann(place, "missing", "true", outputs=("~/nothing",)),
        as_ann(place, "foreign", "exit 3", outputs=(str(roots),)),
    ]))
    lab.work()
    assert lab.states(run) == {"made": "success", "half": "failed", "missing": "failed", "foreign": "failed"}
    assert (place.shared / "made.before-1").read_text() == "before"
    assert "what was there before it was moved to" in lab.log(run, "made")
    assert (place.shared / "half.partial-1").read_text() == "half\n"
    assert lab.task(run, "missing").reason == f"it ended well, but its output {place.shared.parent}/{place.ann}/nothing is missing"
    assert roots.read_text() == "roots", "root has renamed what a task named"
    assert "could not be started: Operation not permitted" in lab.task(run, "foreign").reason
    for file in place.shared.glob("*made*"):
        file.unlink()


def test_what_may_not_run_as_an_account_does_not_run(lab: Site, place: Place) -> None:
    marked = [a_task(name, f"touch {place.shared}/ran", run_as_user=account) for name, account in
              (("refused", "nobody"), ("nowhere", "rq-no-such-account"))]
    lab.environ["RQFLOW__WORKER__ACCOUNTS"] += ",rq-no-such-account"
    run = lab.run(a_version(specs=[*marked, a_task("own", "id -un")]))
    lab.work()
    reasons = {name: lab.task(run, name).reason for name in ("refused", "nowhere")}
    assert not (place.shared / "ran").exists()
    assert reasons["refused"] == "run_as_user='nobody' is not allowed here: worker.accounts does not have it, and nobody has signed for it"
    assert reasons["nowhere"] == "this machine has no account rq-no-such-account"
    assert lab.states(run)["own"] == "success"
    assert lab.log(run, "own").startswith("root\n")
    assert "tasks run as root: set worker.run_as" in lab.said()


@pytest.mark.parametrize(("run_as", "said"), [
    ("signer", "worker.run_as is signer, and security.allowed_signers and security.signer_limits are not both set"),
    ("root", "worker.run_as: tasks never run as root"),
    ("sgner", "worker.run_as: this machine has no account sgner"),
])
def test_a_worker_that_could_run_nothing_does_not_start(site: Site, run_as: str, said: str) -> None:
    worker = site.start(environ={"RQFLOW__WORKER__RUN_AS": run_as}, burst=True)
    assert worker.wait(PATIENCE) == 6
    assert said in site.said()


def test_a_folder_that_somebody_else_has_made_for_an_account_is_not_used(lab: Site, place: Place) -> None:
    folder = place.shared / "theirs"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    base = folder / f"rqflow-{place.uid(place.ann)}"
    lab.environ |= {"RQFLOW__WORKER__ACCOUNT_DIR": str(folder)}
    reasons = []
    for number, make in enumerate((lambda: base.mkdir(), lambda: base.symlink_to(place.shared))):
        make()
        os.chown(base, place.uid(place.bob), -1, follow_symlinks=False)
        run = lab.run(a_version(specs=[as_ann(place, "t", "true")], dag_id=f"d{number}"), dag_id=f"d{number}")
        lab.work()
        reasons.append(lab.task(run).reason)
        base.rename(folder / f"was{number}")
    assert reasons == [f"could not be started: {base} is not a folder that is this account's alone: remove it, or mend its owner and mode"] * 2


def test_a_stock_worker_runs_nothing_under_another_account(site: Site, place: Place) -> None:
    run = site.run(a_version(specs=[a_task("t", f"touch {place.shared}/stock", run_as_user=place.ann)]))
    environ = {**site.environ, "RQFLOW__REDIS__URL": site.url, "RQFLOW__WORKER__ACCOUNTS": place.ann}
    subprocess.run([RQ, "worker", "--burst", "--serializer", "json", "--url", site.url, "default"], env=environ, check=True, capture_output=True)
    assert site.task(run).reason == f"a stock RQ worker runs nothing as {place.ann}"
    assert not (place.shared / "stock").exists()


def test_a_worker_with_one_account_for_all_runs_all_under_it(lab: Site, place: Place) -> None:
    lab.environ |= {"RQFLOW__WORKER__RUN_AS": place.bob, "RQFLOW__WORKER__ACCOUNTS": f"root,{place.ann}"}
    run = lab.run(a_version(specs=[a_task("root", f"touch {place.shared}/ran", run_as_user="root"), a_task("t", "id -un; pwd", fields={"cwd": "/no/such/folder"}), a_task("u", "id -un"), as_ann(place, "v", "id -un")]))
    lab.work()
    assert [lab.log(run, name).partition("\n")[0] for name in "uv"] == [place.bob, place.ann]
    assert lab.task(run).reason == f"could not be started: its folder /no/such/folder does not exist, or {place.bob} may not go there"
    assert lab.task(run, "root").reason == "tasks never run as root, which root is"
    assert not (place.shared / "ran").exists()
    assert "tasks run as root" not in lab.said()


def test_kill_and_timeout_reach_all_of_a_task_across_accounts(lab: Site, place: Place) -> None:
    stray = f"setsid sleep 1000 & setsid env -i sleep 1000 & (trap '' TERM; while :; do sleep 1; done) & touch {place.shared}/"
    lab.start()
    run = lab.run(a_version(specs=[
        as_ann(place, "killed", f"{stray}k; sleep 1000"), as_ann(place, "late", f"{stray}l; sleep 1000", execution_timeout=1.0),
    ]))
    until((place.shared / "k").exists, what="the task to run")
    assert place.processes(place.ann)
    lab.broker.cancel_task(run.key, "killed", "ada")
    lab.until(run, "cancelled", "killed")
    assert lab.until(run, "failed", "late").reason == "timeout after 1s"
    assert "could not be killed" not in lab.log(run, "killed") + lab.log(run, "late")
    until(lambda: not place.processes(place.ann), what="nothing of ann to be left")


def test_a_task_outlives_worker_and_shepherd_and_is_taken_over(lab: Site, place: Place) -> None:
    worker = lab.start()
    wait = f"touch {place.shared}/o$RQFLOW_TASK_ID; while [ ! -e {place.shared}/on ]; do sleep 0.05; done; exit 3"
    run = lab.run(a_version(specs=[as_ann(place, "t", wait)]))
    until((place.shared / "ot").exists, what="the task to run")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    lab.start()
    until(lambda: "took over 1 running tasks" in lab.said(), what="the next worker to take over")
    (place.shared / "on").touch()
    assert lab.until(run, "failed").reason == "exit code 3"
    (place.shared / "on").unlink()
    (place.shared / "ot").unlink()
    run = lab.run(a_version(specs=[as_ann(place, "t", wait)]), run_id="r2")
    until((place.shared / "ot").exists, what="the task to run")
    shepherd = until(lambda: place.processes(place.ann), what="its process")[0].ppid()
    os.kill(shepherd, signal.SIGKILL)
    until(lambda: not is_alive(shepherd), what="the shepherd to die")
    lab.broker.cancel_run(run.key, "ada")
    lab.until(run, "cancelled")
    until(lambda: not place.processes(place.ann), what="nothing of ann to be left")


def test_limits_hold_under_an_account(lab: Site, place: Place) -> None:
    run = lab.run(a_version(specs=[as_ann(place, "t", "nice; ulimit -n; taskset -p $$ | grep -c :", nice=5, nofile=99, cpus=1)]))
    lab.work()
    assert lab.log(run).splitlines()[:3] == ["5", "99", "1"]


# -- by sudo --


@pytest.fixture
def by_sudo(lab: Site, place: Place) -> Iterator[Site]:
    """A site whose workers are bob's, who may become ann by sudo, and nobody else."""
    if not shutil.which("sudo"):
        pytest.skip("there is no sudo here")
    printed = subprocess.run([place.python, "-m", "rqflow.cli.main", "worker", "sudoers", "--worker", place.bob, place.ann], env=lab.environ,
                             capture_output=True, text=True, check=True, cwd=accounts.ROOT).stdout
    rule = Path("/etc/sudoers.d", f"rqflow-test-{os.getpid()}")
    rule.write_text(printed)
    rule.chmod(0o440)
    subprocess.run(["visudo", "-c", "-q", "-f", str(rule)], check=True)
    home = Path(tempfile.mkdtemp(prefix="rqflow-bob-"))
    try:
        os.chown(home, place.uid(place.bob), -1)
        with Proxy(lab.url.removeprefix("unix://")) as proxy:
            yield dataclasses.replace(lab, folder=home, url=proxy.redis_url, user=place.bob, environ={**lab.environ, "RQFLOW_HOME": str(home)})
    finally:
        for process in lab.processes:
            process.terminate()
            process.wait()
        rule.unlink()
        shutil.rmtree(home, ignore_errors=True)


def test_a_worker_that_is_not_root_runs_tasks_as_others_by_sudo(by_sudo: Site, place: Place) -> None:
    source = ("import os\nfrom rqflow import DAG, PythonOperator\n"
              f"with DAG('d'):\n    PythonOperator(task_id='python', python_callable=os.getuid, run_as_user={place.ann!r})\n")
    python = a_task("python", run_as_user=place.ann, operator="python", operator_name="PythonOperator", needs_source=True, fields={"bash_command": ""})
    script = "id -un; id -Gn; echo $HOME $USER; umask; ulimit -n; echo $FROM_TASK; exit 7"
    run = by_sudo.run(a_version(sources={"d.py": source}, specs=[
        python, a_task("own", "id -un"), a_task("refused", f"touch {place.shared}/ran", run_as_user="nobody"),
        as_ann(place, "t", script, umask="027", nofile=99, fields={"env": {"FROM_TASK": "a b"}}),
        as_ann(place, "half", f"echo half > {place.shared}/sudo; exit 3", outputs=(f"{place.shared}/sudo",)),
    ]))
    by_sudo.environ["RQFLOW__WORKER__ACCOUNTS"] += ",nobody"
    by_sudo.work()
    home = place.shared.parent / place.ann
    assert by_sudo.log(run).splitlines()[:6] == [place.ann, f"{place.ann} {place.lab}", f"{home} {place.ann}", "0027", "99", "a b"]
    assert by_sudo.log(run, "own").startswith(f"{place.bob}\n")
    assert by_sudo.states(run)["python"] == "success", by_sudo.log(run, "python")
    assert [by_sudo.task(run, name).reason for name in ("t", "half")] == ["exit code 7", "exit code 3"]
    assert (place.shared / "sudo.partial-1").stat().st_uid == place.uid(place.ann)
    refused = by_sudo.task(run, "refused").reason
    assert refused.startswith("nothing can be done as nobody: ")
    assert "sudo" in refused or "password" in refused
    assert "`rqflow worker sudoers` prints the line that sudo needs" in by_sudo.log(run, "refused")
    assert not (place.shared / "ran").exists()


def test_a_task_by_sudo_may_be_stopped_and_goes_on_or_is_ended_in_time(by_sudo: Site, place: Place) -> None:
    """sudo stops itself with what it runs, and does not go on by itself."""
    by_sudo.start()
    run = by_sudo.run(a_version(specs=[
        as_ann(place, "paused", f"echo $$ > {place.shared}/p; kill -STOP $$; exit 3"),
        as_ann(place, "late", "kill -STOP $$", execution_timeout=1.0),
    ]))
    assert by_sudo.until(run, "failed", "late").reason == "timeout after 1s"
    paused = psutil.Process(int(until(lambda: (place.shared / "p").exists() and (place.shared / "p").read_text(), what="the task to run")))
    until(lambda: paused.status() == psutil.STATUS_STOPPED, what="the task to be stopped")
    paused.resume()
    assert by_sudo.until(run, "failed", "paused").reason == "exit code 3"


def test_kill_and_timeout_reach_all_of_a_task_by_sudo(by_sudo: Site, place: Place) -> None:
    stray = f"setsid sleep 1000 & setsid env -i sleep 1000 & (trap '' TERM; while :; do sleep 1; done) & touch {place.shared}/s"
    worker = by_sudo.start()
    run = by_sudo.run(a_version(specs=[
        as_ann(place, "killed", f"{stray}k; sleep 1000"), as_ann(place, "late", f"{stray}l; sleep 1000", execution_timeout=1.0),
        as_ann(place, "adopted", f"{stray}a; sleep 1000"),
    ]))
    until(lambda: all((place.shared / name).exists() for name in ("sk", "sa")), what="the tasks to run")
    by_sudo.broker.cancel_task(run.key, "killed", "ada")
    by_sudo.until(run, "cancelled", "killed")
    assert by_sudo.until(run, "failed", "late").reason == "timeout after 1s"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    by_sudo.start()
    until(lambda: "took over" in by_sudo.said(), what="the next worker to take over")
    by_sudo.broker.cancel_task(run.key, "adopted", "ada")
    by_sudo.until(run, "cancelled", "adopted")
    assert "could not be killed" not in "".join(by_sudo.log(run, name) for name in ("killed", "late", "adopted"))
    until(lambda: not place.processes(place.ann), what="nothing of ann to be left")
