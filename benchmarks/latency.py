"""W4: from a submit to the first thing that the task itself does, on a running system and from nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import shapes, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from tests.e2e.lab import COMMAND, Lab

#: Milliseconds on a running system, seconds from nothing (architecture section 13).
WARM, COLD = Budget(goal=50), Budget(goal=2.0)
#: How often the quick ones are repeated for each repetition of a benchmark.
OFTEN = 4
#: So that the shepherd ends soon after its worker was told to. How long Redis outlives its last user stays as people have it: a command that ends
#: before hub and worker are there must not take it with it.
ENDING = {"RQFLOW__WORKER__SHEPHERD_LINGER": "0.5s"}


def w4(options: Options, report: Report) -> None:
    """From submit to the first task: on a running system, and on the embedded default with nothing running."""
    for store in options.stores:
        report.add(warm_figures(options, report, store))
    if system.SQLITE in options.stores:
        report.add(cold_figures(options, report))


def warm_figures(options: Options, report: Report, store: str) -> Iterator[Figure]:
    """Give the figures of a running system."""
    with system.running(store) as ours:
        report.say(f"warm starts on {store}")
        called, commanded = warm(ours, options.reps * OFTEN), by_command(ours, options.reps)
    yield Figure(workload="W4", system=store, name="start of a run to its first task", unit="ms", budget=WARM, values=called)
    yield Figure(workload="W4", system=store, name="command `submit --run` to the first task", unit="ms", values=commanded,
                 note="Python starts, file is loaded")


def cold_figures(options: Options, report: Report) -> Iterator[Figure]:
    """Give the figures of the embedded default."""
    first, again = cold(options, report)
    yield Figure(workload="W4", system="embedded", name="first `submit --run` ever to the first task", unit="s", values=first, budget=COLD)
    yield Figure(workload="W4", system="embedded", name="another one, nothing running", unit="s", values=again, budget=COLD)


def warm(ours: system.System, reps: int) -> list[float]:
    """Return milliseconds from the call that starts a run, the DAG being registered, to the task's first act."""
    folder = ours.lab.folder
    version = ours.register(shapes.single(_stamp(folder)))
    found = []
    for number in range(reps + 1):
        began = time.time()
        run = ours.begin(version, f"warm{number}")
        found.append((_stamped(folder, run.run_id) - began) * 1e3)
        ours.finish(run, 1)
    return found[1:]  # the first loads what is loaded once


def by_command(ours: system.System, reps: int) -> list[float]:
    """Return milliseconds from the start of `rqflow submit --run` to the task's first act."""
    return [_submit(ours.lab, f"command{number}") * 1e3 for number in range(reps)]


def cold(options: Options, report: Report) -> tuple[list[float], list[float]]:
    """Return seconds from `rqflow submit --run` to the task's first act: in a new home, and again there after all processes had ended.

    The second is left out where the programs are only tried out.
    """
    first, again = [], []
    for number in range(options.reps):
        report.say(f"cold start, {number + 1} of {options.reps}")
        with system.folder() as place, system.new_lab(place, environ=ENDING) as lab:
            first.append(_submit(lab, "first"))
            lab.close()
            if not options.is_trial:
                again.append(_submit(lab, "again"))
    return first, again


def _stamp(folder: Path) -> str:
    """Return a command that writes when it runs."""
    return f"echo $EPOCHREALTIME > {folder}/{{{{ run_id }}}}.part && mv {folder}/{{{{ run_id }}}}.part {folder}/{{{{ run_id }}}}"


def _submit(lab: Lab, run_id: str) -> float:
    """Submit a DAG of one task by the command; return the seconds from its start to the task's first act."""
    file = lab.dag(shapes.single(_stamp(lab.folder)).source)
    began = time.time()
    subprocess.run([*COMMAND, "submit", str(file), "--run", "--no-follow", "--run-id", run_id], env=lab.environ, cwd=lab.folder, check=True,
                   stdin=subprocess.DEVNULL, capture_output=True)
    return _stamped(lab.folder, run_id) - began


def _stamped(folder: Path, run_id: str) -> float:
    """Wait for the stamp of a run; return it."""
    path = folder / run_id
    system.patiently(path.exists, what="the task", every=0.002)
    return float(path.read_text(encoding="ascii"))
