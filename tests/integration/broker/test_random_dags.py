"""Random DAGs, outcomes, claimers and accidents end in the states that the model predicts, and every cache agrees all the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.broker.random_runs import check


# In parts, each with DAGs of its own: none takes long where others work too.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", range(3))
def test_random_runs_end_as_the_model_says(part: int, db: redis.Redis, home: Path) -> None:
    check(db, home, part=part, examples=6, budgets=(400,))
