"""rqflow run logs and rqflow task logs: what tasks have printed, as it is, or line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import click

from rqflow.actions import loglines, logs, query, runlogs, select
from rqflow.actions.loglines import Line, Part
from rqflow.actions.model import Run, TaskInstance
from rqflow.actions.runlogs import TaskLine
from rqflow.cli import output, recalling
from rqflow.cli.app import App, pass_app
from rqflow.cli.types import COUNT, COUNT_OR_NONE, MOMENT
from rqflow.deploy import live, statedir
from rqflow.exceptions import NotFound, ServiceUnreachable, UsageError

if TYPE_CHECKING:
    from rqflow.cli.observing import Observer

#: Bytes that are gathered before they are printed, where nobody waits for them; characters that names of tasks are padded to at most.
GATHER, NAMES = 1 << 16, 40

_output = click.option("-o", "--output", "style", type=click.Choice(["text", "json"]), default="text",
                       help="json: an object for each line, with task_id, try_number, at and line.")


@click.command("logs")
@click.argument("name", metavar="RUN")
@click.option("--task", "selector", default="*", metavar="TASK", help="Only these tasks: an id, a pattern, x+, +x, group:G, state:failed.")
@click.option("--failed", is_flag=True, help="Only tasks that failed.")
@click.option("-f", "--follow", "go_on", is_flag=True, help="Print what they print as it comes, until the run has ended.")
@click.option("--merge", is_flag=True, help="Line by line in the order in which they came, with the task's name before each.")
@_output
@pass_app
def run_logs(app: App, /, name: str, selector: str, failed: bool, go_on: bool, merge: bool, style: str) -> None:
    """Print the logs of a run's tasks, the last try of each, one after the other."""
    if failed and go_on:
        raise UsageError("--failed asks for what is over, and --follow for what is to come")
    from rqflow.cli.observing import observing  # here: not needed for looking at runs

    with observing(app) as observer:
        found = observer.run(name)
        version = observer.version(found)
        if go_on:
            names = {version.tasks[index].task_id for index in select.tasks(version, selector, query.states_of(found))}
            _follow(observer, found, names, style, merge=merge)
            return
        tasks = logs.chosen(found, version, selector, failed=failed)
        if merge:
            _print(runlogs.merged(observer, found, tasks, _missed), style, tasks)
        elif style == "json":
            _print((line for task in tasks for line in _of_task(observer, found, task)), style, tasks)
        else:
            for task in tasks:
                output.note(f"==> {task.task_id}, try {task.try_number}: {task.state.value} <==")
                _copy(observer, found, task)
        for task in tasks:
            if told := observer.held_back(found, task.task_id, task.try_number):
                output.note(f"{task.task_id}: {told}")


def _missed(error: NotFound) -> None:
    output.note(error.message)


def _of_task(observer: Observer, run: Run, task: TaskInstance) -> Iterator[TaskLine]:
    """Yield the lines of a log, and say when there is none."""
    try:
        yield from runlogs.of_task(observer, run, task)
    except NotFound as error:
        _missed(error)


def _copy(observer: Observer, run: Run, task: TaskInstance) -> None:
    """Print a log as it is, and say when there is none."""
    try:
        for chunk in observer.read(run, task.task_id, task.try_number):
            output.raw(chunk)
    except NotFound as error:
        _missed(error)


def _follow(observer: Observer, run: Run, names: set[str], style: str, *, merge: bool) -> None:
    """Print what tasks print as it comes: whole lines, or pieces, of which is said on stderr whose they are when that changes."""
    if merge or style == "json":
        width = min(max(map(len, names), default=0), NAMES)
        for one in runlogs.whole_lines(observer.follow_run(run, names)):
            output.raw(_json(one) if style == "json" else _named(one, width))
        return
    last = ("", 0)
    for task, data in observer.follow_run(run, names):
        if (task.task_id, task.try_number) != last:
            last = (task.task_id, task.try_number)
            output.note(f"==> {task.task_id}, try {task.try_number} <==")
        output.raw(data)


def _print(lines: Iterable[TaskLine], style: str, tasks: Iterable[TaskInstance]) -> None:
    width = min(max((len(task.task_id) for task in tasks), default=0), NAMES)
    _gathered(_json(one) if style == "json" else _named(one, width) for one in lines)


def _gathered(texts: Iterable[bytes]) -> bool:
    """Print texts, many at a time; tell whether there were any."""
    waiting: list[bytes] = []
    size, printed = 0, False
    for text in texts:
        printed = True
        waiting.append(text)
        size += len(text)
        if size > GATHER:
            output.raw(b"".join(waiting))
            waiting, size = [], 0
    output.raw(b"".join(waiting))
    return printed


