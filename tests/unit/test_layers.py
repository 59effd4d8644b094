"""The house keeps its shape: who imports whom, and which module alone may do what."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "rqflow"
BASE = {"states", "settings", "exceptions", "clock", "logs", "mail", "process", "runtime", "sdnotify", "tunnel", "values", "wire"}

#: Room -> rooms that it may import; its own is always allowed.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "dag": {"base"},
    "operators": {"base", "dag"},
    "broker": {"base", "dag", "operators"},
    "store": {"base", "dag", "operators"},
    "security": {"base", "dag", "operators"},
    "recorder": {"base", "dag", "operators", "broker", "store", "security"},
    "scheduler": {"base", "dag", "operators", "broker", "store", "security", "recorder"},
    "worker": {"base", "dag", "operators", "broker", "security", "recorder"},
    "actions": {"base", "dag", "operators", "broker", "store", "security", "recorder"},
    "deploy": {"base", "dag", "operators", "broker", "store", "security", "recorder", "scheduler", "worker", "actions"},
    "api": {"base", "dag", "operators", "broker", "store", "security", "recorder", "scheduler", "worker", "actions", "deploy"},
    "web": {"base", "dag", "operators", "broker", "store", "security", "recorder", "scheduler", "worker", "actions", "deploy", "api"},
    "cli": {"base", "dag", "operators", "broker", "store", "security", "recorder", "scheduler", "worker", "actions", "deploy", "api", "web"},
    "jobs": {"base", "worker"},
    "facade": {"base", "dag", "operators"},
}
#: Third-party package -> where alone it may be imported.
ONLY_IN: dict[str, str] = {
    "sqlalchemy": r"store/.*|operators/hooks\.py",
    "alembic": r"store/.*",
    "pymysql": r"store/.*|operators/hooks\.py",
    "cryptography": r"security/.*",
    "argon2": r"security/passwords\.py",
    "click": r"cli/.*",
    "rich": r"cli/.*",
    "rq": r"broker/.*|scheduler/scheduler\.py|worker/.*",
    "rq_scheduler": r"scheduler/scheduler\.py",
    "jinja2": r"dag/.*|recorder/notices/.*|actions/report\.py|deploy/(supervision|units)\.py|web/rendering\.py",
    "supervisor": r"deploy/supervision\.py",
    "fastapi": r"web/.*",
    "starlette": r"web/.*",
    "pydantic": r"web/.*",
    "authlib": r"web/pages/oidc\.py",
    "limits": r"web/throttle\.py",
    "uvicorn": r"web/server\.py",
    "prometheus_client": r"deploy/metrics\.py|web/.*",
    "cron_descriptor": r"actions/sights/schedule_words\.py",
    "pygments": r"web/highlight\.py",
    "jsonschema": r"dag/params\.py",
    "referencing": r"dag/params\.py",
    "regex": r"dag/patterns\.py",
    "orjson": r"wire\.py",
}
#: Files that run as processes of their own on the standard library alone, so that they start in milliseconds or under an
#: older Python: they cannot use clock.py and settings.py.
STANDALONE = {"worker/runner.py", "worker/account_child.py", "deploy/keeper.py", "deploy/joining/installer.py"}
#: What of `os` tells of the environment.
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}

MODULES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))


@lru_cache(16)
def parsed(module: str) -> ast.Module:
    """Read a module; all that is asked of one is asked in a row, by the scope of the parameter below."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def room(dotted: str) -> str:
    """The room of `rqflow.x.y`."""
    parts = dotted.split(".")
    if len(parts) == 1:
        return "facade"
    return "base" if parts[1] in BASE else parts[1]


