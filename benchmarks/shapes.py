"""The DAGs that are measured, as DAG files that a person would write; each task runs `true`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = """
from datetime import datetime
from rqflow import DAG, BashOperator

def task(name, command="true"):
    return BashOperator(task_id=name, bash_command=command)

with DAG({dag_id!r}, start_date=datetime(2026, 1, 1), schedule=None):
"""
_CHAIN = """
    last = task("t0")
    for n in range(1, {tasks}):
        one = task(f"t{{n}}")
        last >> one
        last = one
"""
_FAN = """
    first, last = task("first", {first!r}), task("last")
    for n in range({width}):
        first >> task(f"m{{n}}", {each!r}) >> last
"""
_LAYERS = """
    before = []
    for layer in range({layers}):
        now = [task(f"l{{layer}}_{{n}}") for n in range({width})]
        for n, one in enumerate(now):
            for step in {steps}:
                if before:
                    before[(n + step) % {width}] >> one
        before = now
"""
LAYERS, STEPS = 10, (0, 7, 13)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A DAG file, and what it is for the machine: so many commands in each layer, one layer after the other."""

    dag_id: str
    title: str
    source: str
    layers: Sequence[int]
    #: True: the limit is a plain loop; False: xargs with a barrier after each layer.
    is_chain: bool = False

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return sum(self.layers)


def chain(tasks: int) -> Shape:
    """Return a chain of so many tasks."""
    source = (_HEAD + _CHAIN).format(dag_id="bench_chain", tasks=tasks)
    return Shape(dag_id="bench_chain", title=f"chain of {tasks}", source=source, layers=[1] * tasks, is_chain=True)


def fan(width: int, *, first: str = "true", each: str = "true", dag_id: str = "bench_fan") -> Shape:
    """Return a fan: one task that runs `first`, `width` after it that run `each`, one after all of these."""
    source = (_HEAD + _FAN).format(dag_id=dag_id, width=width, first=first, each=each)
    return Shape(dag_id=dag_id, title=f"fan 1-{width}-1", source=source, layers=[1, width, 1])


def layers(width: int) -> Shape:
    """Return ten layers of `width` tasks, each with up to three upstream tasks in the layer before."""
    steps = tuple(dict.fromkeys(step % width for step in STEPS))
    source = (_HEAD + _LAYERS).format(dag_id="bench_layers", width=width, layers=LAYERS, steps=steps)
    return Shape(dag_id="bench_layers", title=f"{LAYERS} layers of {width}", source=source, layers=[width] * LAYERS)


def single(command: str) -> Shape:
    """Return a DAG of one task that runs `command`."""
    source = (_HEAD + "    task('only', {command!r})\n").format(dag_id="bench_single", command=command)
    return Shape(dag_id="bench_single", title="one task", source=source, layers=[1])
