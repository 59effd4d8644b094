"""The files by which systemd, or a supervisord that is there already, runs the services."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow


def test_units_are_printed_for_this_rqflow_and_this_home(rqflow: Rqflow, home: Path) -> None:
    text = rqflow("service", "print", "--account", "lab").out
    assert [line for line in text.splitlines() if line.startswith("# rqflow")] == [
        "# rqflow-scheduler.service", "# rqflow-webserver.service", "# rqflow-worker@.service", "# rqflow-tunnel@.service", "# rqflow.target"]
    assert f'Environment="RQFLOW_HOME={home}"' in text
    assert "User=lab" in text
    only = rqflow("service", "print", "worker", "--user").out
    assert only.startswith("[Unit]")
    assert "User=" not in only
    assert "EnvironmentFile=-%h/.config/rqflow/env" in only


def test_units_are_written_into_a_folder(rqflow: Rqflow, tmp_path: Path) -> None:
    rqflow("service", "print", "--directory", str(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("rqflow*")) == [
        "rqflow-scheduler.service", "rqflow-tunnel@.service", "rqflow-webserver.service", "rqflow-worker@.service", "rqflow.target"]
    refused = rqflow("service", "print", "--directory", str(tmp_path / "none"))
    assert refused.code == 2
    assert "cannot be written" in refused.err


def test_programs_for_a_supervisord_that_is_there_end_no_tasks(rqflow: Rqflow) -> None:
    text = rqflow("service", "print", "--supervisor", "--account", "lab").out
    assert text.count("killasgroup = false") == text.count("stopasgroup = false") == 3
    assert "user = lab" in text


def test_tunnels_are_instances_of_a_unit_or_programs_of_their_own(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__TUNNELS__HUB", "-L hub redis")
    monkeypatch.setenv("RQFLOW__TUNNELS__LAB", "-R lab redis")
    assert "rqflow-tunnel@hub.service rqflow-tunnel@lab.service\n" in rqflow("service", "print", "target").out
    assert "programs = rqflow-scheduler,rqflow-worker,rqflow-webserver,rqflow-tunnel-hub,rqflow-tunnel-lab\n" in rqflow("service", "print", "--supervisor").out
    only = rqflow("tunnel", "print", "lab", "--supervisor").out
    assert "programs = rqflow-tunnel-lab\n" in only
    assert " tunnel up lab\n" in only
    assert " tunnel up %i\n" in rqflow("tunnel", "print", "lab", "--systemd").out
    assert rqflow("tunnel", "print", "hub").out.startswith("ssh -NT ")


def test_a_tunnel_that_cannot_be_is_refused_before_anything_starts(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RQFLOW__TUNNELS__HUB", "-L hub redis port=6400")
    monkeypatch.setenv("RQFLOW__REDIS__URL", "tunnel://hub")
    refused = rqflow("up", "worker")
    assert (refused.code, "would let every account of its machine use redis" in refused.err) == (6, True)
    assert not (home / "state").exists()


@pytest.mark.parametrize(("words", "code", "said"), [
    (("web",), 3, "There are scheduler, webserver, worker, tunnel, target"), (("--user", "--account", "lab"), 2, "--account"),
    (("--supervisor", "worker"), 2, "one file"),
])
def test_what_cannot_be_is_refused(rqflow: Rqflow, words: tuple[str, ...], code: int, said: str) -> None:
    refused = rqflow("service", "print", *words)
    assert refused.code == code
    assert said in refused.err
