from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.weights import MOST, effective_weights


def weigh(upstream: dict[str, list[str]], own: dict[str, int], rules: dict[str, str]) -> dict[str, int]:
    downstream = {name: [other for other in upstream if name in upstream[other]] for name in upstream}
    return effective_weights(list(upstream), downstream, upstream, own, rules)


def closure(edges: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for other in edges[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


@st.composite
def weighted_dags(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, int], dict[str, str]]:
    names = [f"t{number}" for number in range(draw(st.integers(1, 12)))]
    upstream = {name: sorted(draw(st.sets(st.sampled_from(names[:place])))) if place else [] for place, name in enumerate(names)}
    own = {name: draw(st.integers(-5, 2000)) for name in names}
    rules = {name: draw(st.sampled_from(["downstream", "upstream", "absolute"])) for name in names}
    return upstream, own, rules


@given(weighted_dags())
def test_weights_equal_the_sums_over_the_closure(dag: tuple[dict[str, list[str]], dict[str, int], dict[str, str]]) -> None:
    upstream, own, rules = dag
    downstream = {name: [other for other in upstream if name in upstream[other]] for name in upstream}
    edges = {"downstream": downstream, "upstream": upstream, "absolute": {name: [] for name in upstream}}
    expected = {name: own[name] + sum(own[other] for other in closure(edges[rules[name]], name)) for name in upstream}
    assert weigh(upstream, own, rules) == expected


def test_a_diamond_counts_its_end_once() -> None:
    upstream = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    assert weigh(upstream, dict.fromkeys(upstream, 1), dict.fromkeys(upstream, "downstream")) == {"a": 4, "b": 2, "c": 2, "d": 1}


def test_weights_stay_within_an_integer_column() -> None:
    assert weigh({"a": [], "b": ["a"]}, {"a": MOST, "b": MOST}, {"a": "downstream", "b": "absolute"}) == {"a": MOST, "b": MOST}


def test_a_chain_of_10000_tasks_is_weighed_in_seconds() -> None:
    names = [f"t{number}" for number in range(10_000)]
    upstream = {name: [names[place - 1]] if place else [] for place, name in enumerate(names)}
    downstream = {name: [names[place + 1]] if place < 9_999 else [] for place, name in enumerate(names)}
    begin = time.process_time()
    weights = effective_weights(names, downstream, upstream, {name: place for place, name in enumerate(names)}, dict.fromkeys(names, "downstream"))
    assert time.process_time() - begin < 3
    assert weights["t0"] == 9_999 * 5_000
