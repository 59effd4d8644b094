"""What the machine itself can do with the same commands: a plain loop of bash, or xargs with four at a time."""

from __future__ import annotations

import resource
import subprocess
import time
from dataclasses import dataclass

from benchmarks.shapes import Shape

#: Tasks at a time, here and in every system that is measured.
SLOTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What the commands took: seconds on the wall, and CPU seconds with those of who started them."""

    seconds: float
    cpu: float


def measure(shape: Shape) -> Limit:
    """Run the commands of `shape` with nothing but their order looked after."""
    began, cpu = time.monotonic(), _children()
    if shape.is_chain:
        subprocess.run(["bash", "-c", f"for ((n = 0; n < {shape.tasks}; n++)); do bash -c true; done"], check=True)
    else:
        for width in shape.layers:
            subprocess.run(["xargs", f"-P{SLOTS}", "-n1", "bash", "-c", "true"], input=b"x\n" * width, check=True)
    return Limit(seconds=time.monotonic() - began, cpu=_children() - cpu)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
