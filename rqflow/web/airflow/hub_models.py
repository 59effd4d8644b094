"""Pools, Variables, Connections and what a hub says of itself, as they go in and out, in Airflow's words."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from rqflow.web.airflow.models import Given, Moment


class Pool(BaseModel):
    """A pool. No task is ever deferred."""

    name: str
    slots: int
    occupied_slots: int
    running_slots: int
    queued_slots: int = 0
    scheduled_slots: int
    open_slots: int
    deferred_slots: int = 0
    description: str | None
    include_deferred: bool = False


class PoolList(BaseModel):
    """Some pools."""

    pools: list[Pool]
    total_entries: int


class PoolGiven(Given):
    """What a pool is to be."""

    name: str | None = None
    slots: int | None = None
    description: str | None = None
    include_deferred: bool | None = None


class Status(BaseModel):
    """How a part is."""

    status: str | None


class Health(BaseModel):
    """How the parts of a hub are."""

    metadatabase: Status
    scheduler: dict[str, str | None]
    triggerer: dict[str, str | None]
    dag_processor: dict[str, str | None]


class VersionInfo(BaseModel):
    """A release."""

    version: str
    git_version: str | None


class BrokenFile(BaseModel):
    """A file that could not be loaded."""

    import_error_id: int
    timestamp: Moment
    filename: str
    stack_trace: str


class BrokenFileList(BaseModel):
    """Some of them."""

    import_errors: list[BrokenFile]
    total_entries: int


class EventLog(BaseModel):
    """Something that a person did."""

    event_log_id: int
    when: Moment
    dag_id: str | None
    task_id: str | None
    run_id: str | None
    map_index: int | None = None
    try_number: int | None
    event: str
    execution_date: Moment | None
    owner: str | None
    extra: str | None


class EventLogList(BaseModel):
    """Some deeds."""

    event_logs: list[EventLog]
    total_entries: int


class Variable(BaseModel):
    """A Variable."""

    key: str
    value: str
    description: str | None


class VariableList(BaseModel):
    """Some Variables."""

    variables: list[Variable]
    total_entries: int


class VariableGiven(Given):
    """What a Variable is to be."""

    key: str | None = None
    value: str | None = None
    description: str | None = None


class ConnectionItem(BaseModel):
    """A Connection as lists have it."""

    model_config = ConfigDict(protected_namespaces=(), populate_by_name=True)

    connection_id: str
    conn_type: str
    description: str | None
    host: str | None
    login: str | None
    # A model has a method of this name already.
    schema_: str | None = Field(alias="schema")
    port: int | None


class Connection(ConnectionItem):
    """A Connection."""

    extra: str | None


class ConnectionList(BaseModel):
    """Some Connections."""

    connections: list[ConnectionItem]
    total_entries: int


class ConnectionGiven(Given):
    """What a Connection is to be."""

    connection_id: str | None = None
    conn_type: str | None = None
    description: str | None = None
    host: str | None = None
    login: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    port: int | None = None
    password: str | None = None
    extra: str | None = None
