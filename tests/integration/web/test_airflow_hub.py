"""Pools, Variables, Connections, health, version, what people did and what cannot be loaded by Airflow's API, driven by its client."""

from __future__ import annotations

import requests
from airflow_client.client.model.connection import Connection
from airflow_client.client.model.dag import DAG
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.pool import Pool
from airflow_client.client.model.variable import Variable

from rqflow import clock
from rqflow.actions import connections, submit, variables
from rqflow.security.keyring import Keyring
from rqflow.security.roles import Role
from rqflow.store import dag_files
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import run_in_transaction
from tests.integration.broker import playing
from tests.integration.web.airflow import MakeClient, refused
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version


def test_pools_are_made_changed_and_deleted(site: Site, client: MakeClient) -> None:
    ann, viewer = client(), client("vera", Role.VIEWER)
    api = ann.pools
    unlimited = api.get_pool("default_pool")
    assert (unlimited.slots, unlimited.occupied_slots, unlimited.include_deferred) == (-1, 0, False)
    made = api.post_pool(Pool(name="licences/x", slots=1, description="two"))
    assert (made.name, made.slots, made.open_slots, made.description) == ("licences/x", 1, 1, "two")
    submit.register(site.hub.broker, site.engine, [a_version({"a": [], "b": []}, dag_id="d", each={"pool": "licences/x"})])
    ann.runs.post_dag_run("d", DAGRun())
    playing.claim(site.hub.broker)
    used = api.get_pools(order_by="-name").pools[0]
    assert (used.name, used.occupied_slots, used.open_slots, used.scheduled_slots) == ("licences/x", 1, 0, 1)
    assert api.patch_pool("licences/x", Pool(slots=3), update_mask=["slots"]).slots == 3
    assert api.patch_pool("licences/x", Pool(name="licences/x", slots=4, description="d")).description == "d"
    assert api.patch_pool("default_pool", Pool(slots=128), update_mask=["slots"]).slots == 128
    assert api.get_pools(limit=1).total_entries == 2
    refused(409, lambda: api.post_pool(Pool(name="licences/x", slots=1)))
    for call in (lambda: api.post_pool(Pool(name="p")), lambda: api.post_pool(Pool(name="p", slots=-2)),
                 lambda: api.patch_pool("licences/x", Pool(slots=4)), lambda: api.patch_pool("licences/x", Pool(name="other", slots=4)),
                 lambda: api.delete_pool("default_pool"), lambda: api.get_pools(order_by="open_slots")):
        refused(400, call)
    assert viewer.pools.get_pools().total_entries == 2
    refused(403, lambda: viewer.pools.post_pool(Pool(name="p", slots=1)))
    refused(403, lambda: viewer.pools.delete_pool("licences/x"))
    api.delete_pool("licences/x")
    assert refused(404, lambda: api.get_pool("licences/x"))["title"] == "Pool not found"
    refused(404, lambda: api.delete_pool("licences/x"))


def test_health_and_version_ask_for_no_login(site: Site, client: MakeClient) -> None:
    ann = client()
    health = ann.hub.get_health()
    assert (health.metadatabase.status.value, health.scheduler.status.value) == ("healthy", "unhealthy")
    assert ann.hub.get_version().version == "2.10.0"
    assert ann.hub.get_version().git_version.startswith("rqflow ")
    for path in ("health", "version"):
        assert requests.get(f"{ann.host}/{path}", timeout=PATIENCE).status_code == 200


def test_deeds_are_listed_for_admins(site: Site, client: MakeClient) -> None:
    submit.register(site.hub.broker, site.engine, [a_version(dag_id="d")])
    ann, otto = client(), client("otto", Role.OPERATOR)
    run_id = ann.runs.post_dag_run("d", DAGRun()).dag_run_id
    ann.dags.patch_dag("d", DAG(is_paused=True))
    found = ann.events.get_event_logs(dag_id="d", owner="ann", order_by="-when")
    assert [(one.event, one.owner, one.dag_id) for one in found.event_logs] == [("paused", "ann", "d"), ("run_started", "ann", "d")]
    assert found.event_logs[1].run_id == run_id
    assert ann.events.get_event_log(found.event_logs[0].event_log_id).event == "paused"
    assert ann.events.get_event_logs(run_id=run_id).total_entries == 1
    assert [one.event for one in ann.events.get_event_logs(included_events="paused,none").event_logs] == ["paused"]
    assert ann.events.get_event_logs(dag_id="d", excluded_events="paused").total_entries == 1
    assert ann.events.get_event_logs(dag_id="d", before=found.event_logs[1].when).total_entries == 0
    assert ann.events.get_event_logs(dag_id="d", limit=1, offset=1).event_logs[0].event == "paused"
    refused(403, lambda: otto.events.get_event_logs())
    refused(404, lambda: ann.events.get_event_log(7))


