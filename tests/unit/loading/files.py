"""Writing DAG files and loading them."""

from __future__ import annotations

import os
import pickle
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

from rqflow.dag import loader, loading
from rqflow.dag.explain import Paths
from rqflow.dag.loader import Loaded
from rqflow.dag.loading import Result
from rqflow.exceptions import DagLoadError
from rqflow.settings import Core
from rqflow.settings import Settings as AllSettings
from rqflow.values import Size, parse_size

HEAD = "from rqflow import DAG, BashOperator\n"
GOOD = HEAD + 'with DAG("good"):\n    BashOperator(task_id="a", bash_command="true")\n'


def settings(*, timeout: float = 10, memory: str = "2G") -> AllSettings:
    """Settings with limits for loading."""
    return AllSettings(home=Path("/nonexistent"), core=Core(load_timeout=timedelta(seconds=timeout), load_memory=Size(parse_size(memory))))


def write(folder: Path, text: str | bytes, name: str = "d.py") -> Path:
    """Write a file, its text dedented."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, str):
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    else:
        path.write_bytes(text)
    return path


def load(path: Path, *, root: Path | None = None, **limits: Any) -> Loaded:
    """Load a file in a child process."""
    return loader.load(path, settings(**limits), root=root)


def load_apart(path: Path, *, root: Path | None = None) -> Result:
    """Load a file as the child process does, without its limits, in a fork of this process: ten times as fast."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            result: Any = loading.load_here(Paths(path, root or path.parent, str(path)))
        except BaseException as error:  # noqa: BLE001
            result = repr(error)
        os.write(writer, pickle.dumps(result))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        result = pickle.loads(stream.read())
    os.waitpid(pid, 0)
    assert isinstance(result, Result), result
    return result


def said(path: Path, *, root: Path | None = None) -> list[str]:
    """The problems of a file, its folder left out of them."""
    return [str(problem).replace(f"{path.parent}/", "") for problem in load_apart(path, root=root).problems]


def problems(path: Path, *, root: Path | None = None, **limits: Any) -> list[str]:
    """The problems for which a file is refused, its folder left out of them."""
    try:
        load(path, root=root, **limits)
    except DagLoadError as error:
        return [problem.replace(f"{path.parent}/", "") for problem in error.problems]
    raise AssertionError("the file loads")
