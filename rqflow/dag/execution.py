"""Executing a DAG file in this process, with the airflow shim on."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from rqflow.dag.airflow import finder
from rqflow.dag.model import DAG, authored, collecting
from rqflow.dag.subdags import expand
from rqflow.dag.version import Version
from rqflow.exceptions import DagLoadError


def execute(file: Path, root: Path, *, name: str = "") -> dict[str, Any]:
    """Execute `file` and return its globals; what it imports is looked for beside it and in `root` first.

    The module's name is made from the file's, unless `name` says otherwise. Raises whatever the file raises.
    """
    finder.install()
    sys.path[:0] = dict.fromkeys((str(file.parent), str(root)))
    code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    module = ModuleType(name or f"rqflow_dag_{re.sub(r'[^0-9A-Za-z_]', '_', file.stem)}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 (what this is for)
    return module.__dict__


def load_source(version: Version, folder: Path) -> DAG:
    """Execute the source of `version`, unpacked below `folder`, in this process and return its DAG.

    Raises whatever the file raises, and DagLoadError when it does not make the DAG any more.
    """
    root = Path(os.path.realpath(folder))
    file = root / version.file
    with collecting() as collected:
        namespace = execute(file, root)
        for dag in authored(collected, namespace):
            if dag.dag_id == version.dag_id:
                expand(dag)
                return dag
    raise DagLoadError([f"{version.file}:1: the file made no DAG {version.dag_id!r} when it was loaded to run a task"])