def test_files_that_cannot_be_loaded_are_listed(site: Site, client: MakeClient) -> None:
    run_in_transaction(site.engine, lambda connection: dag_files.put(connection, DagFileRecord(
        path="lab/bad.py", is_present=True, dag_ids=(), errors=("lab/bad.py:3: no", "lab/bad.py:5: no"), inputs={}, loaded_by="x", loaded_at=clock.utcnow())))
    api = client().errors
    found, = api.get_import_errors().import_errors
    assert (found.filename, found.stack_trace) == ("lab/bad.py", "lab/bad.py:3: no\nlab/bad.py:5: no")
    assert api.get_import_error(found.import_error_id).filename == "lab/bad.py"
    refused(404, lambda: api.get_import_error(1))


def test_variables_are_made_changed_and_deleted_and_no_secret_is_given(site: Site, client: MakeClient) -> None:
    ann, otto, viewer = client(), client("otto", Role.OPERATOR), client("vera", Role.VIEWER)
    api = ann.variables
    made = api.post_variables(Variable(key="lab/data", value='{"a": 1}', description="where"))
    assert (made.key, made.value, made.description) == ("lab/data", '{"a": 1}', "where")
    api.post_variables(Variable(key="api_token", value="hunter2"))
    assert api.get_variable("lab/data").value == '{"a": 1}'
    assert api.get_variable("api_token").value == "***"
    assert [(one.key, one.value) for one in api.get_variables(order_by="-key").variables] == [("lab/data", '{"a": 1}'), ("api_token", "***")]
    assert api.patch_variable("lab/data", Variable(key="lab/data", value="new", description="x"), update_mask=["value"]).description == "where"
    assert api.patch_variable("lab/data", Variable(key="lab/data", value="newer", description="what")).value == "newer"
    api.patch_variable("api_token", Variable(key="api_token", value="***", description="d"))
    assert variables.exported(site.engine, Keyring.of(site.settings))["api_token"] == {"value": "hunter2", "description": "d"}
    assert otto.variables.get_variables().total_entries == 2
    for call in (lambda: otto.variables.post_variables(Variable(key="k", value="v")), lambda: otto.variables.delete_variable("lab/data"),
                 lambda: viewer.variables.get_variables(), lambda: otto.variables.patch_variable("lab/data", Variable(key="lab/data", value="v"))):
        refused(403, call)
    for call in (lambda: api.post_variables(Variable(key="k")), lambda: api.patch_variable("lab/data", Variable(key="other", value="v")),
                 lambda: api.patch_variable("lab/data", Variable(key="lab/data", value="v"), update_mask=["secret"])):
        refused(400, call)
    api.delete_variable("lab/data")
    refused(404, lambda: api.get_variable("lab/data"))
    refused(404, lambda: api.patch_variable("lab/data", Variable(key="lab/data", value="v")))


def test_connections_are_made_changed_and_deleted_and_no_secret_is_given(site: Site, client: MakeClient) -> None:
    ann, otto, viewer = client(), client("otto", Role.OPERATOR), client("vera", Role.VIEWER)
    api = ann.connections
    made = api.post_connection(Connection(connection_id="db", conn_type="mysql", host="h", login="me", schema="s", port=3306, password="hunter2",
                                          extra='{"ssl": true}', description="d"))
    assert (made.connection_id, made.conn_type, made.host, made.login, made.schema, made.port, made.extra) == ("db", "mysql", "h", "me", "s", 3306, "***")
    assert "password" not in made.to_dict()
    changed = api.patch_connection("db", Connection(login="you", schema="other", extra="***"), update_mask=["login"])
    assert (changed.login, changed.schema, changed.host) == ("you", "s", "h")
    shown = connections.get(site.engine, Keyring.of(site.settings), "db", show_secrets=True)
    assert (shown.password, shown.extra) == ("hunter2", '{"ssl": true}')
    # What is secret goes to no other server than it was given for.
    refused(400, lambda: api.patch_connection("db", Connection(host="elsewhere")))
    emptied = api.patch_connection("db", Connection(connection_id="db", conn_type="mysql", host=None, extra=None, password=""))
    assert (emptied.to_dict()["host"], emptied.extra) == (None, None)
    listed = api.get_connections(order_by="connection_id")
    assert ([(one.connection_id, one.login) for one in listed.connections], listed.total_entries) == ([("db", "you")], 1)
    refused(409, lambda: api.post_connection(Connection(connection_id="db", conn_type="mysql")))
    for call in (lambda: api.post_connection(Connection(connection_id="x")), lambda: api.patch_connection("db", Connection(connection_id="other")),
                 lambda: api.patch_connection("db", Connection(host="h"), update_mask=["connection_id"]),
                 lambda: api.post_connection(Connection(connection_id="x", conn_type="http", extra="no json")),
                 lambda: api.post_connection(Connection(connection_id="x", conn_type="http", port=99999))):
        refused(400, call)
    assert otto.connections.get_connection("db").extra is None
    for call in (lambda: otto.connections.post_connection(Connection(connection_id="x", conn_type="http")), lambda: viewer.connections.get_connections(),
                 lambda: otto.connections.patch_connection("db", Connection(host="x")), lambda: otto.connections.delete_connection("db")):
        refused(403, call)
    api.delete_connection("db")
    refused(404, lambda: api.get_connection("db"))
    refused(404, lambda: api.delete_connection("db"))
