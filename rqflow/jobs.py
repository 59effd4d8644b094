"""The one function that RQ's jobs name. rqflow's own workers never call it; a stock `rq worker` does, in its forked horse."""

from __future__ import annotations


def run_task(run_key: str, task_id: str) -> None:
    """Run one try of a task under a stock RQ worker; does not return when the try was claimed or refused."""
    from rqflow.worker import stock  # RQ imports this module to look at jobs, too; only running one needs the rest

    stock.run(run_key, task_id)
