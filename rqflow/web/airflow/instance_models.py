"""Task instances and XComs as they go in and out, in Airflow's words."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from rqflow.web.airflow.models import Dry, Given, Moment


class TaskInstance(BaseModel):
    """A task of a run, or one try of it. There are no mapped tasks: `map_index` is -1."""

    task_id: str
    task_display_name: str
    dag_id: str
    dag_run_id: str
    execution_date: Moment | None
    start_date: Moment | None
    end_date: Moment | None
    duration: float | None
    state: str | None
    try_number: int
    map_index: int = -1
    max_tries: int
    hostname: str
    unixname: str = ""
    pool: str
    pool_slots: int
    queue: str
    priority_weight: int
    operator: str
    queued_when: Moment | None
    pid: int | None
    executor: str | None = None
    executor_config: str = "{}"
    note: str | None = None
    sla_miss: dict[str, Any] | None = None
    rendered_map_index: str | None = None
    rendered_fields: dict[str, Any] = {}
    trigger: None = None
    triggerer_job: None = None


class TaskInstanceList(BaseModel):
    """Some of them."""

    task_instances: list[TaskInstance]
    total_entries: int


class TaskInstanceReference(BaseModel):
    """The name of a task of a run."""

    task_id: str
    dag_id: str
    execution_date: Moment | None
    dag_run_id: str


class TaskInstanceReferenceList(BaseModel):
    """Some names."""

    task_instances: list[TaskInstanceReference]


class TaskInstancesWanted(Given):
    """Which task instances of any DAG."""

    dag_ids: list[str] | None = None
    dag_run_ids: list[str] | None = None
    task_ids: list[str] | None = None
    state: list[str | None] | None = None
    pool: list[str] | None = None
    queue: list[str] | None = None
    executor: list[str] | None = None
    execution_date_gte: datetime | None = None
    execution_date_lte: datetime | None = None
    start_date_gte: datetime | None = None
    start_date_lte: datetime | None = None
    end_date_gte: datetime | None = None
    end_date_lte: datetime | None = None
    duration_gte: float | None = None
    duration_lte: float | None = None
    page_offset: int = 0
    page_limit: int = 100
    order_by: str | None = None


class TaskInstanceChange(Dry):
    """The state that a task of a run is to get."""

    new_state: Literal["success", "failed", "skipped"]


class TaskInstancesChange(TaskInstanceChange):
    """The same for tasks beside it, and in other runs."""

    task_id: str
    execution_date: datetime | None = None
    dag_run_id: str | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_past: bool = False
    include_future: bool = False


class TaskInstancesClear(Dry):
    """What is to run again."""

    task_ids: list[str | list[str | int]] | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    only_failed: bool = True
    only_running: bool = False
    include_subdags: bool = False
    include_parentdag: bool = False
    reset_dag_runs: bool = False
    dag_run_id: str | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_future: bool = False
    include_past: bool = False


class XComItem(BaseModel):
    """The name of an XCom."""

    key: str
    timestamp: Moment
    execution_date: Moment | None
    map_index: int = -1
    task_id: str
    dag_id: str


class XCom(XComItem):
    """An XCom with its value."""

    value: Any


class XComList(BaseModel):
    """Some names of XComs."""

    xcom_entries: list[XComItem]
    total_entries: int
