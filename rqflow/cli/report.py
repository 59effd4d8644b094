"""rqflow run report: what became of a run, for people who were not there."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from rqflow.actions.model import size_words
from rqflow.actions.report import Summary
from rqflow.api.runs import OneRun, summarize
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.hub import asking
from rqflow.cli.output import Column, Printer, duration
from rqflow.exceptions import UsageError

#: Option -> what the hub calls it.
FORMS = {"html": "html", "trace": "trace", "gantt": "timeline"}
_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
LONGEST_COLUMNS = [Column("task_id", "LONGEST"), Column("try_number", "TRY"), Column("duration", "DURATION", show=duration)]


@click.command("report")
@click.argument("name", metavar="RUN")
@click.option("--html", type=_FILE, metavar="FILE|-", help="Write a page with all about it: one file, no scripts.")
@click.option("--trace", type=_FILE, metavar="FILE|-", help="Write a line of CSV for each try: times, exit codes, CPU, memory, hosts.")
@click.option("--gantt", type=_FILE, metavar="FILE|-", help="Write a picture (SVG) of when the tries ran.")
@output.listing
@pass_app
def report_(app: App, printer: Printer, name: str, html: Path | None, trace: Path | None, gantt: Path | None) -> None:
    """Show a run in numbers: states, tries, times, memory, the longest tasks and the critical path; or write that, and more, to files.

    A run that has not ended is reported as it stands.
    """
    from rqflow.api.reports import ReportRun, report_run  # here: not needed for looking at runs

    printer.check(output.fields_of(Summary))
    targets = {kind: path for kind, path in (("html", html), ("trace", trace), ("gantt", gantt)) if path is not None}
    if list(map(str, targets.values())).count("-") > 1:
        raise UsageError("only one of --html, --trace and --gantt can go to stdout")
    with asking(app) as ask:
        for kind, path in targets.items():
            _write(path, ask(report_run, ReportRun(run=name, form=FORMS[kind])).text)
        found = None if targets else ask(summarize, OneRun(run=name))
    if found is not None:
        _show(printer, found)
    elif all(str(path) != "-" for path in targets.values()):
        printer.report([{"kind": kind, "file": str(path)} for kind, path in targets.items()], [Column("file", "FILE"), Column("kind", "KIND")])


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        output.raw(text.encode("utf-8", "surrogateescape"))
        return
    try:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    output.note(f"{path} written")


def _show(printer: Printer, found: Summary) -> None:
    """Print a summary: all of it for programs, in words and a table for people."""
    row = asdict(found)
    if not printer.shows_parts:
        printer.record(row, name="run_id")
        return
    words: dict[str, str] = {name: duration(row[name]) for name in ("duration", "task_seconds", "cpu_seconds")}
    words |= {"states": ", ".join(f"{number} {state}" for state, number in found.states.items()), "hosts": ", ".join(found.hosts),
              "max_rss_bytes": size_words(found.max_rss_bytes), "critical_path": " -> ".join(found.critical_path)}
    times = {name: printer.cell(Column(name, ""), value) for name, value in row.items() if isinstance(value, datetime)}
    head = {name: value for name, value in (row | words | times).items() if name != "longest" and value not in (None, "")}
    printer.record(head, name="run_id")
    if found.longest:
        printer.blank()
        printer.records(list(found.longest), LONGEST_COLUMNS)
