"""Figures: what was measured, the budget that it has, how both are shown and kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
import rq
from rich.console import Console
from rich.table import Table

from rqflow import __version__

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
#: What a budget says to a figure.
MET, ABOVE, MISSED = "met", "above the floor", "NOT MET"
#: Columns of the output where it is no terminal.
WIDTH = 180
#: Headings of the table of figures, and how wide each is at least, so that one table is like the next.
COLUMNS = {"workload": 8, "system": 18, "what": 48, "median": 7, "unit": 7, "min to max": 16, "budget": 15, "": 15, "note": 30}


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a figure should be. Nothing fails when it is not."""

    goal: float
    #: Not reached: the work is not done. None: the goal is the floor.
    floor: float | None = None
    #: True: at least the goal; False: at most.
    is_least: bool = False

    def verdict(self, value: float) -> str:
        """Return MET, ABOVE (the floor, not the goal) or MISSED."""
        if self._reaches(value, self.goal):
            return MET
        return ABOVE if self.floor is not None and self._reaches(value, self.floor) else MISSED

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_least else value <= bound

    def __str__(self) -> str:
        sign = "≥" if self.is_least else "≤"
        return f"{sign} {self.goal:g}" + (f" ({sign} {self.floor:g})" if self.floor is not None else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured thing. `values` are those of the repetitions; `text` stands in their place where there is no number."""

    workload: str
    name: str
    unit: str = ""
    values: Sequence[float] = ()
    text: str = ""
    budget: Budget | None = None
    #: Which of several systems was measured: sqlite, mariadb, stock RQ …
    system: str = ""
    note: str = ""

    @property
    def median(self) -> float | None:
        """The median of the repetitions; None where there is no number."""
        return statistics.median(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """What the budget says to the median; empty where there is none of either."""
        return self.budget.verdict(self.median) if self.budget and self.median is not None else ""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return {
            "workload": self.workload, "system": self.system, "name": self.name, "unit": self.unit, "median": self.median,
            "values": list(self.values), "text": self.text, "budget": str(self.budget or ""), "verdict": self.verdict, "note": self.note}


def show_number(value: float) -> str:
    """Return `value` with three digits that matter, never in powers of ten."""
    size = abs(value)
    if value == int(value) and size < 1e6:
        return f"{value:.0f}"
    digits = next((n for bound, n in ((100, 0), (10, 1), (1, 2), (0.1, 3)) if size >= bound), 4)
    return f"{value:,.{digits}f}"


@dataclass(kw_only=True, slots=True)
class Report:
    """All figures of one call, printed as they come and written to one file."""

    options: Mapping[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    #: What is no figure, as JSON: profiles.
    more: dict[str, Any] = field(default_factory=dict)
    console: Console = field(default_factory=lambda: console())

    def say(self, text: str) -> None:
        """Print a line: what is being done now."""
        self.console.print(text, style="dim", highlight=False, markup=False)

    def add(self, figures: Iterable[Figure]) -> None:
        """Take the figures of a workload and print them."""
        found = list(figures)
        self.figures += found
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading, least in COLUMNS.items():
            table.add_column(heading, min_width=least, justify="right" if heading in {"median", "min to max"} else "left", overflow="fold")
        for one in found:
            median = one.text or ("" if one.median is None else show_number(one.median))
            spread = f"{show_number(min(one.values))} to {show_number(max(one.values))}" if len(one.values) > 1 else ""
            colour = {MET: "green", ABOVE: "yellow", MISSED: "red"}.get(one.verdict, "")
            verdict = f"[{colour}]{one.verdict}[/]" if colour else ""
            table.add_row(one.workload, one.system, one.name, median, one.unit, spread, str(one.budget or ""), verdict, one.note)
        self.console.print(table)
        self.console.print()

    def sum_up(self) -> None:
        """Print how many budgets are met, and name those that are not."""
        verdicts = [one.verdict for one in self.figures if one.verdict]
        met, above, missed = (verdicts.count(one) for one in (MET, ABOVE, MISSED))
        self.console.print(f"{len(verdicts)} budgets: {met} met, {above} above the floor, {missed} not met")
        for one in self.figures:
            if one.verdict == MISSED and one.median is not None:
                self.console.print(f"  not met: {one.workload} {one.system} {one.name}: {show_number(one.median)} {one.unit}, budget {one.budget}",
                                   highlight=False, markup=False)

    def write(self, path: Path | None = None) -> Path:
        """Write everything to `path`, by default a file in benchmarks/results named by date and commit; return where."""
        about = surroundings()
        path = path or RESULTS / f"{about['date'][:19].replace(':', '')}-{about['commit'][:9]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": about, "options": dict(self.options), "figures": [one.plain() for one in self.figures], **self.more}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def console() -> Console:
    """Return where things are printed: the terminal, or wide enough lines for a file."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def surroundings() -> dict[str, Any]:
    """Return what figures depend on: date, commit, machine, versions of the programs."""
    return {
        "date": datetime.now(UTC).isoformat(), "rqflow": __version__,
        "commit": _said("git", "rev-parse", "HEAD") or "unknown", "changed": bool(_said("git", "status", "--porcelain")),
        "cores": os.cpu_count(), "cpu": _cpu_model(), "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(), "file_system": _said("stat", "-f", "-c", "%T", tempfile.gettempdir()),
        "python": f"{platform.python_version()} below {sys.base_prefix}", "redis_py": redis.__version__, "rq": rq.__version__,
        "redis": _said("redis-server", "--version"), "bash": _said("bash", "--version").partition("\n")[0], "load": os.getloadavg()}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _said(*command: str) -> str:
    """Return what a command printed; empty when it is not there or failed."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
