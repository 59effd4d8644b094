"""rqflow python: a Python file with Airflow's imports understood."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

import click

from rqflow.cli import output
from rqflow.dag import script
from rqflow.dag.airflow import finder
from rqflow.exceptions import DagLoadError, UsageError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def python(file: Path, args: tuple[str, ...]) -> None:
    """Run FILE as `python FILE ARGS...` would, with `import airflow` answered by rqflow."""
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    finder.install()
    sys.argv = [str(file), *args]
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        runpy.run_path(str(file), run_name="__main__")
    except DagLoadError as error:
        if not script.leave_to_validate(error):
            output.problem(str(error))
        click.get_current_context().exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever the person's own file raises is theirs to read
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != str(file) and frames.tb_next is not None:
            frames = frames.tb_next
        output.problem("".join(traceback.format_exception(error.with_traceback(frames))).rstrip())
        click.get_current_context().exit(1)
