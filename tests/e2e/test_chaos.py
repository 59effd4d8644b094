"""Twelve faults of every kind over a load of random DAGs, by the program of scripts/soak, with a fixed seed: the short soak of each change."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak, soak_audit, soak_plan
from benchmarks.soak_plan import DATABASE, FAULTS
from benchmarks.system import MARIADB, SQLITE
from tests.services import needs

SEED, EACH = 3, 3


# PyMySQL leaves a socket open that could not connect, and the load starts runs while the database is down.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(240)  # on a machine that others load
@pytest.mark.parametrize("first", range(0, len(FAULTS), EACH))
def test_nothing_is_lost_or_doubled_by_faults_of_every_kind(tmp_path: Path, first: int) -> None:
    plan = soak_plan.make(SEED, faults=len(FAULTS), seconds=1.2 * len(FAULTS), dags=6)
    assert sorted(fault.kind for fault in plan.faults) == sorted(FAULTS)
    part = soak_plan.part(plan, first, first + EACH)
    store = MARIADB if DATABASE in {fault.kind for fault in part.faults} else SQLITE
    if store == MARIADB:
        needs("mariadbd", "mariadb-install-db")
    outcome = soak.soak(part, tmp_path, store)
    assert not outcome.wrong, "\n".join([*outcome.wrong, *outcome.lines])
    assert outcome.runs
    assert outcome.tries


def test_a_seed_decides_everything() -> None:
    plans = [soak_plan.make(seed, faults=30, seconds=60) for seed in (7, 7, 8)]
    assert plans[0] == plans[1] != plans[2]


def test_audit_sees_a_doubled_try_and_one_that_sql_does_not_have(tmp_path: Path) -> None:
    journal = ('{"what": "begin", "dag": "d", "run": "r", "task": "t", "try": 1, "pid": PID, "at": 0}'.replace("PID", str(pid)) for pid in (1, 2))
    (tmp_path / "journal").write_text("\n".join(journal) + "\n")
    (tmp_path / "doubled").write_text("d r t\n")
    auditor = soak_audit.Auditor(None, tmp_path, soak_audit.read(tmp_path), {})
    assert auditor.run([]).wrong == [
        "two at once: d r t", "d r t try 1 began, and SQL has no such try", "d r t try 1 began 2 times, in the processes [1, 2]"]
