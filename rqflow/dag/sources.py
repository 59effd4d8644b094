"""What travels with a version: the DAG file, the modules and data that it took from its folder, template files, and files=[…]."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import TemplateError, meta

from rqflow.dag import template_files
from rqflow.dag.explain import Paths, is_installed
from rqflow.dag.model import DAG
from rqflow.dag.problems import Place, Problem, report, warn
from rqflow.dag.sandbox import TaskEnvironment
from rqflow.dag.task import BaseOperator

MAX_BYTES = 10_000_000
#: A data file that loading opened travels when it is no larger.
MAX_OPENED_BYTES = 1_000_000


class Sources:
    """Collects the files of one load; each is read once."""

    def __init__(self, paths: Paths, absent: list[str]) -> None:
        """Collect for the DAG file of `paths`; where a file was looked for and is not, is added to `absent`."""
        self._paths = paths
        self._read: dict[Path, Any] = {}
        self._environment = TaskEnvironment()
        self._absent = absent

    def shared(self, opened: Iterable[str]) -> dict[str, Any]:
        """Return what each DAG of the file needs to be loaded again: the file, local modules, and the data files that it `opened`."""
        files = [str(self._paths.file), *local_modules(self._paths), *(path for path in opened if self._is_small_data(Path(path)))]
        return {Path(file).relative_to(self._paths.root).as_posix(): self._content(Path(file)) for file in dict.fromkeys(files)}

    def _is_small_data(self, file: Path) -> bool:
        """Tell whether an opened file travels: it is the author's, not hidden, and not large."""
        if not self._paths.is_authors(str(file)) or not file.is_file():
            return False
        if any(part.startswith(".") for part in file.relative_to(self._paths.root).parts):
            return False
        if file.stat().st_size > MAX_OPENED_BYTES:
            warn(f"the file opens {file.name}, which is too large to travel to workers", Place(str(self._paths.file), 1))
            return False
        return True

    def of_dag(self, dag: DAG) -> dict[str, Any]:
        """Return the template files and the files=[…] of one DAG; reports what is not there."""
        found: dict[str, Any] = {}
        for task in dag.tasks:
            for text, is_file_name in _templates(task):
                (self._add_template if is_file_name else self._add_included)(text, dag, task, found)
            for name in task.source_files():
                self._add_file(name, dag, task, found)
        return found

    def check_size(self, sources: Mapping[str, Any]) -> None:
        """Report sources that are too much to travel."""
        sizes = {key: len(source.encode()) if isinstance(source, str) else len(source["base64"]) * 3 // 4 for key, source in sources.items()}
        if sum(sizes.values()) > MAX_BYTES:
            largest = max(sizes, key=lambda key: sizes[key])
            text = f"the files that travel with the DAG take {sum(sizes.values()) / 1e6:.1f} MB, more than {MAX_BYTES // 1_000_000} MB"
            report(f"{text}; the largest is {largest}. Large data belongs into a folder that the workers see")

    def _content(self, file: Path) -> Any:
        if file not in self._read:
            data = file.read_bytes()
            try:
                self._read[file] = data.decode()
            except UnicodeDecodeError:
                self._read[file] = {"base64": base64.b64encode(data).decode()}
        return self._read[file]

    def _places(self, name: str, dag: DAG) -> Iterator[tuple[str, Path]]:
        """Give (key, file) where a file called `name` may be, best first."""
        key, root = self._paths.key, self._paths.root
        searchpath = [_folder(folder, self._paths.file.parent) for folder in dag.argument("template_searchpath")]
        for candidate in template_files.candidates(name, key, len(searchpath)):
            if candidate.startswith(f"{template_files.SEARCHPATH}/"):
                _, number, rest = candidate.split("/", 2)
                yield candidate, searchpath[int(number)] / rest
            else:
                yield candidate, root / candidate

    def _find(self, name: str, dag: DAG) -> tuple[str, Path] | None:
        return next(((key, file) for key, file in self._places(name, dag) if file.is_file()), None)

    def _add_template(self, name: str, dag: DAG, task: BaseOperator, found: dict[str, Any]) -> None:
        place = self._find(name, dag)
        if place is None:
            if not template_files.is_command(name):
                self._note_absent(path for _, path in self._places(name, dag))
                hint = "put it beside the DAG file or into template_searchpath; to run it as a command, write a blank after it"
                report(f"task {task.task_id}: there is no template file {name}; {hint}", task.origin)
            return
        self._add_text(*place, dag, task, found)

    def _add_text(self, key: str, file: Path, dag: DAG, task: BaseOperator, found: dict[str, Any]) -> None:
        """Add a template file and what it includes."""
        if key in found:
            return
        content = self._content(file)
        if isinstance(content, str):
            found[key] = content
            self._add_included(content, dag, task, found)
        else:
            report(f"task {task.task_id}: the template file {file.name} is not written in UTF-8", task.origin)

    def _add_included(self, text: str, dag: DAG, task: BaseOperator, found: dict[str, Any]) -> None:
        """Add the files that a template includes. One that is missing fails the template's check."""
        if "{%" not in text:
            return
        try:
            names = list(meta.find_referenced_templates(self._environment.parse(text)))
        except TemplateError:
            return
        for name in names:
            place = self._find(name, dag) if name else None
            if place is not None:
                self._add_text(*place, dag, task, found)

    def _add_file(self, name: str, dag: DAG, task: BaseOperator, found: dict[str, Any]) -> None:
        given = Path(name).expanduser()
        places = dict(self._places(name, dag)) if not given.is_absolute() else {_key_of(given, self._paths): given}
        for key, file in places.items():
            if file.is_file():
                found[key] = self._content(file)
                return
            if file.is_dir():
                inside = (path for path in sorted(file.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
                found.update({f"{key}/{path.relative_to(file).as_posix()}": self._content(path) for path in inside})
                return
        self._note_absent(places.values())
        report(f"task {task.task_id}: there is no file {name}", task.origin)

    def _note_absent(self, files: Iterable[Path]) -> None:
        self._absent += [os.path.normpath(file) for file in files]


def local_modules(paths: Paths) -> list[str]:
    """Return the files of the modules that loading imported from the folder."""
    return sorted({file for module in list(sys.modules.values()) if (file := _file_of(module)) and paths.is_authors(file)})


def stray_modules(paths: Paths, before: Iterable[str]) -> list[Problem]:
    """Return a warning for each module imported since `before` from a folder that neither is installed nor travels."""
    stray = []
    for name in sorted(set(sys.modules) - set(before)):
        file = _file_of(sys.modules[name])
        if file and "." not in name and not paths.is_authors(file) and not is_installed(file):
            stray.append(Problem(paths.shown, 1, f"module {name} comes from {file}, outside of {paths.root}: it does not travel to workers"))
    return stray


def _file_of(module: ModuleType | None) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(".py") else ""


def _folder(folder: str, beside: Path) -> Path:
    given = Path(folder).expanduser()
    return given if given.is_absolute() else beside / given


def _key_of(file: Path, paths: Paths) -> str:
    """Return where an absolute file stands among the sources: below the folder as it is, else beside the DAG file by its name."""
    if file.is_relative_to(paths.root):
        return file.relative_to(paths.root).as_posix()
    return (Path(paths.key).parent / file.name).as_posix()


def _templates(task: BaseOperator) -> Iterator[tuple[str, bool]]:
    """Give the texts in a task's template fields, and whether each is the name of a template file."""
    own = task.template_endings()
    for field in task.template_names():
        endings = template_files.ENDINGS.get(field, ()) if own is None else own
        for text in template_files.texts(getattr(task, field, None)):
            yield text, bool(endings) and template_files.is_file_name(text, endings)
