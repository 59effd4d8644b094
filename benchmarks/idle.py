"""W5: what the processes take while there is nothing to do."""

from __future__ import annotations

import time

from benchmarks import processes, shapes, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report

#: MiB, and percent of one core (architecture section 13).
SCHEDULER, WORKER, CPU = Budget(goal=80), Budget(goal=60), Budget(goal=1.0)
#: Seconds after the last task before idleness is measured.
SETTLE = 3.0


def w5(options: Options, report: Report) -> None:
    """Memory and CPU of each idle process, after some runs."""
    for store in options.stores:
        with system.running(store) as ours:
            ours.measure(ours.register(shapes.fan(options.count(100))))
            time.sleep(min(SETTLE, options.idle_seconds))
            report.say(f"watching idle processes on {store} for {options.idle_seconds:g} s")
            before, began = processes.usages(ours.pids), time.monotonic()
            time.sleep(options.idle_seconds)
            watched = time.monotonic() - began
            after = processes.usages(ours.pids)
            memory = {name: processes.pss(pid) for name, pid in ours.pids.items()}
            spent = {name: (after[name] - before[name]) for name in ours.pids}
        budgets = {"scheduler": SCHEDULER}
        found = [Figure(workload="W5", system=store, name=f"memory of {name}", unit="MiB Pss", values=[mib], budget=budgets.get(name))
                 for name, mib in memory.items()]
        together = memory["worker"] + memory["shepherd"]
        found.append(Figure(workload="W5", system=store, name="memory of worker + shepherd", unit="MiB Pss", values=[together], budget=WORKER))
        found += [Figure(workload="W5", system=store, name=f"CPU of {name}", unit="% of a core", values=[one.own / watched * 100], budget=CPU,
                         note=f"wakes up {one.sleeps / watched:.1f} times a second") for name, one in spent.items()]
        report.add(found)
