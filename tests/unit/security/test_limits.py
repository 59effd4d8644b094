from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError
from rqflow.security import limits
from rqflow.security.limits import Limits


def written(folder: Path, text: str) -> Path:
    path = folder / "limits"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_says_what_a_principal_may_have_run(tmp_path: Path) -> None:
    found = limits.read(written(tmp_path, "# the lab\n\nalice@lab dags=align_*,qc queues=gpu,default user=alice run_as=alice,tool  # since May\n"))
    assert found == {"alice@lab": Limits(principal="alice@lab", dags=("align_*", "qc"), queues=("gpu", "default"), user="alice",
                                         run_as=("alice", "tool"))}
    alice = found["alice@lab"]
    assert alice.allow_dag("align_42")
    assert alice.allow_dag("qc")
    assert not alice.allow_dag("qc2")
    assert alice.allow_queue("gpu")
    assert not alice.allow_queue("cpu")


def test_what_a_line_leaves_out_is_not_limited_but_no_account_is_given() -> None:
    bob = limits.parse("bob")
    assert bob == Limits(principal="bob")
    assert bob.allow_dag("anything")
    assert bob.allow_queue("any")
    assert (bob.user, bob.run_as) == (None, ())


def test_the_line_of_a_star_is_for_those_who_have_none_of_their_own(tmp_path: Path) -> None:
    found = limits.read(written(tmp_path, "alice user=alice\n* queues=default\n"))
    assert limits.of(found, "alice") == Limits(principal="alice", user="alice")
    assert limits.of(found, "eve") == Limits(queues=("default",))
    assert limits.of({"alice": Limits(principal="alice")}, "eve") is None


@pytest.mark.parametrize(("line", "said"), [
    ("alice usr=alice", "usr=alice is not known"),
    ("alice gpu", "gpu is not known"),
    ("dags=x alice", "must begin with a principal"),
    ("*@lab user=x", "*@lab is no name"),
    ("alice user=root", "tasks never run as root"),
    ("alice run_as=bob,root", "tasks never run as root"),
    ("alice user=a;b", "a;b is no name of an account"),
    ("alice user=0", "0 is no name of an account"),
    ("alice user=a,b", "user= is one account"),
    ("alice dags=a dags=b", "dags= is there twice"),
    ("alice dags=a,,b", "lacks a value"),
    ("alice queues=", "lacks a value"),
    ("alice dags='a", "No closing quotation"),
])
def test_a_bad_line_is_an_error_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        limits.read(written(tmp_path, f"# first\n{line}\nbob\n"))
    assert f"{tmp_path}/limits:2: " in caught.value.message
    assert said in caught.value.message


def test_all_bad_lines_are_told_at_once_and_a_second_line_of_a_principal_is_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        limits.read(written(tmp_path, "alice x\nbob\nbob user=bob\n"))
    assert [line.split(":")[1] for line in caught.value.message.splitlines()] == ["1", "3"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        limits.read(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"alic\xe9 user=a\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        limits.read(tmp_path / "latin")
