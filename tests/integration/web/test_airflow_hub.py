"""Pools, health, version, what people did and what cannot be loaded by Airflow's API, driven by its client."""

from __future__ import annotations

import requests
from airflow_client.client.model.dag import DAG
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.pool import Pool

from rqflow import clock
from rqflow.actions import submit
from rqflow.security.roles import Role
from rqflow.store import dag_files
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import run_in_transaction
from tests.integration.broker import playing
from tests.integration.web.airflow import MakeClient, refused
from tests.integration.web.site import Site
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
        assert requests.get(f"{ann.host}/{path}", timeout=10).status_code == 200


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
