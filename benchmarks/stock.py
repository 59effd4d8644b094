"""Stock RQ beside rqflow: the same graph by RQ's own `depends_on`, with four of its workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.registry import FinishedJobRegistry

from benchmarks.baseline import SLOTS
from benchmarks.report import ROOT
from benchmarks.system import folder
from tests.services import redis_server
from tests.waiting import until

#: Kinds of workers: RQ's own, which forks for each job, and the one that does not.
KINDS = {"stock RQ": "rq.worker.Worker", "stock SimpleWorker": "rq.worker.SimpleWorker"}
QUEUE = "bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How stock RQ did: `seconds` is None when the limit came first."""

    seconds: float | None
    finished: int
    tasks: int


class Stock:
    """Four workers of one kind on a Redis of their own. Make it with `running`."""

    def __init__(self, connection: redis.Redis, limit: float) -> None:
        """Take a connection to Redis, and after how many seconds a run is given up."""
        self._queue = Queue(QUEUE, connection=connection)
        self._limit = limit

    def measure(self, graph: Mapping[str, Sequence[str]]) -> Outcome:
        """Run {task: upstream tasks}, given in an order in which these come first, and time it from the roots' enqueueing to the last end.

        The roots are enqueued when all other jobs are there already, deferred.
        """
        finished = FinishedJobRegistry(queue=self._queue)
        roots: list[Job] = []
        jobs: dict[str, Job] = {}
        for task, upstream in graph.items():
            options = {"connection": self._queue.connection, "origin": QUEUE, "result_ttl": 3600}
            if upstream:
                jobs[task] = self._queue.enqueue_call("benchmarks.stock_job.run", depends_on=[jobs[up] for up in upstream], result_ttl=3600)
            else:
                jobs[task] = Job.create("benchmarks.stock_job.run", status=JobStatus.DEFERRED, **options)  # type: ignore[arg-type]
                jobs[task].save()
                roots.append(jobs[task])
        # Those of the runs before are there still.
        before, began = finished.get_job_count(cleanup=False), time.monotonic()
        for job in roots:
            job.set_status(JobStatus.QUEUED)
            self._queue.enqueue_job(job)
        while (done := finished.get_job_count(cleanup=False) - before) < len(graph):
            if time.monotonic() - began > self._limit:
                return Outcome(seconds=None, finished=done, tasks=len(graph))
            time.sleep(0.01)
        took = time.monotonic() - began
        assert all(job.get_status() is JobStatus.FINISHED for job in jobs.values()), "a wrong system is not a fast one"
        return Outcome(seconds=took, finished=len(graph), tasks=len(graph))


@contextmanager
def running(kind: str, limit: float) -> Iterator[Stock]:
    """Run four workers of `kind`, one of KINDS, on a Redis of their own, until the end of the block."""
    with folder() as place, redis_server(place, "--appendonly", "yes") as url, redis.Redis.from_url(url) as connection:
        command = [sys.executable, "-m", "rq.cli", "worker", "--quiet", "--url", url, "--worker-class", KINDS[kind], QUEUE]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (place / "workers.log").open("wb") as log:
            workers = [subprocess.Popen(command, cwd=place, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log) for _ in range(SLOTS)]
        try:
            until(lambda: Worker.count(connection=connection) == SLOTS, what="stock workers to register")
            yield Stock(connection, limit)
        finally:
            _end(workers)


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the workers by pid: the first TERM lets a job end, the second does not."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
