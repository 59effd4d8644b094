"""The process that loads one DAG file: sets its own limits, loads, and writes what came of it to a pipe.

Started by loader.py, with what to do as JSON in argv. The file's own output goes elsewhere, so it cannot disturb the answer.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rqflow.dag import inputs, loading, outside, render_child, sources, zones
from rqflow.dag.explain import Paths, place_in, problems_of
from rqflow.dag.heard import Heard
from rqflow.dag.loading import Result
from rqflow.dag.problems import Problem
from rqflow.exceptions import RqflowError

#: Seconds after the time limit at which Python is stopped where it does not listen.
LATE = 0.5


class Asked(Mapping[str, Any]):
    """Stored Variables or Connections, each asked of the process that wants the file loaded when it is needed."""

    def __init__(self, kind: str, descriptor: int) -> None:
        """Ask for the `kind` VAR or CONN over a socket."""
        self._kind, self._descriptor = kind, descriptor
        self._known: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        """Return one; raises KeyError, or RqflowError with what is wrong with all of them."""
        if name not in self._known:
            os.write(self._descriptor, json.dumps([self._kind, name]).encode())
            answer = b""
            while not answer.endswith(b"\n"):
                if not (piece := os.read(self._descriptor, 1 << 16)):
                    raise KeyError(name)
                answer += piece
            self._known[name] = json.loads(answer)
        found = self._known[name]
        if "error" in found:
            raise RqflowError(found["error"])
        return found["found"]

    def __iter__(self) -> Iterator[str]:
        """Iterate over those that were asked for."""
        return (name for name, found in self._known.items() if "found" in found)

    def __len__(self) -> int:
        """Return how many of these there are."""
        return sum(1 for _ in self)


def main() -> None:
    """Do what argv says; answer on the file descriptor that it names."""
    job = json.loads(sys.argv[1])
    answer = os.fdopen(job["answer"], "w", encoding="utf-8")
    for descriptor in (job["answer"], job["asks"]):
        os.set_inheritable(descriptor, False)
    outside.provide(variables=Asked("VAR", job["asks"]), connections=Asked("CONN", job["asks"]))
    paths = Paths(Path(job["file"]), Path(job["root"]), job["shown"])
    _limit(job["timeout"], job["memory"])
    heard = Heard(paths)
    _watch(job["timeout"], paths, heard, answer)
    if "render" in job:
        _write(_rendered(job["render"], paths), answer)
    zones.assume(job["default_timezone"])
    result = loading.load_here(paths, default_queue=job["default_queue"], opened=heard.opened)
    _answer(result, paths, heard, answer)


def _rendered(job: dict[str, Any], paths: Paths) -> dict[str, Any]:
    try:
        return {"rendered": render_child.render(job)}
    except BaseException as error:  # noqa: BLE001 (an author's file may raise whatever it likes; it must be told)
        return {"problems": [[p.file, p.line, p.message] for p in problems_of(error, paths)]}


def _limit(timeout: float, memory: int) -> None:
    """Set the limits of CPU time and memory, and keep libraries from starting a thread for each core, which takes memory."""
    seconds = math.ceil(timeout) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.putenv(name, "1")


def _watch(timeout: float, paths: Paths, heard: Heard, answer: Any) -> None:
    """Answer with the author's line when the time is over; where Python does not listen, let a thread write where it hangs and end it."""

    def ring(_signal: int, frame: FrameType | None) -> None:
        place = place_in(frame, paths)
        late = Problem(place.file, place.line, f"loading takes longer than {timeout:g} s (core.load_timeout); it was at this line")
        _answer(Result(problems=[late]), paths, heard, answer)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    faulthandler.dump_traceback_later(timeout + LATE, exit=True, file=answer)


def _answer(result: Result, paths: Paths, heard: Heard, answer: Any) -> NoReturn:
    """Write the result of a load, and what it depended on; sources only once."""
    # First, for what follows reads too.
    asked = list(outside.variables().asked)
    needed = inputs.of(paths.root, heard.inputs([*sources.local_modules(paths), *result.absent]), asked)
    texts = {key: source for version in result.versions for key, source in version.sources.items()}
    versions = [{"version": replace(version, sources={}).json, "sources": list(version.sources)} for version in result.versions]
    problems = {name: [[p.file, p.line, p.message] for p in getattr(result, name)] for name in ("problems", "warnings", "unsupported")}
    told = {"sources": texts, "versions": versions, "no_dag": result.no_dag, "inputs": needed.to_plain(), "assumed": result.assumed,
            "places": result.places, **problems}
    _write(told, answer)


def _write(plain: dict[str, Any], answer: Any) -> NoReturn:
    """Write the answer as one line of JSON, and end this process whatever the file has left running."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
    # First what the file printed: whoever reads the answer stops listening. The file may have closed its streams.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    json.dump(plain, answer)
    answer.write("\n")
    answer.flush()
    os._exit(0)
