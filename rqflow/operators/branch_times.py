"""Branches by the time of the day or the day of the week."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, ClassVar

from rqflow import clock
from rqflow.dag.problems import report
from rqflow.operators.branch import BaseBranchOperator
from rqflow.operators.weekdays import read_weekdays
from rqflow.operators.zones import zone_of


class _BranchByTime(BaseBranchOperator):
    """Follow follow_task_ids_if_true when the moment fits, else follow_task_ids_if_false."""

    def __init__(
        self, *, follow_task_ids_if_true: Any, follow_task_ids_if_false: Any, use_task_logical_date: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.follow_task_ids_if_true, self.follow_task_ids_if_false = _ids(follow_task_ids_if_true), _ids(follow_task_ids_if_false)
        self.use_task_logical_date = bool(use_task_logical_date)

    def fits(self, moment: datetime) -> bool:
        """Tell whether a moment, by the clock of the DAG's time zone, is one of those meant."""
        raise NotImplementedError

    def choose_branch(self, context: Mapping[str, Any]) -> Any:
        """Return the ids for now, or for the logical date."""
        now = (context["logical_date"] if self.use_task_logical_date else clock.utcnow()).astimezone(zone_of(context))
        return self.follow_task_ids_if_true if self.fits(now) else self.follow_task_ids_if_false


class BranchDayOfWeekOperator(_BranchByTime):
    """Follow `follow_task_ids_if_true` on `week_day` (a name or several, by the time zone of the DAG), else `follow_task_ids_if_false`.

    With use_task_logical_date the day of the run's logical date counts in place of today.
    """

    kind: ClassVar[str] = "branch_day_of_week"
    field_names: ClassVar[tuple[str, ...]] = ("week_day", "follow_task_ids_if_true", "follow_task_ids_if_false", "use_task_logical_date")

    def __init__(self, *, week_day: Any, use_task_execution_day: bool = False, use_task_logical_date: bool = False, **kwargs: Any) -> None:
        """Make the task; use_task_execution_day is the older name of use_task_logical_date."""
        super().__init__(use_task_logical_date=use_task_logical_date or use_task_execution_day, **kwargs)
        self.week_day = read_weekdays(self, week_day)

    def fits(self, moment: datetime) -> bool:
        """Tell whether it is such a day."""
        return moment.isoweekday() in self.week_day


class BranchDateTimeOperator(_BranchByTime):
    """Follow `follow_task_ids_if_true` from `target_lower` to `target_upper`, else `follow_task_ids_if_false`.

    Each is a datetime, a datetime.time (of today, in the time zone of the DAG), or None for no limit; an upper time before the lower one is
    of the next day. With use_task_logical_date the run's logical date counts in place of now.
    """

    kind: ClassVar[str] = "branch_date_time"
    field_names: ClassVar[tuple[str, ...]] = (
        "target_lower", "target_upper", "follow_task_ids_if_true", "follow_task_ids_if_false", "use_task_logical_date",
    )  # fmt: skip

    def __init__(
        self,
        *,
        target_lower: Any = None,
        target_upper: Any = None,
        use_task_execution_date: bool = False,
        use_task_logical_date: bool = False,
        **kwargs: Any,
    ) -> None:
        """Make the task; use_task_execution_date is the older name of use_task_logical_date."""
        super().__init__(use_task_logical_date=use_task_logical_date or use_task_execution_date, **kwargs)
        self.target_lower, self.target_upper = target_lower, target_upper
        if target_lower is None and target_upper is None:
            report(f"task {self.task_id}: give target_lower, target_upper or both", self.origin)
        for name, target in (("target_lower", target_lower), ("target_upper", target_upper)):
            if target is not None and not isinstance(target, datetime | time):
                report(f"task {self.task_id}: {name} must be a datetime or a datetime.time, not {target!r}", self.origin)

    def fits(self, moment: datetime) -> bool:
        """Tell whether it lies between the two."""
        lower, upper = (_on(moment, target) for target in (self.target_lower, self.target_upper))
        if lower is not None and upper is not None and upper < lower:
            upper += timedelta(days=1)
        return (lower is None or lower <= moment) and (upper is None or moment <= upper)


def _on(day: datetime, target: Any) -> datetime | None:
    """Return the moment that `target` means on that day."""
    if target is None:
        return None
    zone: tzinfo | None = target.tzinfo or day.tzinfo
    if isinstance(target, datetime):
        return target.replace(tzinfo=zone)
    return datetime.combine(day.astimezone(zone).date(), target.replace(tzinfo=None), zone)


def _ids(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
