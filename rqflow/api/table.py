"""All operations, by name."""

from __future__ import annotations

from typing import Any

from rqflow.api import (
    account,
    audit,
    backfills,
    connections,
    dags,
    health,
    logs,
    notices,
    owners,
    pools,
    queues,
    reports,
    runs,
    search,
    sessions,
    sharing,
    slas,
    standing,
    submitting,
    tasks,
    tokens,
    users,
    variables,
    versions,
    workers,
    xcoms,
)
from rqflow.api.operation import Operation

#: Modules that declare operations, in the order of the reference.
ROOMS = (
    dags,
    submitting,
    versions,
    sharing,
    runs,
    backfills,
    reports,
    tasks,
    logs,
    xcoms,
    workers,
    queues,
    pools,
    variables,
    connections,
    slas,
    notices,
    users,
    owners,
    tokens,
    sessions,
    account,
    audit,
    health,
    search,
    standing,
)
OPERATIONS: tuple[Operation[Any, Any], ...] = tuple(value for room in ROOMS for value in vars(room).values()
                                                    if isinstance(value, Operation) and value.run.__module__ == room.__name__)
BY_NAME: dict[str, Operation[Any, Any]] = {one.name: one for one in OPERATIONS}
