"""What the machine itself can do with the same commands: a plain loop of bash, or xargs with four at a time."""

from __future__ import annotations

import subprocess
import time

from benchmarks.shapes import Shape

#: Tasks at a time, here and in every system that is measured.
SLOTS = 4


def seconds(shape: Shape) -> float:
    """Return how long the commands of `shape` take when nothing but their order is looked after."""
    began = time.monotonic()
    if shape.is_chain:
        subprocess.run(["bash", "-c", f"for ((n = 0; n < {shape.tasks}; n++)); do bash -c true; done"], check=True)
    else:
        for width in shape.layers:
            subprocess.run(["xargs", f"-P{SLOTS}", "-n1", "bash", "-c", "true"], input=b"x\n" * width, check=True)
    return time.monotonic() - began
