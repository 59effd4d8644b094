"""Loading DAG files, each in a child process with limits of time and memory, so that no file can harm or hang who loads it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rqflow import clock
from rqflow.dag import outside, unpacking
from rqflow.dag.execution import load_source
from rqflow.dag.explain import Paths
from rqflow.dag.folder import walk
from rqflow.dag.inputs import Inputs
from rqflow.dag.problems import Place, Problem
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import DagLoadError, RqflowError
from rqflow.settings import Settings

__all__ = ["BadFile", "Loaded", "NoDag", "Problem", "find_dag_files", "load", "load_source", "render_source"]

#: Seconds that the child may overstay its own time limit before it is killed.
_PATIENCE = 2.0
_MAX_OUTPUT = 64_000
_SHOWN_LINES = 5
_CHUNK = 1 << 20
_START = "import sys; sys.path.append(sys.argv.pop(2)); from rqflow.dag.load_child import main; main()"
_HANGS = re.compile(r'File "([^"]+)", line (\d+)')


class NoDag(DagLoadError):
    """A file without anything wrong in it that holds no DAG; in a folder of DAG files that is no error."""

    def __init__(self, problems: list[str], inputs: Inputs) -> None:
        """Keep the one problem, and what it depends on."""
        super().__init__(problems)
        self.inputs = inputs


class BadFile(DagLoadError):
    """A file with something wrong in it; `sound` is what is nevertheless known: DAGs with which nothing is wrong, and warnings."""

    def __init__(self, problems: list[str], sound: Loaded) -> None:
        """Keep both."""
        super().__init__(problems)
        self.sound = sound


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What a DAG file holds. `unsupported` are uses of names of airflow that rqflow does not have: their tasks fail when they are run."""

    versions: tuple[Version, ...]
    #: What this depends on.
    inputs: Inputs = field(default_factory=Inputs)
    warnings: tuple[Problem, ...] = ()
    unsupported: tuple[Problem, ...] = ()
    #: Ids of the DAGs whose schedules are meant in core.default_timezone, for the file names no zone.
    assumed: tuple[str, ...] = ()
    #: {dag_id: {task_id: `file:line`}} of the tasks that name a pool or a Connection.
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Said:
    """What the child wrote: its answer, and what the file printed."""

    answer: bytes = b""
    output: bytes = b""
    in_time: bool = True
    returncode: int = 0


def load(path: Path, settings: Settings, *, root: Path | None = None, shown: str = "") -> Loaded:
    """Load the DAG file `path` of the folder `root`, by default its own; problems call it `shown`, by default as it was given.

    Raises DagLoadError with a `file:line: message` for each problem: NoDag when the only one is that there is no DAG, else mostly BadFile.
    """
    file = path.absolute()
    if not file.is_file():
        raise DagLoadError([f"{path}: there is no such file"])
    file = Path(os.path.realpath(file.parent)) / file.name
    folder = Path(os.path.realpath(root)) if root else file.parent
    if not file.is_relative_to(folder):
        raise DagLoadError([f"{path}: the file is not below {root}"])
    paths = Paths(file, folder, shown or str(path))
    said = _run_child(paths, settings)
    return _loaded(said, paths, settings)


def render_source(version: Version, run: RunInfo, settings: Settings, task_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return {task_id: {"values": rendered arguments} or {"error": why not}} of tasks that may use macros or filters of the DAG's own.

    The version's source is loaded in a child with the limits of a load. Raises DagLoadError when it does not load any more.
    """
    with TemporaryDirectory(prefix="rqflow-") as name:
        unpacked = Path(os.path.realpath(name), "version")
        unpacking.unpack(version, unpacked)
        folder = unpacked / unpacking.SOURCES
        job = {
            "version": str(unpacked / unpacking.VERSION), "folder": str(folder), "run": run.to_json(), "tasks": list(task_ids),
            "unsafe": settings.core.unsafe_templates,
        }  # fmt: skip
        paths = Paths(folder / version.file, folder, version.file)
        answer = _answer(_run_child(paths, settings, {"render": job}), paths, settings)
    if problems := _problems(answer):
        raise DagLoadError(problems)
    rendered: dict[str, dict[str, Any]] = answer["rendered"]
    return rendered


def find_dag_files(folder: Path) -> list[Path]:
    """Return the Python files below `folder` that speak of DAGs and of rqflow or airflow, as Airflow's safe mode does; raises DagLoadError."""
    try:
        found = [file.path for file in walk(folder).files if may_hold_a_dag(file.path)]
    except OSError as error:
        raise DagLoadError([f"{folder}: cannot be read: {error.strerror}"]) from error
    if not found:
        raise DagLoadError([f"{folder}: there is no DAG file in this folder"])
    return found


def may_hold_a_dag(file: Path) -> bool:
    """Tell whether a file speaks of DAGs and of rqflow or airflow; raises OSError when it cannot be read."""
    text = file.read_bytes().lower()
    return b"dag" in text and (b"airflow" in text or b"rqflow" in text)


def _run_child(paths: Paths, settings: Settings, more: Mapping[str, Any] | None = None) -> _Said:
    """Run load_child for the file and collect what it says, within its time; its whole process group is dead afterwards.

    `more` is what it has to do other than loading the file.
    """
    timeout = settings.core.load_timeout.total_seconds()
    reader, writer = os.pipe()
    asked, asks = socket.socketpair()
    job = {
        "file": str(paths.file), "root": str(paths.root), "shown": paths.shown, "answer": writer, "asks": asks.fileno(), "timeout": timeout,
        "memory": int(settings.core.load_memory), "default_queue": settings.core.default_queue,
        "default_timezone": settings.core.default_timezone, **(more or {}),
    }  # fmt: skip
    # -B: nothing is written beside the files of the person.
    command = [sys.executable, "-B", "-P", "-c", _START, json.dumps(job), str(Path(__file__).parents[2])]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(writer, asks.fileno()), start_new_session=True
    )
    os.close(writer)
    asks.close()
    said = _Said()
    try:
        assert child.stdout is not None
        _listen(said, {reader: "answer", child.stdout.fileno(): "output", asked.fileno(): "asks"}, clock.monotonic() + timeout + _PATIENCE)
    finally:
        # The child has not been waited for, so its pid, and so its group's, cannot be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        os.close(reader)
        asked.close()
        if child.stdout is not None:
            child.stdout.close()
        said.returncode = child.wait()
    return said


