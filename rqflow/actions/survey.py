"""DAG files are loaded and reported on. No service is asked, and none of their libraries is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rqflow.dag import loader
from rqflow.dag.version import Version
from rqflow.exceptions import DagLoadError, UsageError
from rqflow.settings import Settings


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
