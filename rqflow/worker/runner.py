"""The Python child of a task: `python runner.py spec.json`. One file, standard library only, for Python 3.8 and later.

The spec is a JSON object. `mode` "task": `rqflow` (the folder that rqflow is imported from), and what rqflow/dag/task_child.py takes of
the rest; it runs under rqflow's own Python. `mode` "callback": likewise, for rqflow/dag/callback_child.py, and `limit` (seconds). `mode`
"function", for an interpreter of another environment: `source` (the text of one function), `function` (its name), `args`, `kwargs`, `globals`
that it finds, and `context`, of whose values it gets those that its signature names.

How it went is written to the file `result`: {"state": "success", "failed", "skipped" or "reschedule", "reason", "xcoms": {key: JSON
text}, "retry": false when a further try would be in vain, "retry_in": seconds until a reschedule}. The exit code is 1 for failed, else 0,
unless what was raised has a `status`: then this process ends by that exit code or, when it is negative, by that signal. A task that is a
program, such as a bash command, takes the place of this process and leaves the state "program": the rest is told by how it ends.
"""

from __future__ import annotations

import os
import sys

if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):  # noqa: PTH120 (pathlib takes 10 ms)
    # The modules beside this script must not hide an author's.
    del sys.path[0]

import datetime
import faulthandler
import inspect
import json
import logging
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RETURN_VALUE = "return_value"
#: Names of exceptions, rqflow's and Airflow's, that say more than "failed"; names, since in another environment they are other classes.
SKIP = {"AirflowSkipException", "SkipTask"}
FINAL = {"AirflowFailException", "AirflowSensorTimeout", "FailTask"}
RESCHEDULE = {"AirflowRescheduleException"}
#: Exceptions of rqflow whose message is for the user as it is.
PLAIN = {"TaskFailed", "TemplateError", "DagLoadError", "FailTask", "AirflowSensorTimeout"}
_MAX_REASON = 500


def main(spec_path: str) -> int:
    """Do what the spec says, write the result, return the exit code."""
    with open(spec_path, encoding="utf-8") as stream:
        spec = json.load(stream)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="[%(asctime)s] {%(filename)s:%(lineno)d} %(levelname)s - %(message)s")
    result: dict[str, Any] = {"state": "success", "reason": "", "xcoms": {}, "retry": True}
    try:
        _MODES[spec["mode"]](spec, result)
    except BaseException as error:  # noqa: BLE001 (whatever an author's code raises is how the task ended)
        _conclude(error, result)
    status: int = result.pop("status", 1 if result["state"] == "failed" else 0)
    _write(result, spec["result"])
    _flush()
    if status < 0:
        _die_of(-status)
    return status


def _run_task(spec: Mapping[str, Any], result: dict[str, Any]) -> None:
    _settle_in(spec)
    # Here, since only this mode has rqflow at hand.
    from rqflow.dag import task_child

    task_child.run(spec, result, os.environ)


def _run_callback(spec: Mapping[str, Any], result: dict[str, Any]) -> None:
    # Its worker ends it at its limit; should that be gone by then, the kernel does.
    signal.alarm(int(spec["limit"]) + 1)
    _settle_in(spec)
    # Here, for the same reason.
    from rqflow.dag import callback_child

    callback_child.run(spec, result)


def _settle_in(spec: Mapping[str, Any]) -> None:
    """Make rqflow, Variables, Connections and the hub known to this process."""
    # A folder with nothing but rqflow comes first: what is installed may be another release by now. One with more comes last, for its
    # other packages may not be for this Python.
    sys.path.insert(0 if spec.get("own") else len(sys.path), spec["rqflow"])
    # Likewise.
    from rqflow.worker.handed import Handed

    Handed(spec, os.environ).provide()


def _run_function(spec: Mapping[str, Any], result: dict[str, Any]) -> None:
    namespace: dict[str, Any] = {"__name__": "rqflow_function", **spec.get("globals", {})}
    exec(compile(spec["source"], f"<{spec['function']}>", "exec"), namespace)  # noqa: S102 (this is what it is for)
    function = namespace[spec["function"]]
    try:
        value = function(*spec["args"], **keywords(function, spec["args"], spec["kwargs"], spec.get("context") or {}))
    except SystemExit as error:
        # Its exit code may have a meaning of its own.
        if isinstance(error.code, int) and 0 < error.code < 256:
            result["status"] = error.code
        raise
    if value is not None:
        keep(value, result)


def keywords(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return `kwargs` and those values of `context` that the signature names and nothing else fills; all of them for **kwargs."""
    parameters = list(inspect.signature(function).parameters.values())
    taken = {p.name for p in parameters[: len(args)]} | set(kwargs)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        wanted = set(context)
    else:
        wanted = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {**{name: context[name] for name in wanted - taken if name in context}, **kwargs}


def keep(value: Any, result: dict[str, Any], encode: Callable[[Any], str] = json.dumps) -> None:
    """Put what a function returned into the result; what is no JSON value is left out, which the log says."""
    try:
        result["xcoms"][RETURN_VALUE] = encode(value)
    except (TypeError, ValueError) as error:
        _say(f"rqflow: what the task returned is not kept as XCom: {error}")


def _conclude(error: BaseException, result: dict[str, Any]) -> None:
    """Say in the result, and in the log, what an exception means."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, SystemExit) and not error.code:
        return
    result["state"] = "skipped" if names & SKIP else "reschedule" if names & RESCHEDULE else "failed"
    result["retry"] = not names & FINAL
    said = str(getattr(error, "message", "") if names & PLAIN else error).strip() or str(error).strip()
    reason = said if names & (PLAIN | SKIP) and said else type(error).__name__ + (said and f": {said}")
    result["reason"] = reason[:_MAX_REASON]
    if getattr(error, "status", None) is not None:
        result["status"] = error.status  # type: ignore[attr-defined]
    if names & RESCHEDULE:
        again: Any = getattr(error, "reschedule_date", None)
        utc = datetime.timezone.utc  # noqa: UP017 (datetime.UTC is of Python 3.11)
        now = datetime.datetime.now(utc)
        again = (again if again.tzinfo else again.replace(tzinfo=utc)) if again else now
        result["retry_in"] = max((again - now).total_seconds(), 0)
        result["reason"] = f"not yet; it looks again at {again.astimezone(utc):%Y-%m-%d %H:%M:%S} UTC"
    elif names & (SKIP | PLAIN):
        # The reason itself is among the lines with which the worker closes the log.
        for text in (reason if len(reason) > _MAX_REASON else "", getattr(error, "hint", "")):
            if text:
                _say(f"rqflow: {text}")
    else:
        _print_traceback(error)


def _print_traceback(error: BaseException) -> None:
    """Print the traceback from the author's code on."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is None and isinstance(error, SystemExit):
        return  # It was told to stop; why, the worker says.
    lines: list[str] = traceback.format_exception(type(error), error, trace or error.__traceback__)
    _say("".join(lines).rstrip("\n"))


def _is_ours(path: str) -> bool:
    return path.startswith(os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep)  # noqa: PTH100, PTH120


_MODES: dict[str, Callable[[Mapping[str, Any], dict[str, Any]], None]] = {
    "task": _run_task, "callback": _run_callback, "function": _run_function,
}


def _die_of(number: int) -> None:
    faulthandler.disable()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _say(text: str) -> None:
    """Write a line to the task's log, behind what was printed so far."""
    _flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # A task may have closed it.
            continue


def _write(result: Mapping[str, Any], path: str) -> None:
    """Write the result so that it is there whole or not at all."""
    text = json.dumps(result)
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".new", path)  # noqa: PTH105


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
