"""How runs stand that the history lists: as Redis says where it knows better."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rqflow.broker.broker import Broker
from rqflow.broker.events import is_before
from rqflow.broker.status import RunStatus
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store import run_lines
from rqflow.store.engine import Engine, reading
from rqflow.store.run_lines import RunLine


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlaid:
    """Runs with their states and dates as they are now."""

    lines: tuple[RunLine, ...]
    #: How those stand that Redis has, by key.
    statuses: Mapping[str, RunStatus] = field(default_factory=dict)
    #: Keys of the runs whose tasks Redis tells: unfinished ones, and those of which not everything is in SQL yet.
    live: frozenset[str] = frozenset()

    def is_cancelling(self, run_key: str) -> bool:
        """Tell whether somebody asked for the end of this run, and it has not come to it."""
        status = self.statuses.get(run_key)
        return bool(status and status.cancel_requested and status.state not in TERMINAL_RUN_STATES)


def laid_over(broker: Broker | None, engine: Engine, lines: Sequence[RunLine]) -> Overlaid:
    """Return these runs as they stand now."""
    if broker is None or not lines:
        return Overlaid(lines=tuple(lines))
    statuses = broker.run_statuses([line.run_key for line in lines])
    # A run that Redis forgot meanwhile has ended, and the history has it whole: that is read again.
    gone = [line.run_key for line in lines if not line.is_finished and line.run_key not in statuses]
    again: dict[str, RunLine] = {}
    if gone:
        with reading(engine) as connection:
            again = {line.run_key: line for line in run_lines.by_keys(connection, gone)}
    found = tuple(_as_it_is(again.get(line.run_key, line), statuses.get(line.run_key)) for line in lines)
    return Overlaid(lines=found, statuses=statuses, live=_live(broker, statuses))


def _as_it_is(line: RunLine, status: RunStatus | None) -> RunLine:
    if status is None:
        return line
    return replace(line, state=status.state, started_at=status.started_at, ended_at=status.ended_at)


def _live(broker: Broker, statuses: Mapping[str, RunStatus]) -> frozenset[str]:
    open_ones = {key for key, status in statuses.items() if status.state not in TERMINAL_RUN_STATES}
    ended = [status for key, status in statuses.items() if key not in open_ones and status.last_event]
    if ended:
        upto = broker.recorded_upto()
        open_ones |= {status.run_key for status in ended if not is_before(status.last_event, upto)}
    return frozenset(open_ones)


def differing(broker: Broker | None, unfinished: Collection[str], states: Collection[RunState]) -> tuple[set[str], set[str]]:
    """Return the keys of the runs that Redis has in one of `states`, and in another one, of those that it has unfinished and of `unfinished`,
    which the history believes to be.
    """
    if broker is None:
        return set(), set()
    statuses = broker.run_statuses({*broker.live_runs(), *unfinished})
    inside = {key for key, status in statuses.items() if status.state in states}
    return inside, set(statuses) - inside
