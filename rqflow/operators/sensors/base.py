"""What all sensors are: they look again and again until what they wait for is there, or they have waited too long."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from rqflow import clock
from rqflow.dag import readers
from rqflow.dag.airflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.exceptions import SkipTask
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, python_child
from rqflow.values import format_duration

POKE, RESCHEDULE = "poke", "reschedule"
INTERVAL, TIMEOUT = timedelta(seconds=60), timedelta(days=7)
#: Seconds below which a slot is kept also in reschedule mode: giving it back and starting anew would take about as long.
_NOT_WORTH_IT = 0.5
#: The longest wait to which exponential_backoff grows unless max_wait says otherwise, in seconds.
_LONGEST_BACKOFF = 86400.0


class PokeReturnValue:
    """What `poke` may return in place of a bool: whether it is done, and what becomes the XCom then."""

    def __init__(self, is_done: bool, xcom_value: Any = None) -> None:
        """Keep both."""
        self.is_done, self.xcom_value = is_done, xcom_value

    def __bool__(self) -> bool:
        """Tell whether it is done."""
        return self.is_done


class BaseSensorOperator(BaseOperator):
    """Call `poke(context)` every `poke_interval` until it returns true; fail, without a further try, when that takes longer than `timeout`.

    In mode "poke" the task keeps its slot while it waits; in mode "reschedule", which deferrable=True means too, it gives the slot back
    between two looks, and the try goes on with the next one. With soft_fail a timeout skips the task. With exponential_backoff the
    interval doubles after each look, up to max_wait. silent_fail takes an error of `poke` as "not yet", never_fail lets it skip the task.
    """

    kind: ClassVar[str] = "sensor"
    #: The mode of those that name none.
    default_mode: ClassVar[str] = POKE
    field_names: ClassVar[tuple[str, ...]] = ("poke_interval", "timeout", "mode", "soft_fail", "exponential_backoff", "max_wait")

    def __init__(
        self,
        *,
        poke_interval: Any = INTERVAL,
        timeout: Any = TIMEOUT,
        mode: Any = None,
        soft_fail: Any = False,
        exponential_backoff: Any = False,
        max_wait: Any = None,
        silent_fail: Any = False,
        never_fail: Any = False,
        deferrable: Any = False,
        **kwargs: Any,
    ) -> None:
        """Make the task; poke_interval, timeout and max_wait are seconds or timedeltas."""
        super().__init__(**kwargs)
        self.poke_interval = self._given("poke_interval", poke_interval, _seconds, INTERVAL.total_seconds())
        self.timeout = self._given("timeout", timeout, _seconds, TIMEOUT.total_seconds())
        self.max_wait = self._given("max_wait", max_wait, _seconds, None)
        self.mode = self._given("mode", mode, readers.one_of(POKE, RESCHEDULE), self.default_mode)
        self.soft_fail = self._given("soft_fail", soft_fail, readers.flag, False)
        self.exponential_backoff = self._given("exponential_backoff", exponential_backoff, readers.flag, False)
        self.silent_fail = self._given("silent_fail", silent_fail, readers.flag, False)
        self.never_fail = self._given("never_fail", never_fail, readers.flag, False)
        self.deferrable = self._given("deferrable", deferrable, readers.flag, False)
        if self.deferrable:
            self.mode = RESCHEDULE
        if self.soft_fail and self.never_fail:
            report(f"task {self.task_id}: soft_fail and never_fail exclude one another", self.origin)

    def _given(self, name: str, value: Any, read: readers.Reader, default: Any) -> Any:
        """Return a value as it is read, the default for None; one that cannot be used is reported."""
        try:
            return default if value is None else read(value)
        except ValueError as error:
            report(f"task {self.task_id}: {name}={readers.shown(name, value)} {error}", self.origin)
            return default

    @property
    def reschedule(self) -> bool:
        """Whether it gives its slot back between two looks."""
        return bool(self.mode == RESCHEDULE)

    def poke(self, context: Mapping[str, Any]) -> Any:
        """Look once: return true, or a PokeReturnValue, when what is waited for is there."""
        raise NotImplementedError(f"{type(self).__name__} has no poke()")

    def look_at(self, context: Mapping[str, Any]) -> datetime | None:  # noqa: ARG002 (subclasses use it)
        """Return the moment before which a look would be in vain, aware; None when that is not known."""
        return None

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Look until it is done; raises AirflowRescheduleException to go on later, AirflowSensorTimeout, AirflowSkipException."""
        ti = context.get("ti")
        looks, began = getattr(ti, "looks", 0), clock.monotonic()
        start = getattr(ti, "start_date", None)
        waited = max((clock.utcnow() - start).total_seconds(), 0.0) if start else 0.0
        while True:
            answer = self._look(context)
            looks += 1
            if answer:
                self.log.info("what it waited for is there")
                return answer.xcom_value if isinstance(answer, PokeReturnValue) else None
            passed = waited + clock.monotonic() - began
            if passed >= self.timeout:
                self._give_up(passed)
            wait = min(self._wait(context, looks), self.timeout - passed)
            if self.mode == RESCHEDULE and wait >= _NOT_WORTH_IT:
                raise AirflowRescheduleException(clock.utcnow() + timedelta(seconds=wait))
            clock.sleep(wait)

    def _look(self, context: Mapping[str, Any]) -> Any:
        try:
            return self.poke(context)
        except (AirflowSkipException, SkipTask, AirflowRescheduleException):
            raise
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"{error}, and the task is skipped then") from error
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.exception("this look failed; it is taken as not yet")
                return False
            if self.never_fail:
                raise AirflowSkipException(f"its look failed, and never_fail is set: {error}") from error
            raise

    def _give_up(self, passed: float) -> None:
        waited = format_duration(timedelta(seconds=round(passed, 1)))
        said = f"timed out: it has waited {waited}; its timeout is {format_duration(timedelta(seconds=self.timeout))}"
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(f"{said}; the task is skipped then")
        raise AirflowSensorTimeout(said)

    def _wait(self, context: Mapping[str, Any], looks: int) -> float:
        """Return the seconds until the next look, after so many."""
        moment = self.look_at(context)
        if moment is not None:
            return max((moment - clock.utcnow()).total_seconds(), 0.0)
        if not self.exponential_backoff:
            return float(self.poke_interval)
        least = min(self.poke_interval * 2.0 ** min(looks - 1, 40), _LONGEST_BACKOFF)
        # Up to as much again, so that many sensors that began together do not look together; the same look always waits as long.
        ti = context.get("ti")
        digest = hashlib.sha256(f"{self.task_id}#{getattr(ti, 'run_id', '')}#{looks}".encode()).digest()
        spread = least * (1 + int.from_bytes(digest[:4], "big") / 2**32)
        return float(min(spread, _LONGEST_BACKOFF if self.max_wait is None else self.max_wait))

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child that looks."""
        return python_child(job, fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)


def _seconds(value: Any) -> float:
    return readers.duration(value).total_seconds()
