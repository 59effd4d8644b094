"""Submit: DAG files are loaded, checked against this installation, and registered; and what happens next is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from rqflow.actions import pools, query
from rqflow.broker.broker import Broker
from rqflow.dag import loader, timetable
from rqflow.dag.version import DEFAULT_POOL, Version
from rqflow.exceptions import DagLoadError, UsageError
from rqflow.settings import Settings, format_duration
from rqflow.store import dags, runs
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of loading one file: the DAGs with which nothing is wrong, and the problems that it has, each as `file:line: message`."""

    file: Path
    versions: tuple[Version, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """All that was loaded from the files that a person named."""

    versions: tuple[Version, ...]
    warnings: tuple[str, ...]
    unsupported: tuple[str, ...]


def files(paths: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """Return (file, folder that was named) of the DAG files that `paths` name; None: the file itself was named.

    Raises UsageError for a path that does not exist, DagLoadError for a folder without any.
    """
    found: list[tuple[Path, Path | None]] = []
    for path in paths:
        if path.is_dir():
            found += [(file, path) for file in loader.find_dag_files(path)]
        elif path.is_file():
            found.append((path, None))
        else:
            raise UsageError(f"{path}: there is no such file")
    return found


def survey(paths: Sequence[Path], settings: Settings) -> list[Report]:
    """Load all DAG files that `paths` name and report on each; raises UsageError for a path that does not exist."""
    reports = []
    for file, folder in files(paths):
        try:
            loaded = loader.load(file, settings, root=folder)
        except loader.NoDag as error:
            if folder is None:
                reports.append(Report(file=file, errors=tuple(error.problems)))
        except loader.BadFile as error:
            reports.append(_report(file, error.sound, error.problems))
        except DagLoadError as error:
            reports.append(Report(file=file, errors=tuple(error.problems)))
        else:
            reports.append(_report(file, loaded))
    doubled = _twice(reports)
    return [replace(report, errors=(*report.errors, *doubled[report.file])) if report.file in doubled else report for report in reports]


def _report(file: Path, loaded: loader.Loaded, errors: Sequence[str] = ()) -> Report:
    return Report(file=file, versions=loaded.versions, errors=tuple(errors), warnings=tuple(map(str, loaded.warnings)),
                  unsupported=tuple(map(str, loaded.unsupported)))


def read(paths: Sequence[Path], settings: Settings) -> Read:
    """Load all DAG files that `paths` name; raises DagLoadError with the problems of all of them."""
    reports = survey(paths, settings)
    problems = [problem for report in reports for problem in report.errors]
    if problems:
        raise DagLoadError(problems)
    return Read(versions=tuple(version for report in reports for version in report.versions),
                warnings=tuple(warning for report in reports for warning in report.warnings),
                unsupported=tuple(name for report in reports for name in report.unsupported))


def _twice(reports: Iterable[Report]) -> dict[Path, list[str]]:
    """Return {file: problems} of the files with a DAG id that a file before it has too."""
    seen: dict[str, Path] = {}
    problems: dict[Path, list[str]] = {}
    for report in reports:
        for version in report.versions:
            first = seen.setdefault(version.dag_id, report.file)
            if first != report.file:
                problems.setdefault(report.file, []).append(f"{report.file}:1: the DAG {version.dag_id} is in {first} too")
    return problems


def check_pools(broker: Broker, engine: Engine, versions: Iterable[Version]) -> None:
    """Raise DagLoadError for tasks with an unknown pool, or with more slots than their pool has."""
    slots = {pool.name: pool.slots for pool in pools.list_all(broker, engine) if pool.slots is not None}
    problems = [problem for version in versions for problem in pool_problems(version, slots)]
    if problems:
        raise DagLoadError(problems, hint="`rqflow pool list` shows the pools, `rqflow pool set NAME SLOTS` makes one.")


def pool_problems(version: Version, slots: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the pools of a DAG's tasks, where {pool: slots} exist. The default pool always does."""
    problems = []
    for task in version.tasks:
        place = f"{version.file}: task {task.task_id} of DAG {version.dag_id}"
        if task.pool not in slots and task.pool != DEFAULT_POOL:
            problems.append(f"{place}: there is no pool {task.pool}")
        elif task.pool in slots and task.pool_slots > slots[task.pool]:
            problems.append(f"{place} takes {task.pool_slots} slots of pool {task.pool}, which has {slots[task.pool]}")
    return problems


def tasks_by_queue(version: Version) -> dict[str, list[str]]:
    """Return {queue: ids of the tasks that workers take from it}."""
    found: dict[str, list[str]] = {}
    for task in version.tasks:
        if task.operator != "empty":
            found.setdefault(task.queue, []).append(task.task_id)
    return found


def register(broker: Broker, engine: Engine, versions: Sequence[Version]) -> list[dags.Saved]:
    """Save the versions as those that new runs take, and give Redis the pools that they use."""

    def write(connection: Connection) -> list[dags.Saved]:
        return [dags.save_version(connection, version) for version in versions]

    saved = run_in_transaction(engine, write)
    pools.send(broker, engine)
    return saved


def is_once(version: Version) -> bool:
    """Tell whether the DAG's schedule asks for exactly one run."""
    return version.schedule == timetable.ONCE


def last_run(engine: Engine, dag_id: str) -> RunRecord | None:
    """Return the run of a DAG that was made last, or None."""
    with reading(engine) as connection:
        return runs.latest(connection, dag_id)


def what_next(broker: Broker, engine: Engine, version: Version) -> str:
    """Return what happens next with a DAG of which no run was started."""
    found = query.list_runs(broker, engine, runs.RunFilter(dag_id=version.dag_id), limit=1)
    if not is_once(version) or not found:
        return "nothing starts by itself: add --run"
    last = found[0]
    when = f", {last.ended_at.isoformat(timespec='seconds')}" if last.ended_at else ""
    return f"@once has run ({last.state.value}{when}): --run for another"


def describe(version: Version, saved: dags.Saved) -> str:
    """Return one line about a registered DAG."""
    tasks = f"{len(version.tasks)} task{'s' if len(version.tasks) != 1 else ''}"
    news = "unchanged" if not saved.is_new else f"version {saved.number}"
    return f"{version.dag_id}: {tasks}, schedule {schedule_words(version.schedule) or 'none'}, {news}"


def schedule_words(schedule: str | None) -> str:
    """Return a schedule as people read it: a length of time as `every 1d` or `every 2 months`, any other as it was written."""
    kind, _, rest = (schedule or "").partition(":")
    if kind == "timedelta":
        return f"every {format_duration(timedelta(seconds=float(rest)))}"
    if kind == "relativedelta":
        parts = (part.partition("=") for part in rest.split(","))
        return "every " + ", ".join(f"{number} {name if number != '1' else name.removesuffix('s')}" for name, _, number in parts)
    return schedule or ""
