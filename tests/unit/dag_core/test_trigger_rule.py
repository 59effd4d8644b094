from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.trigger_rule import ALIASES, Counts, Decision, TriggerRule, decide

OUTCOMES = ("success", "failed", "upstream_failed", "skipped", "cancelled", "removed")
W, R, S, U, C = Decision.WAIT, Decision.RUN, Decision.SKIP, Decision.UPSTREAM_FAILED, Decision.CANCEL


def decided(rule: str, outcomes: Sequence[str], pending: int = 0) -> Decision:
    return decide(rule, Counts(total=len(outcomes) + pending, **Counter(outcomes)))


#: Rule -> what follows when the (only) two upstream tasks ended so; "-" is one that has not ended.
TABLE: dict[str, dict[str, Decision]] = {
    "all_success": {"ss": R, "s-": W, "f-": U, "sk": S, "kk": S, "sf": U, "su": U, "sx": C, "xf": U, "--": W},
    "all_failed": {"ff": R, "f-": W, "s-": S, "k-": S, "fu": R, "xx": R, "sf": S},
    "all_done": {"sf": R, "kx": R, "s-": W, "uu": R},
    "all_done_setup_success": {"sf": R, "s-": W},
    "one_success": {"s-": R, "f-": W, "ff": U, "kk": S, "fk": U, "xx": C, "xk": C, "sf": R},
    "one_failed": {"f-": R, "u-": R, "x-": R, "ss": S, "s-": W, "kk": S},
    "one_done": {"s-": R, "f-": R, "k-": W, "kk": S, "u-": W, "uk": U, "xk": C, "su": R},
    "none_failed": {"ss": R, "sk": R, "kk": R, "f-": U, "s-": W, "xs": C, "x-": W},
    "none_failed_min_one_success": {"ss": R, "sk": R, "kk": S, "f-": U, "s-": W},
    "none_skipped": {"sf": R, "k-": S, "s-": W, "fx": R},
    "all_skipped": {"kk": R, "k-": W, "s-": S, "f-": S},
    "always": {"--": R, "f-": R, "k-": R},
}
LETTERS = {"s": "success", "f": "failed", "u": "upstream_failed", "k": "skipped", "x": "cancelled"}


@pytest.mark.parametrize(("rule", "ends", "decision"), [(rule, ends, d) for rule, row in TABLE.items() for ends, d in row.items()])
def test_rule_decides_by_the_table(rule: str, ends: str, decision: Decision) -> None:
    assert decided(rule, [LETTERS[end] for end in ends if end != "-"], ends.count("-")) is decision


def test_the_table_has_every_rule() -> None:
    assert TABLE.keys() == {rule.value for rule in TriggerRule}


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_task_without_upstream_runs_under_every_rule(rule: TriggerRule) -> None:
    assert decide(rule, Counts(total=0)) is R
    assert decide(rule, Counts(total=2, removed=2)) is R


def test_old_names_are_the_same_rules() -> None:
    assert ALIASES["dummy"] is TriggerRule.DUMMY is TriggerRule.ALWAYS
    assert ALIASES["none_failed_or_skipped"] is TriggerRule.NONE_FAILED_OR_SKIPPED is TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    assert str(TriggerRule.ALL_DONE) == "all_done"


@given(st.sampled_from(list(TriggerRule)), st.lists(st.sampled_from(OUTCOMES), max_size=8))
def test_every_task_is_decided_when_all_upstream_ended(rule: TriggerRule, outcomes: list[str]) -> None:
    assert decided(rule, outcomes) is not W


@given(st.sampled_from(list(TriggerRule)), st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=8), st.data())
def test_an_early_decision_is_never_contradicted_by_later_outcomes(rule: TriggerRule, outcomes: list[str], data: st.DataObject) -> None:
    known = data.draw(st.integers(0, len(outcomes)))
    early, late = decided(rule, outcomes[:known], len(outcomes) - known), decided(rule, outcomes)
    removed_all = Counter(outcomes)["removed"] == len(outcomes)
    if early is not W and not removed_all:
        assert early is late
