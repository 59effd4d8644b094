"""Logs as the web server of a real hub gives them: while tasks run, when they are killed, when their machines are gone, and very long ones."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, states, tasks
from tests.e2e.pages import Pages
from tests.profile import PATIENCE
from tests.waiting import until

MB = 1 << 20


@pytest.fixture
def pages(new_lab: Callable[..., Lab], lab_redis: str) -> Pages:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    return Pages(lab, role="admin")


def test_r51_r52_r53_logs_are_read_live_after_a_kill_and_after_their_machines_are_gone(pages: Pages) -> None:
    lab = pages.lab
    run_id = lab.submit(lab.dag("""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("moving"):
            BashOperator(task_id="a", bash_command="echo try $RQFLOW_TRY; [ $RQFLOW_TRY = 3 ]", retries=2, retry_delay=timedelta(seconds=0))
            BashOperator(task_id="live", bash_command="for i in 1 2 3 4 5 6 7 8; do date +%s.%N; sleep 0.3; done; kill -9 0", queue="other")
    """))
    lab.worker("-Q", "other", work_dir="living")
    run = lab.show(run_id)
    late = pages.follow(pages.log(run, "live"))
    assert len(late) == 8
    assert max(after for _, after in late) < 3
    for number in range(3):
        worker = lab.worker("--max-tasks", "1", work_dir=f"machine{number}")
        assert worker.wait(PATIENCE) == 0, lab.logs()
        shutil.rmtree(lab.root / f"machine{number}")
    run = lab.finish(run_id)
    assert len({one["worker"] for one in tasks(run)["a"]["tries"]}) == 3
    for number in range(1, 4):
        page = pages.get(pages.log(run, "a", number)).text
        assert f">try {number}</span>" in page
        assert page.count('class="log-tries"') == 1
    lines = pages.get(pages.log(run, "live"), format="text").text.splitlines()
    assert len(lines) == 9
    assert "signal 9" in lines[-1] or "SIGKILL" in lines[-1]
    assert "killed by SIGKILL after" in pages.get(pages.log(run, "live")).text


EVIL = "$(touch {folder}/executed); '\"<script>alert(1)</script>"
SECRET = "hunter-twenty-2"


def test_r76_r77_what_is_given_at_the_page_is_data_and_what_is_secret_is_seen_nowhere(pages: Pages) -> None:
    """Reliability 76, 77: a run started by the form of the page; a secret that comes in two pieces, live and afterwards, in each view of it."""
    lab, evil = pages.lab, EVIL.format(folder=pages.lab.folder)
    lab.worker("-n", "4")
    lab.run("var", "set", "pin", SECRET, "--secret")
    lab.run("submit", lab.dag("""
        from rqflow import DAG, BashOperator, PythonOperator
        def fails(pin):
            raise ValueError("no luck with " + pin)
        with DAG("given", schedule=None):
            BashOperator(task_id="raw", bash_command="echo {{ dag_run.conf.x }}")
            BashOperator(task_id="quoted", bash_command='echo {{ dag_run.conf.x | shquote }}; printf "%s\\n" "$X"', env={"X": "{{ dag_run.conf.x }}"})
            BashOperator(task_id="tells", env={"API_TOKEN": "{{ var.value.pin }}", "A_PASSWORD": "abc"},
                         bash_command='echo "$API_TOKEN abc"; printf %s "${API_TOKEN:0:6}"; sleep 0.7; date +" %s.%N"; echo "${API_TOKEN:0:6}"; echo "$API_TOKEN"')
            BashOperator(task_id="pieces", env={"API_TOKEN": "{{ var.value.pin }}"}, bash_command='printf %s "${API_TOKEN:0:6}"; sleep 0.7; echo "${API_TOKEN:6}"')
            PythonOperator(task_id="fails", python_callable=fails, op_args=["{{ var.value.pin }}"])
    """))
    answer = pages.ask("POST", "/dags/given/trigger", data={"conf": json.dumps({"x": evil}), "run_id": "r"}, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    key = answer.headers["location"].rpartition("/")[2]
    live = pages.follow(f"/runs/{key}/logs/tells/1")
    assert live
    assert all(SECRET not in text for text, _ in live)
    run = lab.finish("r")
    assert run["run_key"] == key
    assert states(run) == {"raw": "failed", "quoted": "success", "tells": "success", "pieces": "success", "fails": "failed"}
    # 76: it came to the letter, or not at all.
    assert not (lab.folder / "executed").exists()
    for task_id in ("raw", "quoted", "tells", "pieces", "fails"):
        until(lambda: "rqflow: " in pages.get(pages.log(run, task_id), format="text").text, what="the log to be whole")  # noqa: B023 (called before the next turn)
    assert pages.get(pages.log(run, "quoted"), format="text").text.splitlines()[:2] == [evil, evil]
    page = pages.get(pages.log(run, "quoted")).text
    assert (evil in unescape(page), "<script>alert" in page) == (True, False)
    assert "dag_run.conf" in pages.get(f"/runs/{key}/tasks/raw").text
    # 77: nowhere, in no form of it.
    stars = "*" * len(SECRET)
    assert pages.get(pages.log(run, "pieces"), format="text").text.splitlines()[0] == stars
    assert pages.get(pages.log(run, "tells"), format="text").text.splitlines()[0] == f"{stars} abc", "a word of three letters is a word"
    assert "no luck with ***" in pages.get(f"/runs/{key}/tasks/fails").text
    tabs = ("log", "graph", "timeline", "details", "rendered", "xcoms")
    paths = ["/", "/variables", "/variables/pin", "/audit", "/dags/given/code", "/dags/given/details", f"/runs/{key}", f"/runs/{key}?tab=events",
             f"/runs/{key}/report.html", f"/runs/{key}/report.csv", "/api/v1/variables", "/api/v1/variables/pin", "/api/v1/audit", f"/api/v1/runs/{key}",
             "/airflow/api/v1/variables/pin", "/airflow/api/v1/dags/given/dagRuns/r/taskInstances",
             *(f"/runs/{key}/tasks/{task}?tab={tab}" for task in states(run) for tab in tabs),
             *(f"/runs/{key}/logs/{task}/1{part}" for task in states(run) for part in ("", "?format=json", "?format=block", "/raw?plain=1", "/search?q=hunter")),
             *(f"/api/v1/runs/{key}/tasks/{task}{part}" for task in states(run) for part in ("", "/rendered", "/log")), f"/api/v1/runs/{key}/xcoms",
             *(f"/airflow/api/v1/dags/given/dagRuns/r/taskInstances/{task}/{part}" for task in states(run) for part in ("logs/1", "xcomEntries"))]
    told = [path for path in paths if SECRET in unescape(pages.get(path).text)]
    assert told == []


def test_r54_a_log_of_a_gigabyte_takes_little_memory(pages: Pages) -> None:
    lab = pages.lab
    lab.worker()
    run = lab.finish(lab.submit(lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("long"):
            BashOperator(task_id="a", bash_command="echo short")
    """)))
    url = pages.log(run, "a")
    for path in (url, f"{url}/search?q=short", f"{url}/search?errors=true", f"{url}/raw"):
        pages.get(path)
    file = lab.services.settings.logs.folder
    found = until(lambda: next((log for log in Path(file).rglob("1.log") if not log.stat().st_mode & 0o200), None), what="the log to come whole")
    found.chmod(0o640)
    lines = b"".join(b"2026-01-01 12:00:00 INFO step %07d, and nothing to see here, all is well and goes on\n" % number for number in range(100_000))
    with found.open("wb") as stream:
        for _ in range(1000 * MB // len(lines)):
            stream.write(lines)
        stream.write(b"x" * (50 * MB) + b"\nERROR <script>last</script>\n")
    before = pages.memory
    took = []
    for _ in range(3):  # the machine may have more to do
        began = time.monotonic()
        page = pages.get(url)
        took.append(time.monotonic() - began)
    assert len(page.content) < 2_000_000
    assert "ERROR &lt;script&gt;last&lt;/script&gt;" in page.text
    size = found.stat().st_size
    long_line = pages.get(url, format="json", before=size - 28).json()
    assert [line["left_out"] for line in long_line["lines"]] == [50 * MB - 4096]
    assert len(pages.get(url, format="block", line=5_000_000).content) < 2_000_000
    until(lambda: pages.get(f"{url}/number", at=long_line["start"]).json()["line"], what="the lines to be counted")
    pages.get(f"{url}/search", q="not in there")
    pages.get(f"{url}/search", errors=True)
    with pages.client.get(f"{pages.url}{url}/raw?plain=1", stream=True, timeout=PATIENCE) as answer:
        assert sum(map(len, answer.iter_content(MB))) == size
    found.unlink()
    assert pages.memory - before < 50 * MB
    assert min(took) < 1
