"""Logging of rqflow's own processes: how it is set up, and the keys that every line carries."""

from __future__ import annotations

import logging

LOGGER_NAME = "rqflow"
FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


#: What the logging module would find out for each line, and no line of ours shows; the switches are those of its manual ("Optimization").
_UNUSED = ("logThreads", "logMultiprocessing", "logProcesses", "logAsyncioTasks")


def setup(verbosity: int = 0) -> None:
    """Send the log lines of this process to stderr; `verbosity` -1 shows warnings, 0 state changes, 1 and more everything."""
    level = {-1: logging.WARNING, 0: logging.INFO}.get(max(verbosity, -1), logging.DEBUG)
    logging.basicConfig(format=FORMAT, level=logging.WARNING)
    logging.getLogger(LOGGER_NAME).setLevel(level)
    for name in _UNUSED:
        setattr(logging, name, False)
    logging._srcfile = None  # noqa: SLF001 (the line of code that speaks)


def context(action: str, **fields: object) -> dict[str, object]:
    """Return the `extra` of a log call: what happened, and to which dag_id, run_id, task_id, try_number …"""
    return {"action": action, **fields}