def _named(one: TaskLine, width: int) -> bytes:
    """Return a line with its task's name before it; it always ends."""
    return f"{one.task_id:<{width}} | ".encode() + one.line.text.removesuffix(b"\n") + b"\n"


def _json(one: TaskLine) -> bytes:
    text = one.line.text.removesuffix(b"\n").decode("utf-8", "replace")
    return output.json_line({"task_id": one.task_id, "try_number": one.try_number, "at": one.line.at, "line": text})


@click.command("logs")
@click.argument("run_name", metavar="RUN")
@click.argument("task_id", metavar="TASK")
@click.option("-f", "--follow", is_flag=True, help="Go on until the try has ended.")
@click.option("--try", "number", type=COUNT, help="Which try; the last one when not given.")
@click.option("--head", type=COUNT_OR_NONE, metavar="N", help="Only the first N lines.")
@click.option("--tail", type=COUNT_OR_NONE, metavar="N", help="Only the last N lines.")
@click.option("--since", type=MOMENT, help="Only lines that came at this time or later.")
@click.option("--timestamps", is_flag=True, help="Before each line when it came, in --tz.")
@click.option("--grep", metavar="REGEX", help="Only lines in which this is found; exit 1 when there is none.")
@click.option("-C", "--context", type=COUNT_OR_NONE, default=0, metavar="N", help="And N lines before and after these.")
@click.option("--no-ansi/--raw", default=False, help="Without colours and what else is for terminals, or with all of it (the default).")
@_output
@pass_app
def task_logs(app: App, /, run_name: str, task_id: str, follow: bool, number: int | None, timestamps: bool, style: str, **asked: Any) -> None:
    """Print the log of a try as it is, colours and all, or the lines that are asked for.

    A line came when the hub's Redis got it: a fraction of a second after it was printed, later after a broken link. A shorter log came
    at its end.
    """
    part = Part(**asked)
    try:
        printed = _print_task(app, part, run_name, task_id, number, follow=follow, timestamps=timestamps, style=style)
    except ServiceUnreachable as error:
        if follow or timestamps or style != "text" or not part.is_all:
            raise
        _print_archived(app, error, run_name, task_id, number)
        click.get_current_context().exit(error.exit_code)
    click.get_current_context().exit(int(part.grep is not None and not printed))


def _print_archived(app: App, error: ServiceUnreachable, run_name: str, task_id: str, number: int | None) -> None:
    """Print what the archive here has of a log, while nobody can be asked how the run stands. Raises `error` where nothing is known."""
    found, settings = recalling.known(app, error).find(run_name), app.settings
    machine = statedir.this_machine()
    here = live.resolved(settings, statedir.locate(settings, machine), machine)
    for data in logs.read(here, found, task_id, number or max(logs.task_of(found, task_id).try_number, 1)):
        output.raw(data)


def _print_task(app: App, part: Part, run_name: str, task_id: str, number: int | None, *, follow: bool, timestamps: bool, style: str) -> bool:
    """Print the log of a try, or parts of it; tell whether there was anything."""
    from rqflow.cli.observing import observing  # here: not needed for looking at runs

    with observing(app) as observer:
        found = observer.run(run_name)
        number = number or max(logs.task_of(found, task_id).try_number, 1)
        chunks = observer.follow(found, task_id, number) if follow else observer.read(found, task_id, number)
        stamp = observer.stamp(found, task_id, number)
        try:
            if part.is_all and style == "text" and not timestamps:
                texts = iter(chunks)
            elif style == "json":
                lines = (line for line in loglines.lines(chunks, part, stamp) if not line.is_gap)
                texts = (_json(TaskLine(task_id=task_id, try_number=number, line=line)) for line in lines)
            else:
                texts = (_stamped(line, app.zone) if timestamps else line.text for line in loglines.lines(chunks, part, stamp))
            printed = _at_once(texts) if follow else _gathered(texts)
        finally:
            if told := observer.held_back(found, task_id, number):
                output.note(told)
    return printed


def _at_once(texts: Iterable[bytes]) -> bool:
    printed = False
    for text in texts:
        output.raw(text)
        printed = True
    return printed


def _stamped(line: Line, zone: tzinfo) -> bytes:
    """Return a line with its time, in ISO 8601 with milliseconds, before it."""
    if line.is_gap:
        return line.text
    moment = line.at.astimezone(zone).isoformat(timespec="milliseconds") if line.at else "-"
    return f"{moment} ".encode() + line.text
