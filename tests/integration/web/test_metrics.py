"""What /metrics tells: from a real Redis and each kind of database, also while one of them is away, and over a cleaning of the history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from rqflow import clock
from rqflow.deploy import metrics
from rqflow.deploy.metrics import METRICS, Metrics
from rqflow.settings import Database, RedisSettings, Settings
from rqflow.settings import Metrics as MetricsSettings
from rqflow.states import TaskState
from rqflow.store.engine import Engine, transaction
from rqflow.store.tables import dag_run, event_log, task_try
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.profile import NOISE
from tests.services import redis_server
from tests.unit.builders import a_version

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def told(source: Metrics) -> Figures:
    """All samples, by name and labels."""
    text = source.text().decode()
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def of(figures: Figures, name: str, **labels: str) -> float | None:
    return figures.get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def hub(db: redis.Redis, engine: Engine, home: Path) -> Hub:
    """A hub with one run that has ended, with a failed task, and one that has not."""
    made = Hub(db, engine, home)
    made.start(a_version({"a": [], "b": ["a"]}, dag_id="done"))
    held, = playing.claim(made.broker)
    playing.tell(made.broker, playing.end(held, TaskState.FAILED))
    made.record()
    made.start(a_version(dag_id="open"))
    made.record()
    return made


@pytest.fixture
def settings(hub: Hub, redis_url: str, engine: Engine) -> Settings:
    url = engine.url.render_as_string(hide_password=False)
    return replace(hub.settings, redis=RedisSettings(url=redis_url), database=Database(url=url), metrics=MetricsSettings(task_label=True))


@pytest.fixture
def opened() -> Iterator[Callable[[Settings], Metrics]]:
    made: list[Metrics] = []

    def open_one(settings: Settings) -> Metrics:
        made.append(Metrics(settings))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def test_all_metrics_are_told_with_their_labels_and_what_they_say_is_so(settings: Settings, opened: Callable[[Settings], Metrics]) -> None:
    source = opened(settings)
    found = told(source)
    for name, labels in found:
        base = next(known for known in (name, *(name.removesuffix(end) for end in ("_sum", "_count", "_bucket"))) if known in METRICS)
        assert {label for label, _ in labels} - {"le"} == set(METRICS[base].labels)
    kinds = {family.name for family in text_string_to_metric_families(source.text().decode())}
    assert {name.removesuffix("_total") for name in METRICS} == {kind.removesuffix("_total") for kind in kinds}
    assert [of(found, "rqflow_up", component=name) for name in ("redis", "db", "scheduler", "worker")] == [1, 1, 0, 0]
    assert of(found, "rqflow_dags", state="active") == 2
    assert of(found, "rqflow_runs", dag="open", state="running") == 1
    assert of(found, "rqflow_runs_total", dag="done", state="failed", trigger="manual") == 1
    assert of(found, "rqflow_runs_total", dag="open", state="failed", trigger="scheduled") == 0, "or its first failure would be no increase"
    assert of(found, "rqflow_tasks_total", dag="done", task="a", state="failed") == 1
    assert of(found, "rqflow_tasks_total", dag="done", task="b", state="upstream_failed") == 1
    assert of(found, "rqflow_task_duration_seconds_count", dag="done", task="a") == 1
    assert of(found, "rqflow_task_queue_wait_seconds_count", queue="default") == 1
    assert of(found, "rqflow_tasks", queue="default", state="queued") == 1
    oldest = of(found, "rqflow_queue_oldest_job_age_seconds", queue="default")
    assert oldest is not None
    assert oldest >= 0


@pytest.mark.parametrize("database", ["sqlite"])
def test_counts_grow_by_what_happened_since_and_do_not_fall_when_history_goes(
    hub: Hub, settings: Settings, engine: Engine, opened: Callable[[Settings], Metrics],
) -> None:
    source = opened(settings)
    assert of(told(source), "rqflow_runs_total", dag="done", state="failed", trigger="manual") == 1
    with transaction(engine) as connection:
        for table in (event_log, task_try):
            connection.execute(table.delete())
        connection.execute(dag_run.delete().where(dag_run.c.dag_id == "done"))
    assert of(told(source), "rqflow_runs_total", dag="done", state="failed", trigger="manual") == 1
    playing.play(hub.broker)
    hub.record()
    found = told(source)
    assert of(found, "rqflow_runs_total", dag="open", state="success", trigger="manual") == 1
    assert of(told(source), "rqflow_runs_total", dag="open", state="success", trigger="manual") == 1, "once"
    assert of(found, "rqflow_runs", dag="open", state="running") is None


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_long_backlog_is_taken_in_some_at_a_time(settings: Settings, opened: Callable[[Settings], Metrics], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rqflow.deploy.tally.MOST", 2)
    source = opened(settings)
    counts = [of(told(source), "rqflow_runs_total", dag="done", state="failed", trigger="manual") or 0 for _ in range(8)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 1)
    assert 'rqflow_runs_total{dag="done",state="failed",trigger="manual"} 1.0' in opened(settings).whole_text().decode()


@pytest.mark.parametrize("database", ["sqlite"])
def test_what_is_away_is_said_and_the_rest_is_told(settings: Settings, opened: Callable[[Settings], Metrics], tmp_path: Path) -> None:
    no_redis = told(opened(replace(settings, redis=RedisSettings(url=f"unix://{tmp_path}/none.sock"))))
    assert [of(no_redis, "rqflow_up", component=name) for name in ("redis", "db", "scheduler", "worker")] == [0, 1, 0, 0]
    assert of(no_redis, "rqflow_dags", state="active") == 2
    no_database = told(opened(replace(settings, database=Database(url=f"sqlite:///{tmp_path}/none.db"))))
    assert [of(no_database, "rqflow_up", component=name) for name in ("redis", "db")] == [1, 0]
    assert of(no_database, "rqflow_tasks", queue="default", state="queued") == 1
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_redis_that_hangs_holds_up_no_question_for_long(settings: Settings, opened: Callable[[Settings], Metrics], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.3)
    with redis_server(tmp_path) as url:
        source = opened(replace(settings, redis=RedisSettings(url=url)))
        assert of(told(source), "rqflow_up", component="redis") == 1
        with redis.Redis.from_url(url) as connection:
            server = psutil.Process(int(connection.info("server")["process_id"]))
        server.suspend()
        try:
            began = clock.monotonic()
            found = told(source)
            assert clock.monotonic() - began < 2 * NOISE
            assert (of(found, "rqflow_up", component="redis"), of(found, "rqflow_up", component="db")) == (0, 1)
        finally:
            server.resume()
