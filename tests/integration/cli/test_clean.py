"""rqflow db clean, from the command line to rows and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from rqflow.deploy.services import open_services
from rqflow.settings import load
from tests.integration.cli.conftest import Rqflow
from tests.integration.store.test_clean import a_finished_run


@pytest.fixture
def history(db: redis.Redis, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of four runs long ago, each with a log; the archive's folder."""
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    with open_services(load(home=home)) as opened:
        keys = [a_finished_run(opened.engine, day, tasks=1) for day in range(4)]
        folder = Path(opened.settings.logs.folder)
        for day, key in enumerate(keys):
            path = folder / "d" / "t00000" / f"2026-0{3 + (day > 2)}-{(29, 30, 31, 1)[day]:02}T12-00-00_{key[:8]}" / "1.log"
            path.parent.mkdir(parents=True)
            path.write_text("done\n")
    return folder


def rows(out: str) -> dict[str, int]:
    return {row["table"]: row["rows"] for row in json.loads(out)}


GONE = {"dag_run": 2, "event_log": 6, "task_instance": 2, "task_try": 2, "xcom": 2}


def test_a_dry_run_tells_what_the_real_one_removes(rqflow: Rqflow, history: Path) -> None:
    words = ("db", "clean", "--older-than", "7d", "--keep-last", 2, "--logs", "-o", "json")
    told = rqflow(*words, "--dry-run")
    assert (told.code, rows(told.out)) == (0, GONE | {"log files": 2})
    assert "Nothing was removed" in told.err
    assert len(list(history.rglob("*.log"))) == 4
    done = rqflow(*words, "--yes")
    assert (done.code, rows(done.out)) == (0, rows(told.out))
    assert [row["run_id"] for row in json.loads(rqflow("run", "list", "-o", "json").out)] == ["r3", "r2"]
    assert sorted(path.parts[-2][:10] for path in history.rglob("*.log")) == ["2026-03-31", "2026-04-01"]
    assert len(list((history / "d" / "t00000").iterdir())) == 2, "empty folders are gone"
    again = rqflow(*words, "--yes")
    assert (again.code, again.out) == (0, "[]\n")


def test_logs_stay_unless_they_are_named(rqflow: Rqflow, history: Path) -> None:
    assert rows(rqflow("db", "clean", "--keep-last", 1, "--older-than", "1d", "--yes", "-o", "json").out)["dag_run"] == 3
    assert len(list(history.rglob("*.log"))) == 4


@pytest.mark.parametrize(("words", "says"), [
    ((), "Add --yes if that is meant"), (("--tables", "dag_run,pool", "--yes"), "pool cannot be cleaned"),
    (("--older-than", "long", "--yes"), "no duration"), (("--keep-last", "0", "--yes"), "0 is not in the range"),
])
def test_what_is_not_clear_is_refused(rqflow: Rqflow, history: Path, words: tuple[str, ...], says: str) -> None:
    result = rqflow("db", "clean", *words)
    assert (result.code, says in result.err) == (2, True), result.err
    assert len(json.loads(rqflow("run", "list", "-o", "json").out)) == 4
