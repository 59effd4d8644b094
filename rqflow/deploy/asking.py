"""Questions that must be answered in time: who asks goes on without an answer, and a question that hangs is not asked a second time meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rqflow.exceptions import ServiceUnreachable

T = TypeVar("T")


class NoAnswer(ServiceUnreachable):
    """There was no answer in time."""


class Asking(Generic[T]):
    """One question. It is asked in a thread of its own, for nothing ends a call that hangs in a driver."""

    def __init__(self, name: str, question: Callable[..., T]) -> None:
        """`question` may take any time and raise what it likes; `name` is what it is put to."""
        self._name, self._question = name, question
        self._under_way: threading.Thread | None = None
        self._lock = threading.Lock()

    def ask(self, patience: float, *given: Any) -> T:
        """Return the answer, or raise what the question raises; NoAnswer after `patience` seconds, at once while an earlier one hangs."""
        kept: list[tuple[T | None, BaseException | None]] = []

        def answer() -> None:
            try:
                kept.append((self._question(*given), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
                kept.append((None, error))

        with self._lock:
            if self._under_way is not None and self._under_way.is_alive():
                raise NoAnswer(f"{self._name} has not answered an earlier question yet")
            self._under_way = thread = threading.Thread(target=answer, name=f"asks {self._name}", daemon=True)
            thread.start()
        thread.join(patience)
        if not kept:
            raise NoAnswer(f"{self._name} did not answer within {patience:g} s")
        value, error = kept[0]
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # there is one where there is no error
