"""The generated pages say what the code says, and the hand-written ones name all that there is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from rqflow.cli.main import ALIASES, COMMANDS, FORMERLY
from rqflow.dag.arguments import TASK_ARGUMENTS, TASK_KEPT
from rqflow.dag.trigger_rule import TriggerRule
from rqflow.operators import registry
from rqflow.settings import keys
from rqflow.states import TRANSITIONS, RunState, TaskState

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_generated_page_lags_behind(generate: ModuleType) -> None:
    late = [str(path.relative_to(ROOT)) for path, text in generate.pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert not late, "run scripts/docs"


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_each_setting_is_in_the_reference() -> None:
    page = read("reference/settings.md")
    for section, field, _ in keys():
        assert f"| `{field.name}` |" in page.split(f"## [{section}]")[1].split("\n## ")[0]


def test_each_command_is_in_the_reference() -> None:
    page = read("reference/commands.md")
    assert all(f"\n## rqflow {name}\n" in page for name in COMMANDS)
    assert all(f"`rqflow {old}`" in page for old in ALIASES)


def test_each_state_and_each_transition_is_in_the_explanation() -> None:
    page = read("explanation/states.md")
    assert all(f"| `{state.value}` |" in page for state in [*TaskState, *RunState])
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", page, re.MULTILINE))
    cleared = {(old, new) for old, news in re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", page, re.MULTILINE) for new in re.findall(r"`(\w+)`", news)}
    assert drawn | cleared == {(old.value, new.value) for old, news in TRANSITIONS.items() for new in news}


def test_each_operator_and_trigger_rule_is_in_the_reference() -> None:
    page = read("reference/operators.md")
    assert all(f"| `{rule.value}` |" in page for rule in TriggerRule)
    assert all(f"`{cls.__name__}`" in page for cls in registry.OPERATORS.values())


def test_each_argument_of_operators_is_in_the_reference() -> None:
    page = read("reference/operators.md")
    assert re.search(r"^- `ShortCircuitOperator`: .*`op_args`.*`ignore_downstream_trigger_rules`$", page, re.MULTILINE)
    assert "- `EmptyOperator`: none\n" in page
    shown = next(line for line in page.splitlines() if line.startswith("Arguments of every task:"))
    assert all(f"`{name}`" in shown for name in {"task_id", *TASK_ARGUMENTS}.difference(TASK_KEPT))


LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda path: str(path.relative_to(ROOT)))
def test_each_rqflow_command_that_is_shown_exists(page: Path) -> None:
    shown = re.findall(r"^(?:\$ )?(?:\.venv/bin/)?rqflow ([a-z_]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(shown) <= COMMANDS.keys() | ALIASES.keys() | FORMERLY.keys()