def _reply(stream: int, question: bytes) -> None:
    """Tell the child what it asks for: [kind, name] of one Variable or Connection, over a socket, so that no secret is seen by others."""
    if not question:
        return
    kind, name = json.loads(question)
    reply: dict[str, Any] = {}
    try:
        reply["found"] = (outside.variables() if kind == "VAR" else outside.connections())[name]
    except KeyError:
        pass
    except RqflowError as error:
        reply["error"] = str(error)
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(stream)) as socket_:
        socket_.settimeout(_PATIENCE)
        socket_.sendall(json.dumps(reply).encode() + b"\n")


def _listen(said: _Said, streams: Mapping[int, str], deadline: float) -> None:
    """Read both streams until the answer is complete, its pipe is closed, or `deadline` is over; long output is thrown away."""
    with selectors.DefaultSelector() as selector:
        for stream, name in streams.items():
            selector.register(stream, selectors.EVENT_READ, name)
        while True:
            ready = selector.select(max(deadline - clock.monotonic(), 0))
            if not ready:
                said.in_time = False
                return
            # Output first: once the answer is there, all that was printed before it must have been read.
            for key, _ in sorted(ready, key=lambda pair: str(pair[0].data), reverse=True):
                data = os.read(key.fd, _CHUNK)
                if key.data == "asks":
                    _reply(key.fd, data)
                elif key.data == "output":
                    said.output += data[: max(_MAX_OUTPUT - len(said.output), 0)]
                else:
                    said.answer += data
                    if not data or (said.answer.startswith(b"{") and data.endswith(b"\n")):
                        return
                if not data:
                    selector.unregister(key.fd)


def _answer(said: _Said, paths: Paths, settings: Settings) -> Mapping[str, Any]:
    """Return what the child answered; raises DagLoadError with the problem that its end tells."""
    try:
        answer: dict[str, Any] = json.loads(said.answer)
    except ValueError:
        raise DagLoadError([str(_end(said, paths, settings))]) from None
    return answer


def _problems(answer: Mapping[str, Any]) -> list[str]:
    return [str(Problem(*problem)) for problem in answer.get("problems", ())]


def _loaded(said: _Said, paths: Paths, settings: Settings) -> Loaded:
    answer = _answer(said, paths, settings)
    found = {name: tuple(Problem(*item) for item in answer[name]) for name in ("warnings", "unsupported")}
    versions = tuple(_version(item, answer["sources"]) for item in answer["versions"])
    needed = Inputs.from_plain(answer["inputs"])
    loaded = Loaded(versions=versions, inputs=needed, warnings=(*found["warnings"], *_printed(said, paths)), unsupported=found["unsupported"],
                    assumed=tuple(answer["assumed"]), places=answer["places"])
    if problems := _problems(answer):
        raise NoDag(problems, needed) if answer["no_dag"] else BadFile(problems, loaded)
    return loaded


def _version(item: Mapping[str, Any], sources: Mapping[str, Any]) -> Version:
    return replace(Version.from_json(item["version"]), sources={key: sources[key] for key in item["sources"]})


def _end(said: _Said, paths: Paths, settings: Settings) -> Problem:
    """Return why the child ended without an answer."""
    limit = f"{settings.core.load_timeout.total_seconds():g} s"
    frames = _HANGS.findall(said.answer.decode(errors="replace"))
    hangs = [Place(paths.show(file), int(line)) for file, line in frames if paths.is_authors(file)]
    file, line = hangs[0] if hangs else (paths.shown, 1)
    if not said.in_time or hangs or said.returncode == -signal.SIGXCPU:
        where = "; it was at this line" if hangs else ""
        return Problem(file, line, f"loading takes longer than {limit} (core.load_timeout){where}")
    if said.returncode < 0:
        how = f"was killed by {signal.Signals(-said.returncode).name}"
        return Problem(paths.shown, 1, f"Python {how} while it loaded the file (core.load_memory is {settings.core.load_memory // (1 << 20)} MB)")
    last = said.output.decode(errors="replace").strip().splitlines()[-1:]
    return Problem(paths.shown, 1, f"the file ended Python while it was loaded{': ' + last[0] if last else ''}")


def _printed(said: _Said, paths: Paths) -> list[Problem]:
    """Return a warning with the first lines that the file printed."""
    lines = [line for line in said.output.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return []
    shown = " | ".join(line.strip() for line in lines[:_SHOWN_LINES])
    more = f" … {len(lines) - _SHOWN_LINES} more lines" if len(lines) > _SHOWN_LINES else ""
    return [Problem(paths.shown, 1, f"the file prints while it loads: {shown}{more}")]
