"""The entry: help, aliases, errors at the edge."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from rqflow.cli import main as cli_main
from rqflow.cli.main import ALIASES, COMMANDS, SUMMARIES, cli, main
from rqflow.exceptions import BrokerError, Conflict, RqflowError


def test_help_is_quick_and_imports_no_heavy_library() -> None:
    code = "import sys; from rqflow.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    assert "submit" in done.stdout
    assert not {"sqlalchemy", "rq", "redis", "rich", "jinja2"} & set(done.stderr.split())
    assert took < 1.5  # 0.05-0.1 s on a quiet machine; 0.3 s is the aim


def test_submit_begins_to_load_before_it_imports_what_services_need() -> None:
    code = "import sys; import rqflow.cli.submit; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rqflow.dag.loader" in found
    assert not {"sqlalchemy", "rq", "redis", "rich"} & set(found)


def test_a_python_task_begins_without_what_it_may_not_need() -> None:
    code = "import sys; import rqflow.worker.handed, rqflow.dag.task_child; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "rq", "redis", "asyncio", "cryptography", "croniter", "click"} & set(found)


def test_each_command_has_a_summary_and_can_be_imported() -> None:
    context = click.Context(cli)
    assert list(COMMANDS) == list(SUMMARIES)
    for name in COMMANDS:
        assert isinstance(cli.get_command(context, name), click.Command)


def test_each_command_in_help_has_a_help_text() -> None:
    def walk(command: click.Command, context: click.Context) -> None:
        assert command.help, context.command_path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{context.command_path} {parameter.name}"
        for name, child in getattr(command, "commands", {}).items():
            walk(child, click.Context(child, parent=context, info_name=name))

    context = click.Context(cli, info_name="rqflow")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command
        walk(command, click.Context(command, parent=context, info_name=name))


@pytest.mark.parametrize("old", ALIASES)
def test_old_names_run_the_new_command_and_name_it(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([old, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"`rqflow {old}` is now `rqflow {' '.join(ALIASES[old])}`\n"
    assert f"rqflow {' '.join(ALIASES[old])}" in captured.out.replace("\n", " ")


def test_old_names_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert not any(old in capsys.readouterr().out for old in ALIASES if "_" in old)


@pytest.mark.parametrize(("error", "code"), [(Conflict("taken", hint="wait"), 5), (BrokerError("down"), 7), (RqflowError("no"), 1), (KeyboardInterrupt(), 130)])
def test_errors_become_a_message_and_an_exit_code(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli_main.cli, "main", fail)
    assert main(["x"]) == code
    if isinstance(error, RqflowError):
        assert capsys.readouterr().err == f"rqflow: {error}\n"


def test_a_bug_is_written_down_and_its_place_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli_main.cli, "main", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["x"]) == 1
    written, = tmp_path.glob("rqflow-bug-*.log")
    said = capsys.readouterr().err
    assert str(written) in said
    assert "Traceback" not in said
    assert "ZeroDivisionError: oops" in written.read_text()


@pytest.mark.parametrize("words", [["nonsense"], ["config", "nonsense"], ["--nonsense"], ["config", "list", "-o", "xml"], ["config", "get"]])
def test_usage_errors_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage:" in capsys.readouterr().err
