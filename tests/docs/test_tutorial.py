"""Each block of the tutorial and of the README does what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from rqflow.cli.main import main
from tests.profile import ENVIRON

ROOT = Path(__file__).parents[2]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The reader's home; what the commands have started there ends with the test."""
    for name, value in {**ENVIRON, "RQFLOW_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    yield tmp_path / "home"
    assert main(["down"]) == 0


@pytest.mark.parametrize(("page", "file"), [("docs/tutorial/first-dag.md", "weather.py"), ("README.md", "hello.py")])
def test_the_commands_do_what_the_page_says(page: str, file: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / file).write_text(blocks(ROOT / page, "python")[0])
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in blocks(ROOT / page, "sh"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].endswith("rqflow"):
                assert main(words[1:]) == 0, line
                ran += 1
    assert ran >= 5
    assert home.is_dir()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
