"""A model of a run without Redis: what the states must be after the same events. Short enough to be believed by reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rqflow.dag.trigger_rule import Counts, Decision, TriggerRule, decide
from rqflow.dag.version import Version
from rqflow.states import TERMINAL_STATES, RunState, TaskState

READY = "ready"  # queued or parked: which of the two depends on the gates, not on the events
ASKS = "asks"  # parked until a person says what becomes of a lost task
VERDICT = {Decision.SKIP: "skipped", Decision.UPSTREAM_FAILED: "upstream_failed", Decision.CANCEL: "cancelled"}
TERMINAL = {state.value for state in TERMINAL_STATES}


@dataclass
class Model:
    version: Version
    state: dict[int, str] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    last_try: dict[int, int] = field(default_factory=dict)
    derived: set[int] = field(default_factory=set)
    skipped_by: dict[int, int] = field(default_factory=dict)
    skips: dict[int, list[int]] = field(default_factory=dict)
    ran: set[int] = field(default_factory=set)
    stop: set[int] = field(default_factory=set)
    marked: dict[int, str] = field(default_factory=dict)
    cancelled: bool = False

    def __post_init__(self) -> None:
        for task in self.version.tasks:
            self.state[task.index], self.tries[task.index], self.last_try[task.index] = "pending", 1, task.retries + 1
        self.settle()

    def settle(self) -> None:
        """Judge every pending task until nothing changes; tasks stand in topological order, so one pass is enough."""
        for task in self.version.tasks:
            if self.state[task.index] == "pending":
                self._judge(task.index)

    def _judge(self, index: int) -> None:
        task = self.version.tasks[index]
        if index in self.skipped_by:
            self.state[index] = "skipped"
            self.derived.add(index)
            return
        if self.cancelled:
            self.state[index] = "cancelled"
            self.derived.add(index)
            return
        ups = [self.state[up] for up in task.upstream]
        outcomes = ("success", "failed", "upstream_failed", "skipped", "cancelled", "removed")
        ups = ["failed" if up == "lost" else up for up in ups]
        counts = Counts(total=len(ups), **{name: ups.count(name) for name in outcomes})
        decision = decide(TriggerRule(task.trigger_rule), counts)
        if decision is Decision.RUN:
            self.state[index] = "success" if task.operator == "empty" else READY
        elif decision is not Decision.WAIT:
            self.state[index] = VERDICT[decision]
            self.derived.add(index)

    def claim(self, index: int) -> None:
        assert self.state[index] == READY
        self.state[index] = "running"
        self.ran.add(index)
        self.derived.discard(index)
        self.skips.pop(index, None)

    def requeue(self, index: int) -> None:
        """A worker vanished with this task before it started it."""
        if index in self.marked:
            self.state[index] = self.marked.pop(index)
        elif index in self.stop or self.cancelled:
            self.state[index] = "cancelled"
        else:
            self.state[index] = READY
            self.ran.discard(index)
        self.stop.discard(index)
        self.settle()

    def lose(self, index: int, *, told: bool, retry_now: bool) -> None:
        """Its worker tells that it is lost, or it is declared so, when nobody knows whether its processes are gone."""
        may_run_again = index not in self.marked and index not in self.stop and not self.cancelled
        if index in self.marked:
            self.state[index] = self.marked.pop(index)
        elif told and not may_run_again:
            self.state[index] = "cancelled"
        else:
            self.state[index] = "lost"
            on_lost = self.version.tasks[index].on_lost
            if may_run_again and on_lost == "wait":
                self.state[index] = ASKS
                self.tries[index] += 1
                self.last_try[index] = max(self.last_try[index], self.tries[index])
                self.ran.discard(index)
            elif may_run_again and on_lost == "retry" and self.tries[index] < self.last_try[index]:
                self.state[index] = "up_for_retry"
                if retry_now:
                    self.due(index)
        self.marked.pop(index, None)
        self.stop.discard(index)
        self.settle()

    def finish(self, index: int, state: str, skips: Iterable[int] = (), retry_now: bool = False) -> None:
        if state == "lost":
            self.lose(index, told=True, retry_now=retry_now)
            return
        if index in self.marked:
            state = self.marked.pop(index)
        elif (index in self.stop or self.cancelled) and state in {"failed", "up_for_retry"}:
            state = "cancelled"
        elif state == "up_for_retry" and self.tries[index] >= self.last_try[index]:
            state = "failed"
        self.stop.discard(index)
        self.state[index] = state
        if state == "up_for_retry":
            if retry_now:
                self.due(index)
            return
        if skips and state == "success":
            self.skips[index] = list(skips)
            for below in skips:
                if self.state[below] in {"pending", READY, ASKS}:
                    self.state[below] = "pending"
                    self.skipped_by[below] = index
        self.settle()

    def restore(self) -> None:
        """Redis knows only what the history told it: what waited for a worker is judged anew, by what its upstream tasks are now."""
        for index, state in self.state.items():
            if state == READY:
                self.state[index] = "pending"
        self.settle()

    def due(self, index: int) -> None:
        self.state[index] = READY
        self.ran.discard(index)
        self.tries[index] += 1

    def cancel_task(self, index: int) -> None:
        if self.state[index] == "running":
            self.stop.add(index)
        elif self.state[index] not in TERMINAL:
            self.state[index] = "cancelled"
            self.settle()

    def cancel_run(self) -> None:
        if self.run_state() is not RunState.RUNNING:
            return
        self.cancelled = True
        for index, state in self.state.items():
            if state == "running":
                self.stop.add(index)
            elif state not in TERMINAL:
                self.state[index] = "cancelled"

    def rewrite(self, index: int, target: str) -> None:
        """Clear (target pending) or mark one task."""
        old = self.state[index]
        if old == "running":
            if target != "pending":
                self.marked[index] = target
            return
        if (target != "pending" and old == target) or (self.refuses_clear(index) and target == "pending"):
            return
        if self.run_state() is not RunState.RUNNING:
            self.cancelled = False
        self.derived.discard(index)
        if target == "pending":
            if index in self.ran:
                self.tries[index] += 1
            self.last_try[index] = self.tries[index] + self.version.tasks[index].retries
            self.ran.discard(index)
        else:
            self.skipped_by.pop(index, None)
        self.state[index] = target
        for below in self.skips.pop(index, []):
            if self.skipped_by.get(below) == index:
                del self.skipped_by[below]
                if below in self.derived and self.state[below] == "skipped":
                    self._forget(below)
        self._forget_below(index)
        self.settle()

    def refuses_clear(self, index: int) -> bool:
        """Tell whether a clear cannot touch this task: it runs, or its run is being cancelled."""
        return self.state[index] == "running" or (self.cancelled and self.run_state() is RunState.RUNNING)

    def _forget(self, index: int) -> None:
        self.state[index] = "pending"
        self.derived.discard(index)
        self._forget_below(index)

    def _forget_below(self, index: int) -> None:
        """Take back what was only derived from this task's state; what a branch said stays."""
        for below in self.version.tasks[index].downstream:
            if below in self.derived and self.state[below] in TERMINAL and below not in self.skipped_by:
                self._forget(below)
            elif self.state[below] in {READY, ASKS}:
                self.state[below] = "pending"

    def run_state(self) -> RunState:
        if any(state not in TERMINAL for state in self.state.values()):
            return RunState.RUNNING
        leaves = {self.state[task.index] for task in self.version.tasks if not task.downstream}
        if self.cancelled and TaskState.CANCELLED in self.state.values():
            return RunState.CANCELLED
        if leaves & {"failed", "upstream_failed", "lost"}:
            return RunState.FAILED
        return RunState.CANCELLED if "cancelled" in leaves else RunState.SUCCESS