def dotted(module: str) -> str:
    """The dotted name of a file below rqflow/."""
    name = "rqflow." + module.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def imports(module: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every imported module name, absolute, with its statement."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = node.module.split(".")[0] == "rqflow" and f"{inner.removeprefix('rqflow.').replace('.', '/')}.py" in MODULES
                is_room = node.module == "rqflow" and (ROOT / alias.name).is_dir()
                yield (inner if is_module or is_room else node.module), node


def own_imports(module: str) -> Iterator[tuple[str, ast.stmt]]:
    """The imports of modules of rqflow."""
    return ((name, node) for name, node in imports(module) if name.split(".")[0] == "rqflow")


@pytest.mark.parametrize("module", MODULES, scope="module")
def test_imports_point_one_way(module: str) -> None:
    here = room(dotted(module))
    for name, node in own_imports(module):
        assert room(name) in MAY_IMPORT[here] | {here}, f"rqflow/{module}:{node.lineno}: {here} may not import {name}"


@pytest.mark.parametrize("module", MODULES, scope="module")
def test_nothing_inside_imports_the_facade(module: str) -> None:
    for name, node in own_imports(module):
        assert name != "rqflow" or module == "__init__.py", f"rqflow/{module}:{node.lineno} imports the facade"


def test_no_import_cycle() -> None:
    graph = {dotted(module): {name for name, node in own_imports(module) if node.col_offset == 0} for module in MODULES}
    tuple(TopologicalSorter({name: found & graph.keys() - {name} for name, found in graph.items()}).static_order())


@pytest.mark.parametrize("module", MODULES, scope="module")
def test_an_import_inside_a_function_says_why(module: str) -> None:
    lines = (ROOT / module).read_text(encoding="utf-8").splitlines()
    for function in ast.walk(parsed(module)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                above, line = lines[node.lineno - 2].strip(), lines[node.lineno - 1]
                said = "#" in line or above.startswith(("#", "import ", "from "))
                assert said, f"rqflow/{module}:{node.lineno}: an import inside a function needs its reason in a comment"


@pytest.mark.parametrize("module", MODULES, scope="module")
def test_third_party_packages_stay_in_their_rooms(module: str) -> None:
    for name, node in imports(module):
        where = ONLY_IN.get(name.split(".")[0])
        assert where is None or re.fullmatch(where, module), f"rqflow/{module}:{node.lineno}: {name} belongs to {where}"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "settings.py" and m not in STANDALONE], scope="module")
def test_only_settings_reads_the_environment(module: str) -> None:
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in ENVIRONMENT, f"rqflow/{module}:{node.lineno} reads the environment"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not ENVIRONMENT & {alias.name for alias in node.names}, f"rqflow/{module}:{node.lineno} reads the environment"
    assert "configparser" not in {name for name, _ in imports(module)}, f"rqflow/{module} reads configuration"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "clock.py" and m not in STANDALONE], scope="module")
def test_only_clock_asks_the_time(module: str) -> None:
    assert "time" not in {name for name, _ in imports(module)}, f"rqflow/{module} imports time"
    asks = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in asks, f"rqflow/{module}:{node.lineno} asks the time"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "broker/keys.py"], scope="module")
def test_only_keys_spells_redis_keys(module: str) -> None:
    docs = {id(node.value) for node in ast.walk(parsed(module)) if isinstance(node, ast.Expr)}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            assert not re.match(r"(rq|rqflow):\w", node.value), f"rqflow/{module}:{node.lineno} spells the key {node.value!r}"


@pytest.mark.parametrize("module", sorted(STANDALONE))
def test_standalone_files_start_with_the_standard_library_only(module: str) -> None:
    for name, node in imports(module):
        assert node.col_offset or name.split(".")[0] in sys.stdlib_module_names, f"rqflow/{module}:{node.lineno} imports {name}"


def test_only_the_lua_steps_and_the_store_write_a_state() -> None:
    """RQ's own setters of a job's status would write beside the table in states.py."""
    for module in (module for module in MODULES if "set_status" in (ROOT / module).read_text(encoding="utf-8")):
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.Attribute):
                assert node.attr != "set_status", f"rqflow/{module}:{node.lineno} writes a status past the Lua steps"
