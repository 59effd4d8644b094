"""Starting a run of another DAG, and waiting for its end when that is wanted."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from rqflow import clock
from rqflow.dag import readers
from rqflow.dag.airflow.exceptions import AirflowRescheduleException, AirflowSkipException
from rqflow.dag.asking import RUN_STATE, START_RUN, ask_lastingly
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.exceptions import RqflowError, TaskFailed
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, asking, from_result, python_child
from rqflow.operators.foreign import read_states
from rqflow.states import TERMINAL_RUN_STATES, RunState

#: XComs under Airflow's names: the run that was started, and its logical date.
RUN_ID, LOGICAL_DATE, EXECUTION_DATE = "trigger_run_id", "trigger_logical_date_iso", "trigger_execution_date_iso"


class DagRunOrder:
    """What a python_callable of Airflow 1.x fills in: `payload` becomes the conf of the run."""

    def __init__(self, run_id: str | None = None, payload: Any = None) -> None:
        """Keep both."""
        self.run_id, self.payload = run_id, payload


class TriggerDagRunOperator(BaseOperator):
    """Start a run of the DAG `trigger_dag_id` with `conf`, for `logical_date` (execution_date) and under `trigger_run_id` where they are given.

    A run of that id is cleared and runs again with reset_dag_run, skips this task with skip_when_already_exists, and fails it otherwise.
    With wait_for_completion the task waits until the run is in one of `allowed_states` or, failing then, of `failed_states`; it looks
    every `poke_interval` and, with deferrable, gives its slot back meanwhile. The 1.x `python_callable(context, order)` returns the order,
    or None to start nothing.
    """

    kind: ClassVar[str] = "trigger_dag"
    template_fields: Sequence[str] = ("trigger_dag_id", "trigger_run_id", "logical_date", "conf")
    field_names: ClassVar[tuple[str, ...]] = (
        "trigger_dag_id", "trigger_run_id", "logical_date", "conf", "reset_dag_run", "wait_for_completion", "poke_interval", "allowed_states",
        "failed_states", "skip_when_already_exists", "fail_when_dag_is_paused", "deferrable", "python_callable",
    )  # fmt: skip

    def __init__(
        self,
        *,
        trigger_dag_id: Any,
        trigger_run_id: Any = None,
        conf: Any = None,
        logical_date: Any = None,
        execution_date: Any = None,
        reset_dag_run: bool = False,
        wait_for_completion: bool = False,
        poke_interval: Any = 60,
        allowed_states: Any = None,
        failed_states: Any = None,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        deferrable: bool = False,
        python_callable: Any = None,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.trigger_dag_id, self.trigger_run_id, self.conf = trigger_dag_id, trigger_run_id, conf
        date = execution_date if logical_date is None else logical_date
        self.logical_date = self.execution_date = date.isoformat() if isinstance(date, datetime) else date
        self.reset_dag_run, self.wait_for_completion = bool(reset_dag_run), bool(wait_for_completion)
        self.skip_when_already_exists, self.fail_when_dag_is_paused = bool(skip_when_already_exists), bool(fail_when_dag_is_paused)
        self.deferrable, self.python_callable = bool(deferrable), python_callable
        self.allowed_states = read_states(self, "allowed_states", allowed_states, RunState, ["success"])
        self.failed_states = read_states(self, "failed_states", failed_states, RunState, ["failed", "cancelled"])
        try:
            self.poke_interval = readers.duration(poke_interval).total_seconds()
        except ValueError as error:
            report(f"task {self.task_id}: poke_interval={readers.shown('poke_interval', poke_interval)} {error}", self.origin)
        if python_callable is not None and not callable(python_callable):
            report(f"task {self.task_id}: python_callable must be a function, not {python_callable!r}: was it called?", self.origin)

    def execute(self, context: Mapping[str, Any]) -> None:
        """Start the run, and wait for it; raises TaskFailed, AirflowSkipException, AirflowRescheduleException."""
        ti = context["ti"]
        run_id = ti.xcom_pull(task_ids=ti.task_id, key=RUN_ID) if ti.looks else None
        if run_id is None:
            run_id = self._start(context)
        if run_id is not None and self.wait_for_completion:
            self._wait(run_id)

    def _start(self, context: Mapping[str, Any]) -> str | None:
        """Start the run and return its id; None when the callable wants none."""
        ti, order = context["ti"], self._order(context)
        if order is None:
            self.log.info("python_callable wants no run")
            return None
        wish = {
            "dag_id": self.trigger_dag_id, "run_id": order.run_id, "conf": _conf(order.payload), "logical_date": self._date(),
            "if_exists": "reset" if self.reset_dag_run else "tell", "refuses_paused": self.fail_when_dag_is_paused,
            "by": f"task {ti.task_id} of {ti.dag_id} {ti.run_id}", "since": clock.to_micros(clock.utcnow()),
        }  # fmt: skip
        try:
            answer = ask_lastingly(START_RUN, wish, self.log)
        except TaskFailed:
            raise
        except RqflowError as error:
            raise TaskFailed(f"the hub starts no run of {self.trigger_dag_id}: {error.message}", hint=error.hint) from None
        if answer.get("existed"):
            said = f"{self.trigger_dag_id} has a run {answer['run_id']} already"
            if self.skip_when_already_exists:
                raise AirflowSkipException(said)
            raise TaskFailed(said, hint="reset_dag_run=True clears it and lets it run again.")
        self.log.info("%s run %s of %s", "cleared" if answer.get("was_reset") else "started", answer["run_id"], self.trigger_dag_id)
        ti.xcom_push(key=RUN_ID, value=answer["run_id"])
        for key in (LOGICAL_DATE, EXECUTION_DATE):
            ti.xcom_push(key=key, value=answer["logical_date"])
        return str(answer["run_id"])

    def _order(self, context: Mapping[str, Any]) -> DagRunOrder | None:
        if self.python_callable is None:
            return DagRunOrder(self.trigger_run_id, self.conf)
        order: DagRunOrder | None = self.python_callable(context, DagRunOrder(self.trigger_run_id or f"trig__{clock.utcnow().isoformat()}"))
        if order is not None and not hasattr(order, "payload"):
            raise TaskFailed(f"python_callable must return the order that it was given, or None, not {order!r:.100}")
        return order

    def _date(self) -> str | None:
        if self.logical_date in (None, ""):
            return None
        try:
            return readers.moment(self.logical_date).isoformat()
        except ValueError as error:
            raise TaskFailed(f"logical_date is {self.logical_date!r}; it {error}") from None

    def _wait(self, run_id: str) -> None:
        while True:
            state = ask_lastingly(RUN_STATE, {"dag_id": self.trigger_dag_id, "run_id": run_id}, self.log)["state"]
            self.log.info("run %s of %s is %s", run_id, self.trigger_dag_id, state)
            if state in self.failed_states:
                raise TaskFailed(f"run {run_id} of {self.trigger_dag_id} is {state}")
            if state in self.allowed_states:
                return
            if _has_ended(state):
                raise TaskFailed(f"run {run_id} of {self.trigger_dag_id} is {state}, which allowed_states do not name")
            if self.deferrable:
                raise AirflowRescheduleException(clock.utcnow() + timedelta(seconds=self.poke_interval))
            clock.sleep(self.poke_interval)

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child, which asks the hub."""
        return asking(python_child(job, fields))

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)


def _has_ended(state: str) -> bool:
    ended: Collection[str] = {one.value for one in TERMINAL_RUN_STATES}
    return state in ended


def _conf(given: Any) -> dict[str, Any]:
    """Return a conf as JSON can hold it; raises TaskFailed."""
    try:
        conf = json.loads(given) if isinstance(given, str) else json.loads(json.dumps(given if given is not None else {}))
    except (TypeError, ValueError) as error:
        raise TaskFailed(f"conf must be a dictionary that JSON can hold: {error}") from None
    if not isinstance(conf, dict):
        raise TaskFailed(f"conf must be a dictionary, not {given!r:.100}")
    return conf
