from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from enum import Enum, IntEnum
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.params import Param
from rqflow.dag.plain import plain


class Colour(str, Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Thing:
    pass


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_values_stay_as_they_are(value: Any) -> None:
    assert plain(value) == (value, True)
    assert json.loads(json.dumps(plain(value)[0])) == value


@pytest.mark.parametrize(
    ("value", "kept", "exact"),
    [
        ((1, "a"), [1, "a"], True),
        (Colour.RED, "red", True),
        (Size.BIG, 3, True),
        (PurePosixPath("/a"), "/a", True),
        (Param(5), 5, True),
        (Param(), None, True),
        ({1: 2}, {"1": 2}, False),
        ({"b", "a", 1}, [1, "a", "b"], False),
        (date(2024, 1, 1), "2024-01-01", False),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00+00:00", False),
        (timedelta(minutes=1), 60.0, False),
        (float("nan"), "nan", False),
        ("\ud800", "\\ud800", False),
        (plain, {"callable": "rqflow.dag.plain.plain"}, False),
        (partial(plain, 1), {"callable": "rqflow.dag.plain.plain"}, False),
        ([plain], [{"callable": "rqflow.dag.plain.plain"}], False),
    ],
)
def test_other_values_are_shown(value: Any, kept: Any, exact: bool) -> None:
    assert plain(value) == (kept, exact)


def test_objects_are_shown_without_addresses_in_memory() -> None:
    assert plain(Thing()) == plain(Thing()) == (f"<{__name__}.Thing object>", False)
