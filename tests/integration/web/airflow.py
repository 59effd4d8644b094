"""PyPI's client for Airflow's API, on the application behind a socket."""

from __future__ import annotations

import json
from collections.abc import Callable

import airflow_client.client as airflow
import pytest
from airflow_client.client.api.connection_api import ConnectionApi
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DAGRunApi
from airflow_client.client.api.event_log_api import EventLogApi
from airflow_client.client.api.import_error_api import ImportErrorApi
from airflow_client.client.api.monitoring_api import MonitoringApi
from airflow_client.client.api.pool_api import PoolApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.variable_api import VariableApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.exceptions import ApiException

from rqflow.actions.people import tokens, users
from rqflow.security.roles import Role
from tests.integration.web.site import Site


class Client:
    """One person's client; they come in by Basic with a token of theirs."""

    def __init__(self, site: Site, url: str, name: str, role: Role = Role.ADMIN, token: str = "") -> None:
        if not token:
            if name not in {one.username for one in users.list_all(site.engine)}:
                users.add(site.engine, name, role=role, by="test")
            token = tokens.make(site.engine, name, name="test", by="test").text
        self.host, self.token = f"{url}/airflow/api/v1", token
        api = airflow.ApiClient(airflow.Configuration(host=self.host, username=name, password=token))
        self.dags, self.runs, self.tasks, self.xcoms = DAGApi(api), DAGRunApi(api), TaskInstanceApi(api), XComApi(api)
        self.variables, self.connections, self.pools = VariableApi(api), ConnectionApi(api), PoolApi(api)
        self.hub, self.events, self.errors = MonitoringApi(api), EventLogApi(api), ImportErrorApi(api)


MakeClient = Callable[..., Client]


def refused(status: int, call: Callable[[], object]) -> dict[str, object]:
    """The problem with which a call is refused."""
    with pytest.raises(ApiException) as caught:
        call()
    assert caught.value.status == status, caught.value.body
    problem = json.loads(caught.value.body)
    assert problem["status"] == status
    assert problem["type"].startswith("https://airflow.apache.org/docs/")
    assert problem["title"]
    return dict(problem)
