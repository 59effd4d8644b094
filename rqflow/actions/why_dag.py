"""Why no run of a DAG starts: one true reason, and what lifts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from rqflow import clock
from rqflow.actions import unsigned
from rqflow.broker.broker import Broker
from rqflow.broker.lock import has_leader
from rqflow.dag import series, timetable
from rqflow.dag.version import Version
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store import dags, runs, schedules
from rqflow.store.dags import DagRecord
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunFilter
from rqflow.store.schedules import Followed

#: Run ids that a reason lists at most.
_NAMES = 5
_UNFINISHED = frozenset(RunState) - TERMINAL_RUN_STATES


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyDag:
    """The reason why no run of a DAG starts now, and what changes that."""

    dag_id: str
    reason: str
    lifted_by: str = ""
    #: When its next scheduled run is due; None: none comes by itself.
    next_run_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What is seen of a DAG and of what its runs may wait for."""

    record: DagRecord
    version: Version | None
    followed: Followed | None = None
    #: Ids of its runs that have not ended.
    active: Sequence[str] = ()
    #: It has had a run.
    has_run: bool = False
    has_leader: bool = True
    now: datetime
    #: The zone of who asks.
    viewer: tzinfo = UTC

    def at(self, moment: datetime) -> str:
        """Say a time by the clock of the DAG, and by the viewer's."""
        return timetable.by_clocks(moment, self.version.timezone if self.version else "UTC", self.viewer)


def explain(view: View) -> WhyDag:
    """Return the one reason that counts: what is asked first is what would have to be mended first. Pure."""
    reason, lifted_by = _of_dag(view) or _of_schedule(view)
    if view.record.unsigned and view.record.pause_reason != unsigned.NEVER_SIGNED:
        reason += f"; and {unsigned.words(view.record.unsigned == view.record.version)}"
    due = view.followed.next_run_at if view.followed and view.record.is_active else None
    return WhyDag(dag_id=view.record.dag_id, reason=reason, lifted_by=lifted_by, next_run_at=due)


def dag(broker: Broker, engine: Engine, dag_id: str, viewer: tzinfo = UTC) -> WhyDag:
    """Return why no run of a DAG starts, for somebody in the zone `viewer`; raises DagNotFound."""
    with reading(engine) as connection:
        record = dags.find(connection, dag_id)
        version = dags.version(connection, record.version) if record.version else None
        active = [run.run_id for run in runs.search(connection, RunFilter(dag_id=dag_id, states=_UNFINISHED))]
        return explain(View(
            record=record, version=version, followed=schedules.get(connection, dag_id), active=active, now=clock.utcnow(), viewer=viewer,
            has_run=runs.latest(connection, dag_id) is not None, has_leader=has_leader(broker.connection)))


def _of_dag(view: View) -> tuple[str, str] | None:
    """Return what keeps all scheduled runs from starting, if anything does."""
    record = view.record
    if not record.is_active:
        return f"its file {record.file} is removed from the folder of DAGs, or does not make it any more", "the file; or `rqflow submit FILE`"
    if record.is_paused:
        if record.pause_reason == unsigned.NEVER_SIGNED:
            return f"it is paused: {record.paused_because}", unsigned.HOW
        return f"it is paused: {record.paused_because}", f"`rqflow dag unpause {record.dag_id}`"
    if view.version is None:
        return "none of its versions is known", "`rqflow submit FILE`"
    if (view.version.schedule or "").startswith(timetable.UNSUPPORTED):
        return f"its schedule is a {view.version.schedule.removeprefix(timetable.UNSUPPORTED)}, which rqflow does not know", _by_hand(record)  # type: ignore[union-attr]
    if view.version.schedule is None:
        return "no run comes by itself: its schedule is none", _by_hand(record)
    return None


def _of_schedule(view: View) -> tuple[str, str]:
    record, version, followed = view.record, view.version, view.followed
    assert version is not None, "asked before"
    due = followed.next_run_at if followed else None
    if due is None:
        if series.is_once(version):
            return "its one run (@once) was made", _by_hand(record)
        return f"its end_date {version.end_date} is over: no date is left", _by_hand(record)
    if due > view.now:
        return _not_yet(view, version, due)
    if series.room(version, len(view.active)) == 0:
        shown = ", ".join(view.active[:_NAMES]) + (f" and {len(view.active) - _NAMES} more" if len(view.active) > _NAMES else "")
        return f"a run is due since {view.at(due)}, and as many as may be active are: {shown}", "the end of one of those"
    if not view.has_leader:
        return f"a run is due since {view.at(due)}, and no scheduler runs that would start it", "`rqflow scheduler`"
    return f"a run is due since {view.at(due)}", "a moment: the scheduler starts it"


def _not_yet(view: View, version: Version, due: datetime) -> tuple[str, str]:
    start = series.moment(version.start_date) if version.start_date else None
    if start is not None and start > view.now:
        return f"its start_date {version.start_date} lies in the future; its first run is due at {view.at(due)}", f"the time: {view.at(due)}"
    return f"its next run is not yet due: {view.at(due)}", f"the time: {view.at(due)}; or {_by_hand(view.record)} at once"


def _by_hand(record: DagRecord) -> str:
    return f"`rqflow run start {record.dag_id}`"
