"""rqflow dag graph: what a DAG looks like."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rqflow.actions import drawing, graphs
from rqflow.api.runs import OneRun, get_run
from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.cli.definitions import is_file, of_run, version_named
from rqflow.cli.hub import asking
from rqflow.exceptions import UsageError


@click.command()
@click.argument("name", metavar="DAG|FILE")
@click.option("--dag", "dag_id", help="Which DAG, when the file has several.")
@click.option("-o", "--format", "style", type=click.Choice([*graphs.TEXTS, *graphs.PICTURES]), default=graphs.ASCII, show_default=True,
              help="How it is written; svg and png need Graphviz.")
@click.option("--run", "run_name", metavar="RUN", help="Show the states of the tasks of this run.")
@click.option("--collapse", type=click.Choice(drawing.COLLAPSE), default=drawing.AUTO, show_default=True,
              help=f"Which task groups are one node; auto: all of them from {drawing.MANY + 1} tasks on.")
@click.option("-O", "--to", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there, not to stdout.")
@pass_app
def graph(app: App, /, name: str, dag_id: str | None, style: str, run_name: str | None, collapse: str, target: Path | None) -> None:
    """Print the graph of a submitted DAG, or of one in a file, or make a picture of it."""
    if style == graphs.PNG and target is None and sys.stdout.isatty():
        raise UsageError("a png is nothing for a terminal", hint="Add -O FILE.")
    states = None
    if run_name is None:
        version = version_named(app, name, dag_id)
    else:
        with asking(app) as ask:
            found = ask(get_run, OneRun(run=run_name))
            version, states = of_run(ask, found.run_key)[0], {task.task_id: task.state for task in found.tasks}
        if dag_id is None and not is_file(name) and version.dag_id != name:
            raise UsageError(f"run {found.run_id} is of {version.dag_id}, not of {name}")
    made = graphs.made(drawing.draw(version, states, collapse), style)
    if target is None:
        output.raw(made)
        return
    try:
        target.write_bytes(made)
    except OSError as error:
        raise UsageError(f"-O {target}: {error.strerror}") from error
    output.note(f"{target} written")
