"""A DAG in the place of a task, as Airflow had it before task groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rqflow.dag.airflow.standin import StandIn
from rqflow.dag.airflow.uses import message
from rqflow.dag.model import DAG
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.operators.empty import DummyOperator


class SubDagOperator(BaseOperator):
    """The tasks of `subdag`, whose dag_id must be PARENT.TASK_ID, as a group of this DAG: they run as tasks `TASK_ID.task` of its runs.

    They keep the default_args, params, pools and dates of their DAG; its schedule and concurrency mean nothing. The trigger rule of the
    operator is that of the tasks with which it begins.
    """

    kind: ClassVar[str] = "subdag"

    def __init__(
        self,
        *,
        subdag: Any,
        session: Any = None,
        conf: Any = None,
        executor: Any = None,
        propagate_skipped_state: Any = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        """Make the place; whatever else Airflow took is taken and ignored, since the tasks are the DAG's own."""
        super().__init__(**kwargs)
        del session, conf, executor, propagate_skipped_state, parent
        self.subdag = subdag
        if isinstance(subdag, StandIn):
            self.__dict__["unsupported"] = message(subdag.airflow_path.rstrip("()"))
        elif not isinstance(subdag, DAG):
            report(f"task {self.task_id}: subdag must be a DAG, not {subdag!r:.100}", self.origin)
        elif self.has_dag():
            subdag.is_subdag = True
            wanted = f"{self.dag.dag_id}.{self.task_id}"
            if subdag.dag_id not in {wanted, f"{self.dag.dag_id}.{self.label}"}:
                report(f"task {self.task_id}: the dag_id of its subdag must be {wanted!r}, not {subdag.dag_id!r}", self.origin)

    def execute(self, context: Mapping[str, Any]) -> None:
        """Do nothing: there is no such task once the DAG is loaded."""


def subdag(parent_dag_name: str, child_dag_name: str, args: Mapping[str, Any]) -> DAG:
    """Return the DAG of five empty tasks that Airflow's examples import for their SubDags."""
    made = DAG(dag_id=f"{parent_dag_name}.{child_dag_name}", default_args=dict(args), schedule_interval="@daily")
    for number in range(1, 6):
        DummyOperator(task_id=f"{child_dag_name}-task-{number}", dag=made)
    return made
