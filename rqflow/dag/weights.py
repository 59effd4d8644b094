"""Effective weights: what a task's priority_weight and weight_rule make of it among the tasks of its DAG."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

#: Weights are kept within what every database holds in an integer.
MOST = 2**31 - 1


def effective_weights(
    order: Sequence[str],
    downstream: Mapping[str, Collection[str]],
    upstream: Mapping[str, Collection[str]],
    own: Mapping[str, int],
    rules: Mapping[str, str],
) -> dict[str, int]:
    """Return {task id: weight} for tasks in topological `order`, given their neighbours, priority_weights and weight_rules.

    By rule downstream a task weighs its own and that of all tasks after it, by upstream of all tasks before it, by absolute its own.
    """
    used = set(rules.values())
    planes = _planes([own[task_id] for task_id in order])
    result = dict(own)
    sides: list[tuple[str, Iterable[str], Mapping[str, Collection[str]]]] = [
        ("downstream", reversed(order), downstream), ("upstream", order, upstream),
    ]
    for rule, direction, neighbours in sides:
        if rule in used:
            sums = _sums(direction, {task_id: place for place, task_id in enumerate(order)}, neighbours, planes)
            result.update({task_id: own[task_id] + sums[task_id] for task_id in order if rules[task_id] == rule})
    return {task_id: max(-MOST, min(MOST, weight)) for task_id, weight in result.items()}


def _planes(values: Sequence[int]) -> list[tuple[int, int]]:
    """Return [(factor, bit set of places)] whose factors add up, place by place, to `values`: their binary digits, turned round.

    A sum over a bit set of places is then a handful of bit counts, however many different values there are.
    """
    sets: dict[int, int] = {}
    for place, value in enumerate(values):
        sign, rest, factor = (-1 if value < 0 else 1), abs(value), 1
        while rest:
            if rest & 1:
                sets[sign * factor] = sets.get(sign * factor, 0) | 1 << place
            rest, factor = rest >> 1, factor << 1
    return list(sets.items())


def _sums(
    order: Iterable[str], places: Mapping[str, int], neighbours: Mapping[str, Collection[str]], planes: Sequence[tuple[int, int]]
) -> dict[str, int]:
    """Return {task id: sum of the values of all tasks that it reaches}, by bit sets; `order` has what is reached first."""
    reached: dict[str, int] = {}
    sums: dict[str, int] = {}
    for task_id in order:
        bits = 0
        for other in neighbours[task_id]:
            bits |= reached[other] | 1 << places[other]
        reached[task_id] = bits
        sums[task_id] = sum(factor * (bits & places_of).bit_count() for factor, places_of in planes)
    return sums
