"""A worker as a process of its own: URL, HOME and the options as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rqflow import logs, settings
from rqflow.broker.connection import connect
from rqflow.exceptions import RqflowError
from rqflow.worker import Worker


def main(words: Sequence[str]) -> int:
    url, home, options = words[0], Path(words[1]), json.loads(words[2])
    logs.setup()
    if "idle_exit" in options:
        options["idle_exit"] = timedelta(seconds=options["idle_exit"])
    try:
        found = settings.load(home=home)
        Worker.from_settings(connect(url, found), found, **{**options, "work_dir": Path(options["work_dir"])}).work()
    except RqflowError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
