"""Waiting for a moment. Each knows when it will be, and looks again then and not before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, ClassVar

from dateutil.relativedelta import relativedelta

from rqflow import clock
from rqflow.dag import readers
from rqflow.dag.problems import report
from rqflow.dag.template import is_plain
from rqflow.dag.xcomarg import XComArg
from rqflow.exceptions import TaskFailed
from rqflow.operators.sensors.base import RESCHEDULE, BaseSensorOperator
from rqflow.operators.weekdays import read_weekdays
from rqflow.operators.zones import zone_of


class MomentSensor(BaseSensorOperator):
    """What all of these have in common."""

    kind: ClassVar[str] = "moment_sensor"

    def moment(self, context: Mapping[str, Any]) -> datetime:
        """Return the moment that is waited for, aware."""
        raise NotImplementedError

    def look_at(self, context: Mapping[str, Any]) -> datetime | None:
        """Return the moment."""
        return self.moment(context)

    def poke(self, context: Mapping[str, Any]) -> bool:
        """Tell whether it has come."""
        moment = self.moment(context)
        is_there = clock.utcnow() >= moment
        if not is_there:
            self.log.info("waiting for %s", f"{moment.astimezone(clock.UTC):%Y-%m-%d %H:%M:%S} UTC")
        return is_there


class TimeSensor(MomentSensor):
    """Wait for a time of the day, `target_time` (a datetime.time), in the time zone of the DAG; when it has passed already, not at all."""

    kind: ClassVar[str] = "time_sensor"
    field_names: ClassVar[tuple[str, ...]] = ("target_time", *BaseSensorOperator.field_names)

    def __init__(self, *, target_time: Any, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.target_time = target_time
        if not isinstance(target_time, time):
            report(f"task {self.task_id}: target_time must be a datetime.time, not {target_time!r}", self.origin)

    def moment(self, context: Mapping[str, Any]) -> datetime:
        """Return the time on the day, there, on which the try began."""
        zone = self.target_time.tzinfo or zone_of(context)
        began = getattr(context.get("ti"), "start_date", None) or clock.utcnow()
        return datetime.combine(began.astimezone(zone).date(), self.target_time.replace(tzinfo=None), zone)


class TimeDeltaSensor(MomentSensor):
    """Wait until `delta`, a timedelta, has passed since the end of the run's data interval."""

    kind: ClassVar[str] = "time_delta_sensor"
    field_names: ClassVar[tuple[str, ...]] = ("delta", *BaseSensorOperator.field_names)

    def __init__(self, *, delta: Any, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.delta = delta
        if not isinstance(delta, timedelta | relativedelta):
            report(f"task {self.task_id}: delta must be a timedelta, not {delta!r}", self.origin)

    def moment(self, context: Mapping[str, Any]) -> datetime:
        """Return the end of the data interval and the delta."""
        found: datetime = context["data_interval_end"] + self.delta
        return found


class DateTimeSensor(MomentSensor):
    """Wait for a moment: `target_time`, a datetime or a template that renders to one; UTC unless it names a time zone."""

    kind: ClassVar[str] = "date_time_sensor"
    template_fields: Sequence[str] = ("target_time",)
    field_names: ClassVar[tuple[str, ...]] = ("target_time", *BaseSensorOperator.field_names)

    def __init__(self, *, target_time: Any, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.target_time = target_time.isoformat() if isinstance(target_time, datetime) else target_time
        if isinstance(self.target_time, XComArg) or (isinstance(self.target_time, str) and not is_plain(self.target_time)):
            return
        try:
            readers.moment(self.target_time)
        except ValueError as error:
            report(f"task {self.task_id}: target_time={target_time!r} {error}", self.origin)

    def moment(self, context: Mapping[str, Any]) -> datetime:  # noqa: ARG002 (every one takes the same)
        """Return the rendered moment; raises TaskFailed for a text that is none."""
        try:
            return readers.moment(self.target_time)
        except ValueError as error:
            raise TaskFailed(f"target_time is {self.target_time!r}; it {error}") from None


class DayOfWeekSensor(MomentSensor):
    """Wait for a day of the week: `week_day`, a name or several, by the time zone of the DAG.

    With use_task_logical_date the day of the run's logical date counts, which does not change.
    """

    kind: ClassVar[str] = "day_of_week_sensor"
    field_names: ClassVar[tuple[str, ...]] = ("week_day", "use_task_logical_date", *BaseSensorOperator.field_names)

    def __init__(self, *, week_day: Any, use_task_logical_date: bool = False, use_task_execution_day: bool = False, **kwargs: Any) -> None:
        """Make the task; use_task_execution_day is the older name of use_task_logical_date."""
        super().__init__(**kwargs)
        self.use_task_logical_date = bool(use_task_logical_date or use_task_execution_day)
        self.week_day = read_weekdays(self, week_day)

    def moment(self, context: Mapping[str, Any]) -> datetime:
        """Return the beginning of the first such day that is not over."""
        zone = zone_of(context)
        today = clock.utcnow().astimezone(zone).date()
        days = next((days for days in range(7) if (today + timedelta(days=days)).isoweekday() in self.week_day), 0)
        return datetime.combine(today + timedelta(days=days), time(0), zone)

    def look_at(self, context: Mapping[str, Any]) -> datetime | None:
        """Return the beginning of that day; None where only the logical date counts."""
        return None if self.use_task_logical_date else super().look_at(context)

    def poke(self, context: Mapping[str, Any]) -> bool:
        """Tell whether it is such a day."""
        if not self.use_task_logical_date:
            return super().poke(context)
        day = context["logical_date"].astimezone(zone_of(context))
        self.log.info("the logical date is a %s", f"{day:%A}")
        return day.isoweekday() in self.week_day


class TimeSensorAsync(TimeSensor):
    """TimeSensor that gives its slot back while it waits."""

    kind: ClassVar[str] = "time_sensor"
    default_mode: ClassVar[str] = RESCHEDULE


class TimeDeltaSensorAsync(TimeDeltaSensor):
    """TimeDeltaSensor that gives its slot back while it waits."""

    kind: ClassVar[str] = "time_delta_sensor"
    default_mode: ClassVar[str] = RESCHEDULE


class DateTimeSensorAsync(DateTimeSensor):
    """DateTimeSensor that gives its slot back while it waits."""

    kind: ClassVar[str] = "date_time_sensor"
    default_mode: ClassVar[str] = RESCHEDULE
