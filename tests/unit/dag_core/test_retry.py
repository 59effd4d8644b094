from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.retry import LONGEST, retry_delay
from tests.unit.builders import a_task

DELAYS = st.floats(0, 1e7)
TRIES = st.integers(1, 5000)


@given(DELAYS, TRIES)
def test_plain_delay_is_the_same_for_every_try(delay: float, try_number: int) -> None:
    assert retry_delay(a_task(retry_delay=delay), try_number, "j") == delay


@given(DELAYS, TRIES, st.text(max_size=20))
def test_exponential_delay_lies_between_the_doubled_delay_and_twice_that(delay: float, try_number: int, job_id: str) -> None:
    found = retry_delay(a_task(retry_delay=delay, retry_exponential_backoff=True), try_number, job_id)
    least = min(delay * 2 ** min(try_number - 1, 60), LONGEST)
    assert min(least, LONGEST) <= found <= max(2 * (least + 1), 1)
    assert found >= 1
    assert found == retry_delay(a_task(retry_delay=delay, retry_exponential_backoff=True), try_number, job_id)


@given(DELAYS, TRIES, st.floats(0, 1e6), st.booleans())
def test_max_retry_delay_is_never_exceeded(delay: float, try_number: int, cap: float, exponential: bool) -> None:
    task = a_task(retry_delay=delay, retry_exponential_backoff=exponential, max_retry_delay=cap)
    assert 0 <= retry_delay(task, try_number, "j") <= cap


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    task = a_task(retry_delay=600.0, retry_exponential_backoff=True)
    assert len({retry_delay(task, 1, f"job-{number}") for number in range(50)}) > 40
