"""service install, uninstall, status and logs: what is chosen, what is written, and that exactly that goes again.

No machine of ours runs systemd: a script stands for systemctl, which writes down how it was called, and what systemd says of the files is asked
of systemd-analyze, which needs none. crontab is a script with a file, for the real one would change the account of whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rqflow.deploy import installing
from rqflow.deploy.installing import Surroundings, Way, choose
from rqflow.deploy.units import UNITS
from rqflow.exceptions import ConfigError
from tests.integration.cli.conftest import Rqflow

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
case "$*" in *is-active*) echo "${{SYSTEMCTL_SAYS:-active}}" ;; esac
exit "${{SYSTEMCTL_ENDS:-0}}"
"""
CRONTAB = """#!/bin/sh
case $1 in
  -l) [ -e {file} ] || {{ echo "no crontab for lab" >&2; exit 1; }}; cat {file} ;;
  -) cat > {file} ;;
esac
"""


@pytest.fixture
def around(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Surroundings]:
    """Let the commands see a machine made of folders of the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemctl", SYSTEMCTL.format(log=tmp_path / "systemctl.log")), ("crontab", CRONTAB.format(file=tmp_path / "crontab"))):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def see(**given: object) -> Surroundings:
        seen = Surroundings(account="lab", uid=0, is_image=False, has_systemd=True, lingers=False, system_units=tmp_path / "system",
                            user_units=tmp_path / "user", systemctl=str(programs / "systemctl"), crontab=str(programs / "crontab"))
        seen = replace(seen, **given)  # type: ignore[arg-type]
        monkeypatch.setattr(installing, "surroundings", lambda *_: seen)
        return seen

    return see


def calls(tmp_path: Path) -> list[str]:
    log = tmp_path / "systemctl.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize(("given", "way"), [
    ({}, Way.SYSTEM), ({"uid": 1000, "lingers": True}, Way.USER), ({"uid": 1000}, Way.CRON), ({"has_systemd": False}, Way.CRON),
    ({"has_systemd": False, "is_image": True}, Way.SYSTEM), ({"uid": 1000, "has_systemd": False, "lingers": True}, Way.CRON),
])
def test_the_best_way_that_there_is_is_chosen_and_the_reason_said(around: Callable[..., Surroundings], given: dict[str, object], way: Way) -> None:
    chosen, reason = choose(around(**given))
    assert (chosen, bool(reason)) == (way, True)


@pytest.mark.parametrize(("given", "remedy"), [({"uid": 1000}, "loginctl enable-linger lab"), ({"has_systemd": False}, "Install cron")])
def test_where_there_is_no_way_it_is_said_what_to_do(around: Callable[..., Surroundings], given: dict[str, object], remedy: str) -> None:
    with pytest.raises(ConfigError, match="nothing here starts services") as refused:
        choose(around(crontab=None, **given))
    assert remedy in refused.value.hint


def test_units_are_installed_once_told_to_systemd_and_taken_away_again(rqflow: Rqflow, around: Callable[..., Surroundings], home: Path, tmp_path: Path) -> None:
    around()
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "other.service").write_text("[Unit]\n")
    done = rqflow("service", "install", "--account", "daemon")
    assert done.code == 0, done.err
    assert "units of the system, for you are root, and systemd runs this machine" in done.err
    assert sorted(path.name for path in (tmp_path / "system").iterdir()) == sorted([*UNITS, "other.service"])
    assert calls(tmp_path) == ["daemon-reload", "enable --now rqflow.target"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "system").iterdir()}
    assert rqflow("service", "install", "--account", "daemon").code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "system").iterdir()} == before, "nothing is written twice"
    status = {one["name"]: one for one in json.loads(rqflow("service", "status", "-o", "json").out)}
    assert {(one["way"], one["file"]) for one in status.values()} == {("system", "as installed")}
    assert status["rqflow-scheduler.service"]["state"] == "active"
    told = rqflow("status")
    assert (told.code, "installed as units of the system, which systemctl and `rqflow service status` are for" in told.err) == (1, True)
    (tmp_path / "systemctl.log").unlink()
    assert rqflow("service", "uninstall").code == 0
    assert "installed as" not in rqflow("status").err
    assert [path.name for path in (tmp_path / "system").iterdir()] == ["other.service"]
    assert calls(tmp_path) == ["disable --now rqflow.target", "daemon-reload"]
    assert not (home / "service.json").exists()
    assert "not installed" in rqflow("service", "uninstall").err
    assert "would use units of the system" in rqflow("service", "status").err


def test_systemd_understands_what_is_installed(rqflow: Rqflow, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "image"
    image.mkdir()
    monkeypatch.setattr("sys.argv", [str(tmp_path / "rqflow")])
    (tmp_path / "rqflow").write_text("#!/bin/sh\n")
    (tmp_path / "rqflow").chmod(0o755)
    done = rqflow("service", "install", "--systemd", "--root", image, "--account", "root")
    assert done.code == 0, done.err
    assert done.out == "systemctl daemon-reload\nsystemctl enable --now rqflow.target\n", "what is to be done where systemd runs"
    folder = image / "etc/systemd/system"
    assert sorted(path.name for path in folder.iterdir()) == sorted(UNITS)
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("rqflow-scheduler.service", "rqflow-webserver.service", "rqflow.target"):
        seen = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / name], capture_output=True, text=True, check=False,
                              env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
        assert (seen.returncode, str(folder) in seen.stderr) == (0, False), seen.stderr
    assert rqflow("service", "uninstall", "--root", image).code == 0
    assert list(folder.iterdir()) == []


def test_what_a_person_changed_is_neither_overwritten_nor_removed_unasked(rqflow: Rqflow, around: Callable[..., Surroundings], tmp_path: Path) -> None:
    around()
    rqflow("service", "install", "--account", "daemon")
    unit = tmp_path / "system" / "rqflow-scheduler.service"
    unit.write_text(unit.read_text() + "# mine\n")
    assert "changed" in rqflow("service", "status", "-o", "csv").out
    refused = rqflow("service", "install", "--account", "daemon")
    assert (refused.code, "changed, by somebody else" in refused.err) == (5, True)
    done = rqflow("service", "uninstall")
    assert "was changed since it was written, and stays" in done.err
    assert [path.name for path in (tmp_path / "system").iterdir()] == ["rqflow-scheduler.service"]
    assert rqflow("service", "uninstall", "--force").code == 0
    assert list((tmp_path / "system").iterdir()) == []


def test_a_file_of_somebody_else_of_that_name_stays(rqflow: Rqflow, around: Callable[..., Surroundings], tmp_path: Path) -> None:
    around()
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "rqflow.target").write_text("[Unit]\n")
    assert rqflow("service", "install").code == 5
    assert [path.name for path in (tmp_path / "system").iterdir()] == ["rqflow.target"]
    assert rqflow("service", "install", "--force", "--account", "daemon").code == 0


def test_a_systemctl_that_refuses_is_said_and_may_be_asked_again(rqflow: Rqflow, around: Callable[..., Surroundings], monkeypatch: pytest.MonkeyPatch) -> None:
    around(uid=1000, lingers=True)
    monkeypatch.setenv("SYSTEMCTL_ENDS", "1")
    refused = rqflow("service", "install")
    assert (refused.code, "systemctl --user daemon-reload failed: exit code 1" in refused.err) == (6, True)
    monkeypatch.delenv("SYSTEMCTL_ENDS")
    assert rqflow("service", "install").code == 0
    monkeypatch.setenv("SYSTEMCTL_SAYS", "failed")
    assert rqflow("service", "status").code == 1


def test_another_way_is_refused_while_one_is_installed(rqflow: Rqflow, around: Callable[..., Surroundings]) -> None:
    around()
    rqflow("service", "install", "--account", "daemon")
    refused = rqflow("service", "install", "--cron")
    assert (refused.code, "installed as units of the system already" in refused.err) == (5, True)
    assert rqflow("service", "install", "--cron", "--account", "x").code == 2


def test_a_line_of_crontab_comes_once_and_goes_alone(rqflow: Rqflow, around: Callable[..., Surroundings], home: Path, tmp_path: Path) -> None:
    around(uid=1000, has_systemd=False)
    (tmp_path / "crontab").write_text("MAILTO=ann\n0 3 * * * backup\n")
    done = rqflow("service", "install", "--no-now")
    assert "an @reboot line of crontab, for systemd does not run this machine" in done.err
    rqflow("service", "install", "--no-now")
    lines = (tmp_path / "crontab").read_text().splitlines()
    assert lines[:2] == ["MAILTO=ann", "0 3 * * * backup"]
    assert len(lines) == 3
    assert lines[2].startswith("@reboot ")
    assert f"--home {home} up" in lines[2]
    assert json.loads(rqflow("service", "status", "-o", "json").out) == [{"way": "cron", "name": "@reboot", "file": "as installed", "state": ""}]
    assert calls(tmp_path) == []
    assert rqflow("service", "uninstall").code == 0
    assert (tmp_path / "crontab").read_text() == "MAILTO=ann\n0 3 * * * backup\n"


def test_a_machine_that_only_works_gets_its_worker_and_tunnels_alone(rqflow: Rqflow, around: Callable[..., Surroundings], tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__TUNNELS__HUB", "-L hub redis")
    around()
    assert rqflow("service", "install", "worker", "--account", "daemon").code == 0
    assert "Wants=rqflow-worker@default.service rqflow-tunnel@hub.service\n" in (tmp_path / "system" / "rqflow.target").read_text()
    rqflow("service", "uninstall")
    assert rqflow("service", "install", "worker", "--cron", "--no-now").code == 0
    assert " up worker tunnel-hub >" in (tmp_path / "crontab").read_text()
    assert rqflow("service", "install", "page").code == 3


def test_the_first_line_of_an_account_without_a_crontab(rqflow: Rqflow, around: Callable[..., Surroundings], tmp_path: Path) -> None:
    around(has_systemd=False)
    assert rqflow("service", "install", "--no-now").code == 0
    assert (tmp_path / "crontab").read_text().count("@reboot") == 1
    (tmp_path / "crontab").write_text("")
    assert rqflow("service", "status").code == 1, "somebody took it out"


def test_logs_are_those_of_the_way(rqflow: Rqflow, around: Callable[..., Surroundings], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, words: called.append(words))
    around()
    assert "nothing has been said" in rqflow("service", "logs").err
    rqflow("service", "install", "--account", "daemon")
    rqflow("service", "logs", "scheduler", "worker", "-f", "-n", "5")
    assert called == [["journalctl", "-n", "5", "-f", "-u", "rqflow-scheduler.service", "-u", "rqflow-worker@*.service"]]
    rqflow("service", "uninstall")
    log = next(iter(home.glob("state/*")), home / "state" / os.uname().nodename) / "supervisor" / "scheduler.log"
    log.parent.mkdir(parents=True)
    log.write_text("hello\n")
    rqflow("service", "logs")
    assert called[-1] == ["tail", "-n", "100", str(log)]
    assert rqflow("service", "logs", "page").code == 3
