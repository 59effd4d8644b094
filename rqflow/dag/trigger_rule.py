"""Trigger rules: whether a task may run, given how its upstream tasks ended.

The broker's Lua has the same table (broker/lua); tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class TriggerRule(str, Enum):
    """When the outcomes of its upstream tasks let a task run. Skipped counts neither as success nor as failure."""

    #: All upstream tasks ended in success.
    ALL_SUCCESS = "all_success"
    #: All upstream tasks failed.
    ALL_FAILED = "all_failed"
    #: All upstream tasks ended, however.
    ALL_DONE = "all_done"
    #: At least one upstream task ended in success; the others are not waited for.
    ONE_SUCCESS = "one_success"
    #: At least one upstream task failed; the others are not waited for.
    ONE_FAILED = "one_failed"
    #: At least one upstream task succeeded or failed; the others are not waited for.
    ONE_DONE = "one_done"
    #: All upstream tasks ended and none failed.
    NONE_FAILED = "none_failed"
    #: All upstream tasks ended, none failed and at least one succeeded.
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    #: All upstream tasks ended and none was skipped.
    NONE_SKIPPED = "none_skipped"
    #: All upstream tasks were skipped.
    ALL_SKIPPED = "all_skipped"
    #: Upstream tasks are not waited for at all.
    ALWAYS = "always"
    #: As ALL_DONE.
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"

    # Older names of the same rules.
    DUMMY = ALWAYS
    NONE_FAILED_OR_SKIPPED = NONE_FAILED_MIN_ONE_SUCCESS

    def __str__(self) -> str:
        """Return the rule's name as it is written in DAG files."""
        return self.value


#: {name in old DAG files: the rule}.
ALIASES = {"dummy": TriggerRule.ALWAYS, "none_failed_or_skipped": TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS}


class Decision(str, Enum):
    """What becomes of a pending task."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    UPSTREAM_FAILED = "upstream_failed"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many direct upstream tasks there are, and how many of them ended how. Lost ones are counted under `failed`."""

    total: int
    success: int = 0
    failed: int = 0
    upstream_failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    removed: int = 0

    @property
    def expected(self) -> int:
        """Upstream tasks that this run has."""
        return self.total - self.removed

    @property
    def bad(self) -> int:
        """Upstream tasks that count as failure."""
        return self.failed + self.upstream_failed + self.cancelled

    @property
    def all_done(self) -> bool:
        """Whether no upstream task is unfinished."""
        return self.success + self.bad + self.skipped >= self.expected


D = Decision


def _after_all(c: Counts, decision: Decision) -> Decision:
    return decision if c.all_done else D.WAIT


def _all_success(c: Counts) -> Decision:
    return D.UPSTREAM_FAILED if c.bad else _after_all(c, D.SKIP if c.skipped else D.RUN)


def _all_failed(c: Counts) -> Decision:
    return D.SKIP if c.success + c.skipped else _after_all(c, D.RUN)


def _all_done(c: Counts) -> Decision:
    return _after_all(c, D.RUN)


def _one_success(c: Counts) -> Decision:
    return D.RUN if c.success else _after_all(c, D.SKIP if c.skipped == c.expected else D.UPSTREAM_FAILED)


def _one_failed(c: Counts) -> Decision:
    return D.RUN if c.bad else _after_all(c, D.SKIP)


def _one_done(c: Counts) -> Decision:
    return D.RUN if c.success + c.failed else _after_all(c, D.UPSTREAM_FAILED if c.bad else D.SKIP)


def _none_failed(c: Counts) -> Decision:
    return D.UPSTREAM_FAILED if c.bad else _after_all(c, D.RUN)


def _none_failed_min_one_success(c: Counts) -> Decision:
    return D.UPSTREAM_FAILED if c.bad else _after_all(c, D.RUN if c.success else D.SKIP)


def _none_skipped(c: Counts) -> Decision:
    return D.SKIP if c.skipped else _after_all(c, D.RUN)


def _all_skipped(c: Counts) -> Decision:
    return D.SKIP if c.success + c.bad else _after_all(c, D.RUN)


def _always(_: Counts) -> Decision:
    return D.RUN


_TABLE: dict[TriggerRule, Callable[[Counts], Decision]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_FAILED: _all_failed,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.ONE_DONE: _one_done,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.NONE_SKIPPED: _none_skipped,
    TriggerRule.ALL_SKIPPED: _all_skipped,
    TriggerRule.ALWAYS: _always,
    TriggerRule.ALL_DONE_SETUP_SUCCESS: _all_done,
}


def decide(rule: TriggerRule | str, counts: Counts) -> Decision:
    """Return what becomes of a pending task with this trigger rule when its upstream tasks ended as `counts` says.

    A task that cannot run because of cancelled upstream tasks alone is cancelled itself, once all upstream tasks have ended: before
    that one of them might still fail, and what becomes of a task must not depend on the order in which they end.
    """
    if counts.expected == 0:
        return D.RUN
    decision = _TABLE[TriggerRule(rule)](counts)
    if decision is D.UPSTREAM_FAILED and counts.cancelled and not counts.failed + counts.upstream_failed:
        return _after_all(counts, D.CANCEL)
    return decision
