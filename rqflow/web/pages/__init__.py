"""The pages: a module each, with its routes."""

from __future__ import annotations

from rqflow.web.pages import (
    account,
    audit,
    backfills,
    connections,
    dag,
    dag_code,
    dag_details,
    dag_durations,
    dag_graph,
    dags,
    home,
    logs,
    oidc,
    pools,
    run,
    run_deeds,
    runs,
    session,
    trigger,
    users,
    variables,
    workers,
)

#: Modules with a router, in the order in which paths are looked up.
PAGES = (
    account,
    audit,
    backfills,
    connections,
    dag,
    dag_code,
    dag_details,
    dag_durations,
    dag_graph,
    dags,
    home,
    logs,
    oidc,
    pools,
    run,
    run_deeds,
    runs,
    session,
    trigger,
    users,
    variables,
    workers,
)
