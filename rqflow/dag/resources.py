"""What a task may use of its machine, by rqflow's own arguments or by those that Airflow has for it.

Airflow 1.x kept `resources` (cpus, and ram in MB) by its CgroupTaskRunner; `executor_config` is what its Kubernetes executor takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rqflow.dag.problems import warn
from rqflow.dag.task import BaseOperator

_FACTORS: dict[str, Decimal | int] = {
    "": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}


def of(task: BaseOperator) -> dict[str, Any]:
    """Return memory (bytes), cpus, nice and nofile of a task; None where nothing says it. What cannot be read is warned of."""
    found = {name: task.argument(name) for name in ("memory", "cpus", "nice", "nofile")}
    memory, cpus = _of_airflow(task)
    found["memory"] = memory if found["memory"] is None else found["memory"]
    found["cpus"] = cpus if found["cpus"] is None else found["cpus"]
    return found


def _of_airflow(task: BaseOperator) -> tuple[int | None, float | None]:
    resources, config = task.__dict__.get("resources"), task.__dict__.get("executor_config")
    if isinstance(resources, Mapping):
        ram, cpus = _number(task, "resources", "ram", resources), _number(task, "resources", "cpus", resources)
        return (int(ram * (1 << 20)) if ram else None), float(cpus) if cpus else None
    pod = config.get("KubernetesExecutor") if isinstance(config, Mapping) else None
    if isinstance(pod, Mapping):
        memory, cpus = _number(task, "executor_config", "limit_memory", pod), _number(task, "executor_config", "limit_cpu", pod)
        return int(memory) if memory else None, float(cpus) if cpus else None
    return None, None


def _number(task: BaseOperator, argument: str, name: str, given: Mapping[str, Any]) -> Decimal | None:
    """Return a number of Airflow's, which may have one of the units of Kubernetes."""
    if given.get(name) is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", str(given[name]).strip())
    if not match or match[2] not in _FACTORS:
        warn(f"task {task.task_id}: {name} of {argument} is no number, so there is no such limit: {given[name]!r}", task.origin)
        return None
    return Decimal(match[1]) * _FACTORS[match[2]]
