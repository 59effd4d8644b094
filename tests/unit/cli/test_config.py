from __future__ import annotations

import json
from pathlib import Path

import pytest

from rqflow.cli.main import main
from rqflow.settings import keys


def test_all_settings_are_listed_with_their_origin(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__WORKER__SLOTS", "7")
    assert main(["--home", str(home), "config", "list", "-o", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(keys())
    assert (rows["worker.slots"]["value"], rows["worker.slots"]["origin"]) == ("7", "RQFLOW__WORKER__SLOTS")


def test_secrets_are_hidden(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", "redis://:hunter2@h/0")
    main(["--home", str(home), "config", "list"])
    assert "hunter2" not in capsys.readouterr().out


def test_only_changed_ones_on_demand(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "rqflow.cfg").write_text("[worker]\nslots = 3\n")
    main(["--home", str(home), "config", "list", "--changed", "-o", "name"])
    assert capsys.readouterr().out == "worker.slots\n"


def test_one_setting_is_printed_bare(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home), "config", "get", "worker.heartbeat"]) == 0
    assert capsys.readouterr().out == "10s\n"


@pytest.mark.parametrize(("words", "code"), [(["config", "get", "worker.slotz"], 3), (["-c", "/absent.cfg", "config", "list"], 6)])
def test_what_is_not_there_has_its_exit_code(words: list[str], code: int, home: Path) -> None:
    assert main(["--home", str(home), *words]) == code
