"""The command: which workloads, how often, on what; `scripts/bench --help` tells."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import big, day, idle, latency, profile, schedules, shepherding, system, throughput
from benchmarks.options import Options
from benchmarks.report import Report
from rqflow import runtime

WORKLOADS: dict[str, Callable[[Options, Report], None]] = {
    "w1": throughput.w1, "w2": throughput.w2, "w3": throughput.w3, "w4": latency.w4,
    "w5": idle.w5, "w6": big.w6, "w7": throughput.w7, "w8": shepherding.w8, "w9": schedules.w9,
    "day": day.day,
}
STORES = [system.SQLITE, system.MARIADB]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the file."""
    # As all our commands do, for one of which this program stands in when it asks what the page asks.
    runtime.collect_rarely()
    asked = parser().parse_args(arguments)
    report = Report(options=vars(asked) | {"output": str(asked.output or "")})
    wanted = STORES if asked.store == "both" else [asked.store]
    found = system.stores(wanted)
    for store in set(wanted) - set(found):
        report.say(f"{store} is not installed: its figures are left out")
    options = Options(reps=asked.reps, stores=found, tasks=asked.tasks, with_stock=asked.stock, stock_limit=asked.stock_limit,
                      idle_seconds=asked.idle_seconds, retention=asked.retention, runs=asked.runs)
    if asked.profile:
        profile.run(options, report, asked.only)
    for name in [] if asked.profile else asked.only:
        report.say(f"{name.upper()}: {WORKLOADS[name].__doc__}")
        WORKLOADS[name](options, report)
    if report.figures:
        report.sum_up()
    report.say(f"written to {report.write(asked.output)}")


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(prog="scripts/bench", description="Measure rqflow beside the limit of this machine; see benchmarks/README.md.")
    made.add_argument("--only", type=_names, default=[name for name in WORKLOADS if name != "day"], metavar="w1,w2",
                      help=f"of {', '.join(WORKLOADS)}; all but the day when not given")
    made.add_argument("--reps", type=int, default=5, metavar="N", help="repetitions, of which the median counts (5)")
    made.add_argument("--store", choices=[*STORES, "both"], default="both", help="database of the history (both)")
    made.add_argument("--tasks", type=int, metavar="N", help="tasks in place of the written number, to try the programs out")
    made.add_argument("--stock", action=argparse.BooleanOptionalAction, default=True, help="measure stock RQ too")
    made.add_argument("--stock-limit", type=float, default=60.0, metavar="S", help="seconds after which stock RQ is given up (60)")
    made.add_argument("--idle-seconds", type=float, default=20.0, metavar="S", help="seconds for which idle processes are watched (20)")
    made.add_argument("--retention", type=float, default=10.0, metavar="S", help="seconds for which Redis keeps the finished runs of W6 (10)")
    made.add_argument("--runs", type=int, metavar="N", help="runs of the day in place of 2,000, to try it out")
    made.add_argument("--profile", action="store_true", help="in place of measuring: where the time of one task goes, in w1 and w2")
    made.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes; benchmarks/results/DATE-COMMIT.json when not given")
    return made


def _names(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in WORKLOADS:
            raise argparse.ArgumentTypeError(f"there is no workload {name}; there are {', '.join(WORKLOADS)}")
    return names


if __name__ == "__main__":
    main()
