from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.cli.definitions import is_file


def test_what_looks_like_a_path_is_one_and_a_folder_may_be_called_like_a_dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "align").mkdir()
    (tmp_path / "flow").touch()
    assert [is_file(name) for name in ("absent.py", "a/b", "flow", ".", "./align")] == [True] * 5
    assert [is_file(name) for name in ("align", "absent", "", "align@latest")] == [False] * 4
