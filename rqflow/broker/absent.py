"""The live state while Redis is away: nothing is known of it, and nothing of it can be changed. What reads the history goes on with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from rqflow.broker.broker import Broker
from rqflow.broker.status import PoolStatus, RunStatus, TaskStatus, WorkerStatus
from rqflow.broker.unserved import Unserved
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError


class Absent(Broker):
    """Answers readers of runs as a Redis would that has none of them; whatever else is asked of it raises the BrokerError that it was made of."""

    def __init__(self, error: BrokerError) -> None:
        """Keep `error`, which says why Redis is away, and since when."""
        self.error = error
        self._learned: dict[str, Version] = {}

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what would take a connection."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.error

    def run_exists(self, run_key: str) -> bool:  # noqa: ARG002 - what is asked for does not matter
        """Return False."""
        return False

    def live_runs(self) -> list[str]:
        """Return no runs."""
        return []

    def all_runs(self) -> list[str]:
        """Return no runs."""
        return []

    def unrecorded(self, run: RunStatus) -> list[dict[str, Any]]:  # noqa: ARG002 - what is asked for does not matter
        """Return no events."""
        return []

    def run_info(self, run_key: str) -> RunInfo | None:  # noqa: ARG002 - what is asked for does not matter
        """Return None."""
        return None

    def run_status(self, run_key: str) -> RunStatus | None:  # noqa: ARG002 - what is asked for does not matter
        """Return None."""
        return None

    def run_statuses(self, run_keys: Iterable[str]) -> dict[str, RunStatus]:  # noqa: ARG002 - what is asked for does not matter
        """Return no runs."""
        return {}

    def task_statuses(self, run_key: str, indices: Iterable[int] | None = None) -> list[TaskStatus]:  # noqa: ARG002 - what is asked for does not matter
        """Return no task instances."""
        return []

    def version(self, sha: str) -> Version | None:
        """Return the version if it was learned."""
        return self._learned.get(sha)

    def workers(self) -> list[WorkerStatus]:
        """Return no workers."""
        return []

    def unserved(self) -> list[Unserved]:
        """Return no queues."""
        return []

    def pools(self) -> dict[str, PoolStatus]:
        """Return no pools."""
        return {}
