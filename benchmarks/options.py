"""What the person at the command line asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to measure."""

    reps: int = 5
    stores: Sequence[str] = ("sqlite", "mariadb")
    #: In place of the written number of tasks (width of a fan or a layer, length of a chain); None: as written.
    tasks: int | None = None
    #: Measure stock RQ, and after how many seconds it is given up.
    with_stock: bool = True
    stock_limit: float = 60.0
    #: For how long idle processes are watched.
    idle_seconds: float = 20.0
    #: How long Redis keeps the finished runs of W6.
    retention: float = 10.0

    #: Runs of a day in place of the written number; None: as written.
    runs: int | None = None

    @property
    def is_trial(self) -> bool:
        """Whether the programs are only tried out."""
        return self.tasks is not None or self.runs is not None

    def count(self, written: int) -> int:
        """Return how many tasks to use where `written` is the number of the definition."""
        return self.tasks or written
