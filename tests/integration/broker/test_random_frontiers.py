"""The same as test_random_dags.py, with so few edges a call that most of a release is left to the next ones; in a file of its own, to run beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.broker.random_runs import check


# In parts, each with DAGs of its own: none takes long where others work too.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", range(3))
def test_random_runs_with_frontiers_in_small_chunks_end_as_the_model_says(part: int, db: redis.Redis, home: Path) -> None:
    check(db, home, part=part, examples=6, budgets=(1, 2, 3, 7))
