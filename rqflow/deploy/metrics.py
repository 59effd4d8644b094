"""All metrics, for Prometheus: their table, and what collects them from Redis, the history and the disks at the moment of the question."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from rqflow.broker import protocol
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED
from rqflow.deploy import health, standing
from rqflow.deploy.asking import Asking, NoAnswer
from rqflow.deploy.health import DB, REDIS
from rqflow.deploy.standing import LiveFigures
from rqflow.deploy.tally import WAITS, Spread, Tally, Waits
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings
from rqflow.states import RunState
from rqflow.store import figures
from rqflow.store.engine import reading
from rqflow.store.figures import Standing

#: Seconds after which Redis, or the database, counts as away for this question; Prometheus itself asks for ten.
PATIENCE = 4.0


@dataclass(frozen=True, slots=True)
class About:
    """One metric: what it is, in words, and its labels."""

    kind: Any
    text: str
    labels: tuple[str, ...] = ()


GAUGE, COUNTER, SUMMARY, HISTOGRAM = GaugeMetricFamily, CounterMetricFamily, SummaryMetricFamily, HistogramMetricFamily
METRICS: dict[str, About] = {
    "rqflow_build_info": About(GAUGE, "The release of rqflow and of Python that answer; always 1.", ("version", "python")),
    "rqflow_up": About(GAUGE, "1: this part lives; 0: it does not, or cannot be asked.", ("component",)),
    "rqflow_dags": About(GAUGE, "DAGs: active, paused, or inactive because their file is gone.", ("state",)),
    "rqflow_dag_import_errors": About(GAUGE, "Files of the folder of DAGs that cannot be loaded."),
    "rqflow_runs": About(GAUGE, "Runs that have not ended.", ("dag", "state")),
    "rqflow_runs_total": About(COUNTER, "Runs that ended.", ("dag", "state", "trigger")),
    "rqflow_run_duration_seconds": About(SUMMARY, "How long runs took that ended.", ("dag", "state")),
    "rqflow_run_schedule_delay_seconds": About(SUMMARY, "How long after they were due scheduled runs began.", ("dag",)),
    "rqflow_backfills": About(GAUGE, "Backfills that have not ended.", ("state",)),
    "rqflow_tasks": About(GAUGE, "Tasks that wait for a worker, or run.", ("state", "queue")),
    "rqflow_tasks_total": About(COUNTER, "Tasks that ended.", ("dag", "task", "state")),
    "rqflow_task_duration_seconds": About(SUMMARY, "How long tries of tasks took.", ("dag", "task")),
    "rqflow_task_queue_wait_seconds": About(HISTOGRAM, "How long tasks waited for a worker.", ("queue",)),
    "rqflow_task_retries_total": About(COUNTER, "Tries that failed and had another one after them.", ("dag",)),
    "rqflow_tasks_lost_total": About(COUNTER, "Tasks that were lost with their machine."),
    "rqflow_tasks_unreachable": About(GAUGE, "Tasks on machines that are not heard of; they count as running."),
    "rqflow_task_max_rss_bytes": About(GAUGE, "Most memory of a process of the last try that ended.", ("dag", "task")),
    "rqflow_pool_slots": About(GAUGE, "Slots of pools (total, used), and tasks that wait for one (parked).", ("pool", "state")),
    "rqflow_queue_jobs": About(GAUGE, "Jobs of a queue in RQ's words: queued, started, failed (of runs that Redis has).", ("queue", "status")),
    "rqflow_queue_oldest_job_age_seconds": About(GAUGE, "How long the oldest queued task of a queue has waited.", ("queue",)),
    "rqflow_queue_paused": About(GAUGE, "1: a person paused this queue.", ("queue",)),
    "rqflow_queue_unserved_seconds": About(GAUGE, "For how long tasks have waited on a queue that no live worker serves.", ("queue",)),
    "rqflow_workers": About(GAUGE, "Live workers of a queue.", ("queue", "state")),
    "rqflow_worker_slots": About(GAUGE, "Tasks that a worker runs at the same time.", ("worker",)),
    "rqflow_worker_tasks": About(GAUGE, "Tasks that a worker holds.", ("worker",)),
    "rqflow_worker_last_heartbeat_timestamp_seconds": About(GAUGE, "When a worker was heard of last.", ("worker",)),
    "rqflow_schedulers": About(GAUGE, "Live schedulers."),
    "rqflow_scheduler_last_heartbeat_timestamp_seconds": About(GAUGE, "When the leading scheduler last looked after things; stays when it is gone."),
    "rqflow_events_unrecorded": About(GAUGE, "Events in Redis that no recorder has written to the history."),
    "rqflow_log_archive_held": About(GAUGE, "1: the archive takes no logs, for want of room or of a disk that works."),
    "rqflow_log_bytes_total": About(COUNTER, "Bytes of the logs of tries that ended."),
    "rqflow_notifications_total": About(COUNTER, "Messages to people, sent or failed for good.", ("channel", "result")),
    "rqflow_notifications_waiting": About(GAUGE, "Messages to people that wait to be sent."),
    "rqflow_tunnel_up": About(GAUGE, "1: Redis or the database answers through this SSH tunnel of the machine that answers; 0: not.", ("tunnel",)),
    "rqflow_disk_free_bytes": About(GAUGE, "Room on the disks of the machine that answers.", ("place",)),
    "rqflow_disk_size_bytes": About(GAUGE, "Size of these disks.", ("place",)),
}
#: Made by the web server of its own requests.
OF_REQUESTS = {"rqflow_http_request_duration_seconds": About(HISTOGRAM, "How long requests to the web server took.", ("method", "route", "code"))}
#: What a channel is called whose recipients begin so.
_CHANNELS = {"mailto": "mail", "webhook": "webhook", "chat": "chat"}


class Metrics(Collector):
    """Collects all metrics; one for the life of a process, since it counts from question to question. For any number of threads."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened before the first question."""
        quick = min(settings.redis.socket_timeout, timedelta(seconds=PATIENCE))
        self._settings = replace(settings, redis=replace(settings.redis, socket_timeout=quick))
        self._live = standing.Source(self._settings)
        self._history = health.Database(self._settings)
        self._tally = Tally(by_task=settings.metrics.task_label)
        self._asking_live, self._asking_history = Asking(REDIS, self._live.look), Asking(DB, self._ask_history)
        self._turn = threading.Lock()
        self._dag_ids: tuple[str, ...] = ()

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def whole_text(self) -> bytes:
        """Return all metrics as `text` does, with all changes counted: of a busy day a question counts some at a time."""
        text = self.text()
        while self._tally.is_behind:
            text = self.text()
        return text

    def describe(self) -> Iterable[Metric]:
        """Say nothing before the first question, so that to register this asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give all metrics; what cannot be asked is left out, and rqflow_up says so."""
        with self._turn:
            live, history = self._ask(self._asking_live), None
            history = self._ask(self._asking_history, live.recorded_upto if live else None)
            yield from self._standing(live, history)
            yield from self._counted()

    def close(self) -> None:
        """Close what was opened."""
        self._live.close()
        self._history.close()

    @staticmethod
    def _ask(question: Asking[Any], *given: Any) -> Any:
        try:
            return question.ask(PATIENCE, *given)
        except (NoAnswer, RqflowError, redis.exceptions.RedisError):
            return None

    def _ask_history(self, recorded_upto: datetime | None) -> Standing:
        engine = self._history.engine()
        with reading(engine) as connection:
            if recorded_upto is not None:
                self._tally.look(connection, recorded_upto)
            return figures.stand(connection)

    def _standing(self, live: LiveFigures | None, history: Standing | None) -> Iterator[Metric]:
        """Give what stands at this moment."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        yield _family("rqflow_build_info", {(protocol.release(), version): 1})
        parts = {"redis": live is not None, "db": history is not None, "scheduler": bool(live and live.has_leader),
                 "worker": bool(live and live.has_worker)}
        yield _family("rqflow_up", {(name,): int(lives) for name, lives in parts.items()})
        if live is not None:
            yield from (_family(name, values) for name, values in live.figures.items())
        if history is not None:
            self._dag_ids = history.dag_ids
            now = live.now if live is not None else None
            yield _family("rqflow_dags", {(state,): count for state, count in history.dags.items()})
            yield _family("rqflow_dag_import_errors", {(): history.broken_files})
            yield _family("rqflow_runs", history.runs)
            yield _family("rqflow_backfills", {(state,): count for state, count in history.backfills.items()})
            yield _family("rqflow_notifications_waiting", {(): history.messages})
            if now is not None:
                yield _family("rqflow_queue_oldest_job_age_seconds",
                              {(queue,): max((now - since).total_seconds(), 0.0) for queue, since in history.oldest.items()})
        yield _family("rqflow_tunnel_up", standing.tunnels(self._settings))
        yield from self._disks()

    def _counted(self) -> Iterator[Metric]:
        """Give what was counted, also while nobody can be asked: counters do not come and go."""
        tally = self._tally
        # From nothing to one is no increase to Prometheus: what alerts wait for begins with 0.
        none = {(dag_id, RunState.FAILED.value, trigger): 0 for dag_id in self._dag_ids for trigger in (MANUAL, SCHEDULED, BACKFILL)}
        unsent = {(channel, "failed"): 0 for channel in _CHANNELS.values()}
        sent = {(_CHANNELS.get(channel, channel), result): count for (channel, result), count in tally.messages.items()}
        yield _family("rqflow_runs_total", none | tally.runs)
        yield _family("rqflow_run_duration_seconds", tally.run_seconds)
        yield _family("rqflow_run_schedule_delay_seconds", {(dag_id,): spread for dag_id, spread in tally.schedule_delays.items()})
        yield _family("rqflow_tasks_total", tally.tasks)
        yield _family("rqflow_task_duration_seconds", tally.task_seconds)
        yield _family("rqflow_task_queue_wait_seconds", {(queue,): waits for queue, waits in tally.queue_waits.items()})
        yield _family("rqflow_task_retries_total", {(dag_id,): count for dag_id, count in tally.retries.items()})
        yield _family("rqflow_tasks_lost_total", {(): tally.lost})
        yield _family("rqflow_log_bytes_total", {(): tally.log_bytes})
        yield _family("rqflow_notifications_total", unsent | sent)
        if tally.by_task:
            yield _family("rqflow_task_max_rss_bytes", tally.max_rss)

    def _disks(self) -> Iterator[Metric]:
        free, size = {}, {}
        for place, folder in standing.folders(self._settings).items():
            try:
                usage = shutil.disk_usage(_existing(folder))
            except OSError:  # a disk that cannot be asked has no figure; the doctor says why
                continue
            free[(place,)], size[(place,)] = usage.free, usage.total
        yield _family("rqflow_disk_free_bytes", free)
        yield _family("rqflow_disk_size_bytes", size)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _family(name: str, values: Any) -> Metric:
    """Return a metric with its values, {labels: value}."""
    about = METRICS[name]
    family: Any = about.kind(name, about.text, labels=about.labels)
    for labels, value in dict(values).items():
        said = [str(label) for label in labels]
        if isinstance(value, Waits):
            bounds = [(str(bound), count) for bound, count in zip(WAITS, value.within, strict=True)]
            family.add_metric(said, [*bounds, ("+Inf", value.count)], sum_value=value.seconds)
        elif isinstance(value, Spread):
            family.add_metric(said, count_value=value.count, sum_value=value.seconds)
        else:
            family.add_metric(said, value)
    made: Metric = family
    return made


