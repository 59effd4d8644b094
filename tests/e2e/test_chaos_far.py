"""Chaos over a hub and two workers on three machines with ssh between them, by the program of `scripts/soak --far`, with a fixed seed (reliability 3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak, soak_far, soak_plan
from benchmarks.soak_plan import FAR_FAULTS, FAR_QUEUES
from benchmarks.system import SQLITE
from tests.network import needs_network

#: Parts run beside each other: each has some of the faults, and a world of its own.
SEED, PARTS, SECONDS = 4, 2, 30.0


# The load starts runs while the hub is down.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(300)  # on a machine that others load
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_or_doubled_by_cuts_and_boots_of_three_machines(tmp_path: Path, part: int) -> None:
    """Reliability 1, 2, 3, 4, 5, 6, 7: black holes, resets, loss, pulled cables, killed sshd, tunnels and workers, hub and workers rebooted."""
    needs_network()
    plan = soak_plan.make(SEED, faults=len(FAR_FAULTS), seconds=SECONDS, kinds=list(FAR_FAULTS), dags=6, queues=FAR_QUEUES)
    assert sorted(fault.kind for fault in plan.faults) == sorted(FAR_FAULTS)
    half = (len(FAR_FAULTS) + PARTS - 1) // PARTS
    outcome = soak.soak(soak_plan.part(plan, part * half, (part + 1) * half), tmp_path, SQLITE, make_site=soak_far.site)
    print(f"seed {SEED}", *outcome.lines, sep="\n")  # noqa: T201 - for whoever looks why
    assert not outcome.wrong, "\n".join([f"seed {SEED}", *outcome.wrong, *outcome.lines])
    assert outcome.runs
    assert outcome.tries
