"""`python dag.py` on a file that imports rqflow: it ends by what `rqflow dag validate dag.py` prints, and with its exit code."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from rqflow.dag.explain import is_installed
from rqflow.exceptions import DagLoadError

_VALIDATE = "import sys; from rqflow.cli.main import main; sys.exit(main(['dag', 'validate', sys.argv[1]]))"
_offered: list[str] = []
_raised: list[DagLoadError] = []


def validate_at_exit() -> None:
    """Arrange for it, once, when this process runs a file of an author's as a script. The facade calls this for who asks for DAG.

    It is text that names the command line, because cli/ is a room that dag/ may not import.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    # With `python -m` there is a __spec__; commands such as rqflow or pytest have no .py at their end.
    is_script = isinstance(file, str) and file.endswith(".py") and getattr(main, "__spec__", None) is None
    if not is_script or not file or is_installed(str(Path(file).absolute())) or _offered:
        return
    _offered.append(file)
    atexit.register(_validate, file)
    sys.excepthook = _excepthook


def leave_to_validate(error: DagLoadError) -> bool:
    """Leave it to what is printed at the end to tell of an error that ends the script; False when nothing was arranged."""
    _raised.append(error)
    return bool(_offered)


def _excepthook(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """Show no traceback of rqflow's own for a mistake that has a file and a line."""
    if not (isinstance(error, DagLoadError) and leave_to_validate(error)):
        sys.__excepthook__(kind, error, frames)


def _validate(file: str) -> None:
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-c", _VALIDATE, file], check=False).returncode
    if not code and _raised:  # the file is sound when it is loaded, but not when it is run
        sys.stderr.write(f"{_raised[0]}\n")
        code = _raised[0].exit_code
    if code:
        sys.stderr.flush()
        os._exit(code)  # a handler of atexit has no other way to choose the exit code
