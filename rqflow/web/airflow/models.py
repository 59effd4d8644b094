"""What goes in and out, in Airflow's words: the names and types are those of its API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, model_validator

from rqflow.values import is_text

#: The release of Airflow whose API this is.
AIRFLOW = "2.10.0"
#: A date with time and zone, written as Airflow writes it.
Moment = Annotated[datetime, PlainSerializer(lambda moment: moment.isoformat(), return_type=str)]


class Given(BaseModel):
    """The body of a request. What Airflow does not know there, or gives out only, is refused as it does."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def has_texts(self) -> Self:
        """Refuse names that no database takes as text."""
        for name in self.model_fields_set:
            value = getattr(self, name)
            for one in value if isinstance(value, list) else (value,):
                if isinstance(one, str) and not is_text(one):
                    raise ValueError(f"{name}: it has characters in it that are no text")
        return self


class Tag(BaseModel):
    """A tag of a DAG."""

    name: str


class Dag(BaseModel):
    """A DAG as lists have it. What rqflow has nothing of is as in an Airflow that does not use it."""

    dag_id: str
    dag_display_name: str
    root_dag_id: str | None = None
    is_paused: bool
    is_active: bool
    is_subdag: bool = False
    last_parsed_time: Moment | None
    last_pickled: Moment | None = None
    last_expired: Moment | None = None
    scheduler_lock: bool | None = None
    pickle_id: str | None = None
    default_view: str | None = "grid"
    fileloc: str
    file_token: str
    owners: list[str]
    description: str | None
    schedule_interval: dict[str, Any] | None
    timetable_description: str | None
    tags: list[Tag]
    max_active_tasks: int | None
    max_active_runs: int | None
    max_consecutive_failed_dag_runs: int | None
    has_task_concurrency_limits: bool
    has_import_errors: bool
    next_dagrun: Moment | None
    next_dagrun_data_interval_start: Moment | None
    next_dagrun_data_interval_end: Moment | None
    next_dagrun_create_after: Moment | None


class DagDetail(Dag):
    """A DAG with what its file says."""

    timezone: str
    catchup: bool | None
    orientation: str | None = "LR"
    concurrency: int | None
    start_date: Moment | None
    end_date: Moment | None
    dag_run_timeout: dict[str, Any] | None
    dataset_expression: None = None
    doc_md: str | None
    params: dict[str, Any]
    is_paused_upon_creation: bool | None
    last_parsed: Moment | None
    template_search_path: list[str] | None
    render_template_as_native_obj: bool


class DagList(BaseModel):
    """Some DAGs."""

    dags: list[Dag]
    total_entries: int


class DagChange(Given):
    """What may be changed of a DAG."""

    is_paused: bool | None = None


class DagRun(BaseModel):
    """A run."""

    conf: dict[str, Any]
    dag_id: str
    dag_run_id: str
    execution_date: Moment | None
    logical_date: Moment | None
    data_interval_start: Moment | None
    data_interval_end: Moment | None
    start_date: Moment | None
    end_date: Moment | None
    external_trigger: bool
    last_scheduling_decision: Moment | None = None
    note: str | None
    run_type: str
    state: str


class DagRunList(BaseModel):
    """Some runs."""

    dag_runs: list[DagRun]
    total_entries: int


class NewDagRun(Given):
    """A run that is to be started."""

    dag_run_id: str | None = None
    logical_date: datetime | None = None
    execution_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    conf: dict[str, Any] | None = None
    note: str | None = None


class DagRunsWanted(Given):
    """Which runs of any DAG, for a question that is too long for an address."""

    order_by: str | None = None
    page_offset: int = 0
    page_limit: int = 100
    dag_ids: list[str] | None = None
    states: list[str | None] | None = None
    execution_date_gte: datetime | None = None
    execution_date_lte: datetime | None = None
    start_date_gte: datetime | None = None
    start_date_lte: datetime | None = None
    end_date_gte: datetime | None = None
    end_date_lte: datetime | None = None


class DagRunChange(Given):
    """What a run is to be."""

    state: Literal["success", "failed", "queued"]


class Dry(Given):
    """Whether it is only said what would be done, which it is unless somebody says otherwise."""

    dry_run: bool = True


class Note(Given):
    """A remark."""

    note: str | None


class Task(BaseModel):
    """A task of a DAG."""

    class_ref: dict[str, str]
    task_id: str
    task_display_name: str
    owner: str
    start_date: Moment | None
    end_date: Moment | None
    trigger_rule: str
    extra_links: list[dict[str, Any]]
    depends_on_past: bool
    is_mapped: bool = False
    wait_for_downstream: bool
    retries: int
    queue: str | None
    executor: str | None = None
    pool: str
    pool_slots: int
    execution_timeout: dict[str, Any] | None
    retry_delay: dict[str, Any] | None
    retry_exponential_backoff: bool
    priority_weight: int
    #: The weight is the effective one, after the author's rule.
    weight_rule: str = "absolute"
    ui_color: str = "#fff"
    ui_fgcolor: str = "#000"
    template_fields: list[str]
    downstream_task_ids: list[str]
    doc_md: str | None


class TaskList(BaseModel):
    """The tasks of a DAG."""

    tasks: list[Task]
    total_entries: int
