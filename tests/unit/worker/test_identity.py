"""What a worker is called: HOST.ID, where the id is kept by its home."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow import settings
from rqflow.broker.names import machine_of, member_of
from rqflow.exceptions import ConfigError
from rqflow.worker import identity
from rqflow.worker.options import usual_work_dir
from rqflow.worker.workdir import NAMES, WorkDir


def named(home: Path, host: str = "node1.lab", folder: str = "state/worker") -> str:
    return identity.name_of(home, host, WorkDir(home / folder), home / "state" / "worker")


def test_the_name_stays_and_differs_between_homes_and_hosts(tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    first = named(homes[0])
    assert first == named(homes[0])
    assert len({first, named(homes[1]), named(homes[0], host="node2.lab")}) == 3
    assert len((homes[0] / identity.ID_FILE).read_text().splitlines()) == 2
    assert machine_of(f"{first}.abc123") == first
    assert first.startswith("node1.lab.")


def test_other_work_dirs_of_a_home_belong_to_the_same_member(tmp_path: Path) -> None:
    own, other = named(tmp_path), named(tmp_path, folder="elsewhere")
    assert own != other
    assert member_of(other) == member_of(own) == own


def test_a_work_dir_of_the_environment_is_that_of_a_further_worker(tmp_path: Path) -> None:
    (tmp_path / "rqflow.cfg").write_text("[worker]\nwork_dir = /fast/disk\n")
    assert usual_work_dir(settings.load(home=tmp_path, environ={})) == Path("/fast/disk")
    of_one_process = settings.load(home=tmp_path, environ={"RQFLOW__WORKER__WORK_DIR": "/other/disk"})
    assert usual_work_dir(of_one_process) == tmp_path / "state" / "worker"


def test_a_work_dir_that_an_older_release_used_keeps_its_name(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path / "state" / "worker")
    work_dir.path.mkdir(parents=True)
    (work_dir.path / NAMES).write_text(f"node1.lab.{work_dir.digest}.abcdef boot\n")
    assert named(tmp_path) == f"node1.lab.{work_dir.digest}"


def test_a_home_that_cannot_be_written_still_has_one_name(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert named(gone) == named(gone) == f"node1.lab.{WorkDir(gone / 'state' / 'worker').digest}"


def test_a_file_that_says_no_id_is_named(tmp_path: Path) -> None:
    (tmp_path / identity.ID_FILE).write_text("node1.lab Not an id\n")
    with pytest.raises(ConfigError, match=r"worker\.id says no id for node1\.lab"):
        named(tmp_path)
