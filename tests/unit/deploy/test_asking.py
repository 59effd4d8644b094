"""Questions that must be answered in time."""

from __future__ import annotations

import threading

import pytest

from rqflow.deploy.asking import Asking, NoAnswer


def test_an_answer_and_an_error_come_as_they_are() -> None:
    assert Asking("it", lambda given: given + 1).ask(10, 1) == 2
    with pytest.raises(ZeroDivisionError):
        Asking("it", lambda: 1 / 0).ask(10)


def test_a_question_that_hangs_is_given_up_and_not_asked_again_until_it_has_ended() -> None:
    go, asked = threading.Event(), []

    def hang() -> str:
        asked.append(1)
        go.wait()
        return "done"

    asking = Asking("it", hang)
    with pytest.raises(NoAnswer, match=r"it did not answer within 0\.01 s"):
        asking.ask(0.01)
    with pytest.raises(NoAnswer, match="earlier question"):
        asking.ask(10)
    assert len(asked) == 1
    go.set()
    assert asking._under_way is not None
    asking._under_way.join()
    assert asking.ask(10) == "done"
