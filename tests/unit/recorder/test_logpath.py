from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.exceptions import UsageError
from rqflow.recorder.logpath import checked, log_path

DATE = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ids = st.text(min_size=1, max_size=300)


@pytest.mark.parametrize(("dag_id", "task_id", "date", "path"), [
    ("etl", "load", DATE, "etl/load/2026-11-23T09-30-00/1.log"),
    ("etl", "group.load", DATE.replace(microsecond=12), "etl/group.load/2026-11-23T09-30-00.000012/1.log"),
    ("etl", "load", DATE.astimezone(timezone(timedelta(hours=9))), "etl/load/2026-11-23T09-30-00/1.log"),
    ("分析 1", "naïve", DATE, "分析%201/naïve/2026-11-23T09-30-00/1.log"),
    ("../etc", "..", DATE, "%2E.%2Fetc/%2E./2026-11-23T09-30-00/1.log"),
    ("50%", "a~b", DATE, "50%25/a%7Eb/2026-11-23T09-30-00/1.log"),
])
def test_path_of_a_log(dag_id: str, task_id: str, date: datetime, path: str) -> None:
    assert str(log_path(dag_id, task_id, date, 1)) == path


def test_runs_of_one_date_have_different_paths() -> None:
    keys = ("", "00112233445566", "ffeeddccbbaa9988")
    assert len({log_path("d", "t", DATE, 1, run_key=key) for key in keys}) == 3


@given(names=st.tuples(ids, ids), other=st.tuples(ids, ids), run_key=st.text("0123456789abcdef", max_size=16))
def test_every_name_makes_a_sound_path_of_its_own(names: tuple[str, str], other: tuple[str, str], run_key: str) -> None:
    path = log_path(*names, DATE, 7, run_key=run_key)
    assert checked(str(path)) == str(path)
    assert (path == log_path(*other, DATE, 7, run_key=run_key)) == (names == other)


@pytest.mark.parametrize("path", [
    "", "x.log", "/etc/x.log", "../x.log", "a/../../x.log", "a//x.log", "a/./x.log", "a/b", "a/b.log/", "a/b\0.log", "a/" + "b" * 300 + ".log",
    "a/b/c/d/e/f/g/h/i.log", "a/..", "a/.log/..",
])
def test_path_that_could_leave_the_archive_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        checked(path)
