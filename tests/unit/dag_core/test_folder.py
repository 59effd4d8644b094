"""Which files of the folder of DAGs count."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.dag import folder


def put(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("")


def keys(base: Path) -> list[str]:
    return [file.key for file in folder.walk(base).files]


def test_sub_folders_count_and_those_of_python_and_of_git_do_not(tmp_path: Path) -> None:
    put(tmp_path, "a.py", "sub/deep/b.py", ".git/c.py", "__pycache__/d.py", "venv/pyvenv.cfg", "venv/e.py", "x/site-packages/f.py", "notes.txt")
    assert keys(tmp_path) == ["a.py", "sub/deep/b.py"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    base, elsewhere = tmp_path / "dags", tmp_path / "elsewhere"
    put(base, "sub/a.py")
    put(elsewhere, "b.py")
    (base / "out").symlink_to(elsewhere)
    (base / "sub" / "up").symlink_to(base)
    (base / "sub" / "itself").symlink_to(base / "sub" / "itself")
    (base / "gone.py").symlink_to(base / "absent.py")
    seen = folder.walk(base)
    assert [file.key for file in seen.files] == ["out/b.py", "sub/a.py"]
    assert folder.root_of(base / "sub" / "a.py", base) == base
    assert folder.root_of(base / "out" / "b.py", base) == elsewhere


def test_a_file_with_two_names_is_one_file(tmp_path: Path) -> None:
    put(tmp_path, "z/real.py")
    (tmp_path / "a.py").symlink_to(tmp_path / "z" / "real.py")
    (tmp_path / "also").symlink_to(tmp_path / "z")
    assert len(keys(tmp_path)) == 1


@pytest.mark.parametrize("name", [".airflowignore", ".rqflowignore"])
def test_ignore_files_hold_regular_expressions_for_what_is_below_them(name: str, tmp_path: Path) -> None:
    put(tmp_path, "dag.py", "old_dag.py", "project/keep.py", "project/tmp_x.py", "tmp_y.py", "lib/inside/a.py")
    (tmp_path / name).write_text("# comment\nold_   # what was\n^lib\n\n")
    (tmp_path / "project" / name).write_text("^tmp\n")
    assert keys(tmp_path) == ["dag.py", "project/keep.py", "tmp_y.py"]
    for path in ("dag.py", "old_dag.py", "project/keep.py", "project/tmp_x.py", "tmp_y.py", "lib/inside/a.py", ".hidden/a.py"):
        assert folder.counts(tmp_path, path) == (path in keys(tmp_path))


def test_a_line_that_is_no_regular_expression_is_named_and_leaves_out_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    (tmp_path / ".airflowignore").write_text("fine\n*.pyc\n")
    seen = folder.walk(tmp_path)
    assert [file.key for file in seen.files] == ["a.py"]
    assert seen.problems == [f"{tmp_path}/.airflowignore:2: '*.pyc' is no regular expression: nothing to repeat at position 0"]


def test_an_empty_folder_is_told_from_one_without_dags(tmp_path: Path) -> None:
    assert folder.walk(tmp_path).is_bare
    put(tmp_path, "readme.txt")
    assert not folder.walk(tmp_path).is_bare
    with pytest.raises(FileNotFoundError):
        folder.walk(tmp_path / "absent")
