"""What templates and callables see of the run, the DAG and the task, under Airflow's names: `dag_run`, `dag`, `task`, `ti`.

The views are made from a version and a run, so they need no DAG object. Those that hold values from outside hand them out marked
(taint.py), and tell them by `outside_values`, when they are made for rendering.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from rqflow.dag.frame import Frame, copied
from rqflow.dag.outside_views import ConfView
from rqflow.dag.run import BACKFILL, MANUAL
from rqflow.dag.taint import join
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcom_view import RETURN_VALUE


class DagRunView:
    """The run: `dag_run`."""

    def __init__(self, frame: Frame) -> None:
        """Show the run of `frame`."""
        run = frame.run
        self.dag_id = frame.shown()[0]
        self.run_id = frame.outside(run.run_id, "run_id")
        self.run_type = run.run_type
        self.conf = frame.outside(dict(run.conf), "dag_run.conf")
        self.note = frame.outside(run.note, "dag_run.note")
        self.id = int(run.key[:12], 16)
        self.logical_date = self.execution_date = frame.date(run.logical_date)
        self.data_interval_start = frame.date(run.data_interval_start)
        self.data_interval_end = frame.date(run.data_interval_end)
        self.start_date = self.queued_at = frame.date(run.created_at)
        self.run_after = frame.date(run.data_interval_end)
        self.end_date = None
        self.state = "running"
        self.external_trigger = run.run_type == MANUAL
        self.dag_hash = run.version
        self.is_backfill = run.run_type == BACKFILL

    def outside_values(self) -> tuple[Any, ...]:
        """Give what comes from outside."""
        return self.run_id, self.conf, self.note

    def __str__(self) -> str:
        """Return it as Airflow prints a run."""
        return join([f"<DagRun {self.dag_id} @ {self.logical_date}: ", self.run_id, f", state:{self.state}>"])

    __repr__ = __str__


class DagView:
    """The DAG as its version has it: `dag`."""

    def __init__(self, frame: Frame) -> None:
        """Show the version of `frame`."""
        version = frame.version
        self.dag_id = self.dag_display_name = frame.shown()[0]
        self.description, self.doc_md, self.owner, self.tags = version.description, version.doc_md, version.owner, list(version.tags)
        self.schedule_interval = self.schedule = version.schedule
        self.timezone = version.timezone
        self.start_date, self.end_date = frame.date(version.start_date), frame.date(version.end_date)
        self.catchup, self.max_active_runs, self.max_active_tasks = version.catchup, version.max_active_runs, version.max_active_tasks
        self.params, self.default_args = copied(version.params), copied(version.default_args)
        self.fileloc = self.filepath = self.full_filepath = version.file
        self.folder = version.file.rpartition("/")[0] or "."
        self.task_ids = [task.task_id for task in version.tasks]
        self.task_count = len(version.tasks)
        self._frame = frame

    @property
    def tasks(self) -> list[TaskView]:
        """All tasks."""
        return [TaskView(self._frame, spec) for spec in self._frame.version.tasks]

    def get_task(self, task_id: str) -> TaskView:
        """Return a task; raises KeyError."""
        return TaskView(self._frame, self._frame.version.by_id[task_id])

    def has_task(self, task_id: str) -> bool:
        """Tell whether there is a task of this id."""
        return task_id in self._frame.version.by_id

    def __str__(self) -> str:
        """Return it as Airflow prints a DAG."""
        return f"<DAG: {self.dag_id}>"

    __repr__ = __str__


class TaskView:
    """A task as its version has it: `task`. Arguments of the operator are attributes."""

    def __init__(self, frame: Frame, spec: TaskSpec) -> None:
        """Show `spec`."""
        self._frame, self._spec = frame, spec
        self.dag_id, self.task_id = frame.shown(spec)
        self.label = self.task_display_name = self.task_id
        self.owner, self.queue, self.pool, self.pool_slots = spec.owner, spec.queue, spec.pool, spec.pool_slots
        self.task_type = self.operator_name = spec.operator_name
        self.retries, self.retry_delay = spec.retries, timedelta(seconds=spec.retry_delay)
        self.execution_timeout = None if spec.execution_timeout is None else timedelta(seconds=spec.execution_timeout)
        self.trigger_rule, self.priority_weight, self.weight_rule = spec.trigger_rule, spec.weight, "absolute"
        self.depends_on_past, self.wait_for_downstream = spec.depends_on_past, spec.wait_for_downstream
        self.email, self.params, self.doc_md = list(spec.email), copied(spec.params), spec.doc
        self.start_date, self.end_date = frame.date(spec.start_date), frame.date(spec.end_date)
        tasks = frame.version.tasks
        self.upstream_task_ids = {frame.shown(tasks[index])[1] for index in spec.upstream}
        self.downstream_task_ids = {frame.shown(tasks[index])[1] for index in spec.downstream}

    @property
    def dag(self) -> DagView:
        """The DAG."""
        return DagView(self._frame)

    @property
    def upstream_list(self) -> list[TaskView]:
        """The direct upstream tasks."""
        return [TaskView(self._frame, self._frame.version.tasks[index]) for index in self._spec.upstream]

    @property
    def downstream_list(self) -> list[TaskView]:
        """The direct downstream tasks."""
        return [TaskView(self._frame, self._frame.version.tasks[index]) for index in self._spec.downstream]

    def __getattr__(self, name: str) -> Any:
        """Return an argument of the operator, as written."""
        if name.startswith("_") or name not in self._spec.fields:
            raise AttributeError(f"task {self.task_id!r} has no {name}")
        return copied(self._spec.fields[name])

    def __str__(self) -> str:
        """Return it as Airflow prints a task."""
        return f"<Task({self.task_type}): {self.task_id}>"

    __repr__ = __str__


class TaskInstanceView:
    """The task in this run: `ti`, `task_instance`."""

    def __init__(self, frame: Frame, dag_run: DagRunView, task: Any) -> None:
        """Show the try of `frame`."""
        spec = frame.task
        self._frame = frame
        self.dag_run, self.task = dag_run, task
        (self.dag_id, self.task_id), self.run_id = frame.shown(), dag_run.run_id
        self.execution_date = self.logical_date = dag_run.logical_date
        self.try_number = frame.try_number
        self.prev_attempted_tries = frame.try_number - 1
        self.max_tries = spec.retries
        self.map_index = -1
        self.hostname, self.unixname = frame.hostname, ""
        self.queue, self.pool, self.pool_slots, self.priority_weight = spec.queue, spec.pool, spec.pool_slots, spec.weight
        self.operator = spec.operator_name
        self.state = "running"
        #: When the try began; that of a sensor which gave its slot back meanwhile, when it looked for the first time.
        self.start_date = frame.date(frame.started_at)
        self.looks = frame.looks
        self.end_date = self.duration = self.pid = self.job_id = None
        self.test_mode = frame.test_mode
        self.rendered_task_instance_fields: dict[str, Any] = {}
        self.log = None if frame.marked else logging.getLogger("airflow.task")

    @property
    def key(self) -> tuple[Any, ...]:
        """What names this try: DAG, task, run, try."""
        return self.dag_id, self.task_id, self.run_id, self.try_number

    @property
    def log_url(self) -> str:
        """Where the page shows the log of this task."""
        base = ConfView().get("webserver", "base_url", fallback="http://localhost:8080")
        date = quote(self._frame.run.logical_date.isoformat())
        return f"{base}/log?execution_date={date}&task_id={quote(self.task_id)}&dag_id={quote(self.dag_id)}"

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str | None = RETURN_VALUE,
        *_: Any,
        default: Any = None,
        **_more: Any,
    ) -> Any:
        """Return what a task of this run pushed under `key`, under any when it is None; a list for several tasks, the latest of any for none.

        Raises NotImplementedError for another DAG's.
        """
        if self._frame.place("", dag_id) is None:
            raise NotImplementedError(f"xcom_pull of another DAG ({dag_id}) is not supported yet")
        xcoms = self._frame.xcoms
        if task_ids is None:
            return self._frame.outside(xcoms.pull_any(key, default), "xcom_pull()")

        def pull(one: str) -> Any:
            return self._frame.outside(xcoms.pull(self._frame.place(one, dag_id) or one, key, default), f"xcom_pull({one!r})")

        return pull(str(task_ids)) if isinstance(task_ids, str) else [pull(str(one)) for one in task_ids]

    def xcom_push(self, key: str, value: Any, *_: Any, **_more: Any) -> None:
        """Leave `value` under `key` for later tasks; kept when the try ends."""
        self._frame.xcoms.push(self._frame.task.task_id, str(key), value)

    @property
    def version(self) -> Version:
        """The version of the DAG that this try is of."""
        return self._frame.version

    def get_dagrun(self, *_: Any) -> DagRunView:
        """Return the run."""
        return self.dag_run

    def outside_values(self) -> tuple[Any, ...]:
        """Give what comes from outside."""
        return self.dag_run.outside_values()

    def __str__(self) -> str:
        """Return it as Airflow prints a task instance."""
        return join([f"<TaskInstance: {self.dag_id}.{self.task_id} ", self.run_id, f" [{self.state}]>"])

    __repr__ = __str__
