"""Which names of airflow that rqflow does not have are used inside of functions: nothing happens while the file loads, only in a task."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rqflow.dag.airflow.names import MODULES, NAMES


def uses_in_functions(text: bytes) -> list[tuple[int, str]]:
    """Return (line, path) of the first use of each such name in the body of a function of a file's text; raises SyntaxError."""
    tree = ast.parse(text)
    bound = dict(_bound(tree))
    found: dict[str, int] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            body = function.body if isinstance(function.body, list) else [function.body]
            for node in (inner for statement in body for inner in ast.walk(statement)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in bound:
                    path = bound[node.id]
                    found[path] = min(node.lineno, found.get(path, node.lineno))
    return sorted((line, path) for path, line in found.items())


def _bound(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Give (name, path) of the imports from airflow that only have a stand-in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "airflow" and not node.level:
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                if alias.name not in NAMES.get(node.module, {}) and path not in MODULES and not path.startswith("airflow.exceptions."):
                    yield alias.asname or alias.name, path
