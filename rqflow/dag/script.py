"""`python dag.py` on a file that imports rqflow: it ends by what `rqflow dag validate dag.py` prints."""

from __future__ import annotations

import atexit
import subprocess
import sys
from pathlib import Path

from rqflow.dag.explain import is_installed

_VALIDATE = "import sys; from rqflow.cli.main import main; sys.exit(main(['dag', 'validate', sys.argv[1]]))"
_offered: list[str] = []


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
    atexit.register(subprocess.run, [sys.executable, "-c", _VALIDATE, file], check=False)
