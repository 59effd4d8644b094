"""Executing a DAG file in this process, with the airflow shim on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from rqflow.dag.airflow import finder


def execute(file: Path, root: Path, *, name: str = "") -> dict[str, Any]:
    """Execute `file` and return its globals; what it imports is looked for beside it and in `root` first.

    The module's name is made from the file's, unless `name` says otherwise. Raises whatever the file raises.
    """
    finder.install()
    for folder in (str(root), str(file.parent)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    module = ModuleType(name or f"rqflow_dag_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 (what this is for)
    return module.__dict__
