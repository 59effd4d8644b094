"""rqflow init: a home to start from."""

from __future__ import annotations

from pathlib import Path

import click

from rqflow.cli import output
from rqflow.cli.app import App, pass_app
from rqflow.deploy import home, services


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--no-examples", is_flag=True, help="Write no example DAG.")
@click.option("--force", is_flag=True, help="Write rqflow.cfg anew when it exists.")
@pass_app
def init(app: App, directory: Path | None, no_examples: bool, force: bool) -> None:
    """Make a home: rqflow.cfg with every setting commented, a folder of DAGs with an example, and the database."""
    app.home = directory or app.home  # before the settings are read: those of another home say nothing about this one
    settings = app.settings
    made = home.make(settings, examples=not no_examples, force=force)
    with services.open_database(settings):
        pass
    for path in made.written:
        output.line(str(path))
    example = made.home / settings.core.dags_folder / "hello.py"
    output.note(f"Home made in {made.home}. Next: rqflow --home {made.home} submit {example} --run --follow")
