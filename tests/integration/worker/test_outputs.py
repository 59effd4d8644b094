"""Reliability 85: declared outputs, through a worker with real processes."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.worker.conftest import Site
from tests.unit.builders import a_task, a_version
from tests.waiting import until


def test_earlier_file_is_moved_aside(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    run = site.command(f"[ ! -e {file} ] && echo new > {file}", outputs=(str(file),))
    site.work()
    assert site.task(run).state == "success"
    assert (file.read_text(), Path(f"{file}.before-1").read_text()) == ("new\n", "old")
    assert site.log(run).splitlines()[0] == f"rqflow: what was there before it was moved to {file}.before-1"
    assert site.broker.xcoms(run.key)["t"] == {"return_value": '""'}


def test_try_that_cannot_start_leaves_earlier_files_where_they_are(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    run = site.command("true", outputs=(str(file),), env_file="/no/such/file")
    site.work()
    assert site.task(run).state == "failed"
    assert [path.name for path in tmp_path.glob("f*")] == ["f"]


def test_failed_try_leaves_a_partial_file_and_the_next_one_makes_it(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    command = f'echo half > {file}; [ "$RQFLOW_TRY" = 2 ] || kill -9 $$; echo whole > {file}'
    specs = [a_task("t", command, outputs=(str(file),), retries=1, retry_delay=0.0), a_task("child", f"cat {file}")]
    run = site.run(a_version({"t": [], "child": ["t"]}, specs=specs))
    site.work()
    assert site.states(run) == {"t": "success", "child": "success"}
    assert (file.read_text(), Path(f"{file}.partial-1").read_text()) == ("whole\n", "half\n")
    assert site.log(run, "child").splitlines()[0] == "whole"
    assert f"rqflow: what it left was renamed to {file}.partial-1" in site.log(run, "t", 1)


def test_killed_worker_leaves_no_half_written_output(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    run = site.command(f"echo half > {file}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 1", outputs=(str(file),))
    worker = site.start()
    until(file.exists, what="the task to write")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    (tmp_path / "go").touch()
    until(Path(f"{file}.partial-1").exists, what="the shepherd to rename it")
    assert not file.exists()
    site.work()
    assert site.task(run).state == "failed"


def test_success_with_a_missing_output_is_a_failure_that_names_it(site: Site, tmp_path: Path) -> None:
    run = site.command(f"touch {tmp_path}/a", outputs=(f"{tmp_path}/a", f"{tmp_path}/b"))
    site.work()
    assert (site.task(run).state, site.task(run).reason) == ("failed", f"it ended well, but its output {tmp_path}/b is missing")
    assert Path(f"{tmp_path}/a.partial-1").exists()


def test_existing_outputs_resume(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("made before")
    run = site.command(f"touch {tmp_path}/ran", outputs=(f"{tmp_path}/f",), skip_if_outputs_exist=True)
    site.work()
    assert (site.task(run).state, site.task(run).reason) == ("success", "its outputs exist already")
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "f").read_text() == "made before"
    assert "rqflow: its outputs exist already" in site.log(run)


def test_outputs_are_templates_and_relative_to_the_folder_of_the_task(site: Site, tmp_path: Path) -> None:
    run = site.command("touch 2024-01-01.txt", outputs=("{{ ds }}.txt",), fields={"cwd": str(tmp_path)})
    site.work()
    assert site.task(run).state == "success"


def test_cancelled_task_leaves_only_a_partial_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    run = site.command(f"trap 'exit 0' TERM; echo half > {file}; while :; do sleep 0.05; done", outputs=(str(file),))
    site.start()
    until(file.exists, what="the task to write")
    site.broker.cancel_task(run.key, "t", "me")
    site.until(run, "cancelled")
    assert not file.exists()
    assert Path(f"{file}.partial-1").exists()
