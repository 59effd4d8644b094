"""Loading one DAG file in this process: executing it, and making versions of what it made. load_child.py does it within limits."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rqflow.dag import series, sources, zones
from rqflow.dag.airflow.standin import held_by
from rqflow.dag.airflow.static import uses_in_functions
from rqflow.dag.airflow.uses import USES, message
from rqflow.dag.check import Checker, check_text
from rqflow.dag.execution import execute
from rqflow.dag.explain import Paths, problems_of
from rqflow.dag.generation import NATIVE, generation_of
from rqflow.dag.model import DAG, Collected, authored, collecting
from rqflow.dag.problems import Place, Problem
from rqflow.dag.serialization import version_of
from rqflow.dag.subdags import expand
from rqflow.dag.version import DEFAULT_POOL, Version
from rqflow.exceptions import DagLoadError

_HOW = "a DAG counts when it is a global of the file, or has a `with` block"


@dataclass(slots=True)
class Result:
    """What loading a file gave; `versions` are those of its DAGs with which nothing is wrong, as far as that is known."""

    versions: list[Version] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unsupported: list[Problem] = field(default_factory=list)
    #: There is nothing wrong with the file save that it holds no DAG.
    no_dag: bool = False
    #: Absolute paths at which a file was looked for and is not.
    absent: list[str] = field(default_factory=list)
    #: Ids of the DAGs whose time zone was assumed, and matters.
    assumed: list[str] = field(default_factory=list)
    #: {dag_id: {task_id: `file:line`}} of the tasks of which it is seen later whether this installation has what they name: a pool, a Connection.
    places: dict[str, dict[str, str]] = field(default_factory=dict)


def load_here(paths: Paths, *, default_queue: str = "default", opened: Iterable[str] = ()) -> Result:
    """Execute the file and return its versions, or what is wrong with it.

    `opened` gives, after the execution, the files that it opened. Whatever the file raises, SystemExit too, becomes a problem.
    """
    result = Result()
    before = set(sys.modules)
    is_known = False
    with collecting() as collected:
        try:
            generation = _generation(paths)
            namespace = execute(paths.file, paths.root)
            is_known = not collected.notes.problems
            _versions(result, paths, collected, namespace, generation, default_queue, opened)
        except BaseException as error:  # noqa: BLE001 (an author's file, or its objects, may raise whatever they like; it must be told)
            result.problems += problems_of(error, paths)
            is_known = False
        result.problems += _shown(collected.notes.problems, paths)
        result.warnings += _shown(collected.notes.warnings, paths)
    result.unsupported += _shown(USES.noted, paths)
    result.warnings += [*_static_uses(paths), *sources.stray_modules(paths, before)]
    if not is_known:  # a problem of the file itself, or of tasks of whichever DAG
        result.versions.clear()
    return result


def _generation(paths: Paths) -> str | None:
    """Return what the imports of the file tell."""
    try:
        return generation_of(paths.file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return None  # Executing the file will say what is wrong.


def _versions(
    result: Result, paths: Paths, collected: Collected, namespace: dict[str, Any], generation: str | None, default_queue: str, opened: Iterable[str]
) -> None:
    """Make a version of each DAG that the file made."""
    dags = [dag for dag in authored(collected, namespace) if not dag.is_subdag]
    if not dags:
        result.no_dag = not collected.notes.problems
        if result.no_dag:
            result.problems.append(Problem(paths.shown, 1, f"there is no DAG in this file; {_HOW}"))
        return
    generation = generation or _generation_of_modules(paths) or NATIVE
    files = sources.Sources(paths, result.absent)
    shared = files.shared(list(opened))
    for dag in dags:
        told = len(collected.notes.problems)
        expand(dag)
        travelling = {**shared, **files.of_dag(dag)}
        files.check_size(travelling)
        if USES.made:
            _note_standins(dag)
        try:
            version = version_of(dag, file=paths.key, generation=generation, sources=travelling, default_queue=default_queue)
        except DagLoadError as error:
            result.problems += problems_of(error, paths)
            continue
        if not check_text(version, dag.origin):
            continue
        checker = Checker(version, functions=dag.user_defined_macros or (), filters=dag.user_defined_filters)
        checker.check({task.task_id: task.origin for task in dag.tasks})
        if len(collected.notes.problems) == told:
            result.versions.append(version)
            result.places[version.dag_id] = _places(dag, version, paths)
            if series.name_of(version) and zones.is_assumed(dag.argument("start_date")) and not getattr(dag.schedule, "timezone", None):
                result.assumed.append(version.dag_id)


def _places(dag: DAG, version: Version, paths: Paths) -> dict[str, str]:
    named = [task.task_id for task in version.tasks if task.pool != DEFAULT_POOL or task.operator == "sql"]
    return {task_id: "{}:{}".format(*_shown_place(dag.task_dict[task_id].origin, paths)) for task_id in named}


def _generation_of_modules(paths: Paths) -> str | None:
    """Return what the imports of the local modules tell, for a file that leaves making DAGs to them."""
    return generation_of(*(Path(file).read_bytes() for file in sources.local_modules(paths)))


def _note_standins(dag: DAG) -> None:
    """Note the stand-ins that were given to the DAG and its tasks and have not been noted at their making."""
    noted = {one.message for one in USES.noted}
    holders = [(dag.origin, {name: value for name, value in vars(dag).items() if name not in {"task_dict", "task_group", "task_groups"}})]
    holders += [(task.origin, vars(task)) for task in dag.tasks if not task.unsupported]
    for place, arguments in holders:
        for path in held_by(arguments):
            if message(path.rstrip("()")) not in noted:
                USES.note(path, place)


def _static_uses(paths: Paths) -> list[Problem]:
    """Return a warning for each name that rqflow does not have in the body of a function of the file: a task that gets there fails."""
    try:
        uses = uses_in_functions(paths.file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return []
    noted = {one.message for one in USES.noted}
    return [Problem(paths.shown, line, f"{message(path)}; a task that uses it fails") for line, path in uses if message(path) not in noted]


def _shown(problems: Iterable[Problem], paths: Paths) -> list[Problem]:
    """Return the problems with files as the person named them, each once, in order."""
    shown = (Problem(*_shown_place(Place(one.file, one.line), paths), one.message) for one in problems)
    return list(dict.fromkeys(shown))


def _shown_place(place: Place, paths: Paths) -> Place:
    """Return a place with its file as the person named it."""
    return Place(paths.show(place.file) if place.line else paths.shown, place.line or 1)
