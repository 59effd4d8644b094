"""DAG files are loaded and reported on. No service is asked, and none of their libraries is imported here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rqflow.dag import folder, inputs, loader
from rqflow.dag.inputs import Inputs
from rqflow.dag.version import Version
from rqflow.exceptions import DagLoadError, UsageError
from rqflow.settings import Settings

#: Behind the name of a DAG file: the signatures of the versions that it makes (detached.py).
SIGNATURES = ".sig"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of loading one file: the DAGs with which nothing is wrong, and the problems that it has, each as `file:line: message`."""

    file: Path
    #: Its path below the folder of DAGs; None: it is not in it.
    key: str | None = None
    #: What all this depends on; None: it could not be told.
    inputs: Inputs | None = None
    versions: tuple[Version, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    #: Ids of its DAGs whose schedules are meant in core.default_timezone, for it names no zone.
    assumed: tuple[str, ...] = ()
    #: {dag_id: {task_id: `file:line`}} of the tasks that name a pool or a Connection.
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Nothing is wrong with it save that it holds no DAG.
    no_dag: bool = False

    def place(self, dag_id: str, task_id: str) -> str:
        """Return where a task is made, as `file:line` where that is known."""
        return self.places.get(dag_id, {}).get(task_id, str(self.file))


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """All that was loaded from the files that a person named."""

    files: tuple[Report, ...]

    @property
    def versions(self) -> tuple[Version, ...]:
        """The DAGs."""
        return tuple(version for report in self.files for version in report.versions)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is worth a warning."""
        return tuple(warning for report in self.files for warning in report.warnings)

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Uses of names that rqflow does not have."""
        return tuple(name for report in self.files for name in report.unsupported)


def zone_warning(read: Read, settings: Settings, local: str) -> str:
    """Return the one warning that schedules may be meant by the clock on the wall, in the zone `local` of this machine; empty: no need.

    Nobody is warned who has said which zone is meant, in the configuration or in the file.
    """
    found = [dag_id for report in read.files for dag_id in report.assumed]
    if not found or "core.default_timezone" in settings.origins or local in {settings.core.default_timezone, "Etc/UTC", "UTC", "Etc/UCT", "GMT"}:
        return ""
    which = f"{found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}"
    return (f"the schedule of {which} names no time zone and is meant in {settings.core.default_timezone}, while this machine's zone is {local}. "
            f"Write `default_timezone = {local}` (or {settings.core.default_timezone}, to be told no more) under [core] in rqflow.cfg")


def dags_folder(settings: Settings) -> Path:
    """Return the folder of DAGs."""
    return settings.home / Path(settings.core.dags_folder).expanduser()


def key_of(file: Path, dags: Path) -> str | None:
    """Return the path of a file below the folder of DAGs; None when it is not in it, or left out there."""
    real = Path(os.path.realpath(file.parent)) / file.name
    for path, base in ((file.absolute(), dags.absolute()), (real, Path(os.path.realpath(dags)))):
        if path.is_relative_to(base):
            key = path.relative_to(base).as_posix()
            return key if folder.counts(base, key) else None
    return None


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
    found = [(one(file, settings, named=named), named) for file, named in files(paths)]
    reports = [report for report, named in found if named is None or not report.no_dag]
    doubled = _twice(reports)
    return [replace(report, errors=(*report.errors, *doubled[report.file])) if report.file in doubled else report for report in reports]


def one(file: Path, settings: Settings, *, named: Path | None = None, key: str | None = None) -> Report:
    """Load one DAG file, found in the folder that was `named` if one was, and report on it.

    A file in the folder of DAGs is loaded as a part of that folder, whoever names it; `key` is its path there where that is known.
    """
    dags = dags_folder(settings)
    key = key or key_of(file, dags)
    try:
        if key is not None:
            loaded = loader.load(dags / key, settings, root=folder.root_of(dags / key, dags), shown=str(file))
        else:
            loaded = loader.load(file, settings, root=folder.root_of(file, named) if named else None)
    except loader.NoDag as error:
        return Report(file=file, key=key, inputs=error.inputs, errors=tuple(error.problems), no_dag=True)
    except loader.BadFile as error:
        return _report(file, key, error.sound, error.problems)
    except DagLoadError as error:
        return Report(file=file, key=key, errors=tuple(error.problems))
    return _watching(_report(file, key, loaded), dags)


def _report(file: Path, key: str | None, loaded: loader.Loaded, errors: Sequence[str] = ()) -> Report:
    return Report(file=file, key=key, inputs=loaded.inputs, versions=loaded.versions, errors=tuple(errors), warnings=tuple(map(str, loaded.warnings)),
                  unsupported=tuple(map(str, loaded.unsupported)), assumed=loaded.assumed, places=loaded.places)


def _watching(report: Report, dags: Path) -> Report:
    """Let what a file of the folder depends on include the signatures beside it, if there are any."""
    if report.key is None or report.inputs is None:
        return report
    beside = Path(f"{dags / report.key}{SIGNATURES}")
    if not beside.exists():
        return report
    more = inputs.of(folder.root_of(dags / report.key, dags), [str(beside)], ())
    return replace(report, inputs=replace(report.inputs, files={**report.inputs.files, **more.files}))


def read(paths: Sequence[Path], settings: Settings) -> Read:
    """Load all DAG files that `paths` name; raises DagLoadError with the problems of all of them."""
    reports = survey(paths, settings)
    problems = [problem for report in reports for problem in report.errors]
    if problems:
        raise DagLoadError(problems)
    return Read(files=tuple(reports))


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
