"""Airflow's API, driven by the client that Airflow's users have, which checks the type of all that it gets."""

from __future__ import annotations

from datetime import UTC, datetime

import requests
from airflow_client.client.model.clear_dag_run import ClearDagRun
from airflow_client.client.model.dag import DAG
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.list_dag_runs_form import ListDagRunsForm
from airflow_client.client.model.set_dag_run_note import SetDagRunNote
from airflow_client.client.model.update_dag_run_state import UpdateDagRunState

from rqflow.actions import submit
from rqflow.security.roles import Role
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web.airflow import MakeClient, refused
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version


def dags(site: Site) -> None:
    submit.register(site.hub.broker, site.engine, [
        a_version(dag_id="etl.daily", schedule="0 3 * * *", start_date="2026-01-01T00:00:00+00:00", tags=("a", "b"), owner="lab", catchup=False,
                  params={"city": "Bern"}, dagrun_timeout=90.5, description="d", doc_md="# doc"),
        a_version({"x": [], "y": ["x"]}, dag_id="etl.hours", schedule="timedelta:7200", tags=("b",), start_date="2026-01-01", catchup=False),
        a_version(dag_id="plain", each={"retries": 2, "execution_timeout": 30.0})])


def test_a_pattern_of_many_wildcards_is_answered_at_once(site: Site) -> None:
    """A regular expression of it would be tried for longer than anybody lives, and nobody else be answered meanwhile."""
    submit.register(site.hub.broker, site.engine, [a_version(dag_id="a" * 250)])
    browser = site.browser("ann")

    def found(pattern: str) -> int:
        return int(browser.get("/airflow/api/v1/dags", params={"dag_id_pattern": pattern}).json()["total_entries"])

    assert [found("%a" * 100 + last) for last in ("", "%", "%b", "_", "_" * 150, "_" * 151)] == [1, 1, 0, 1, 1, 0]
    assert [found(pattern) for pattern in ("%_" * 250, "%_" * 251, "%A_a%", "a%%a")] == [1, 0, 1, 1]


def test_dags_are_listed_shown_and_paused(site: Site, client: MakeClient) -> None:
    dags(site)
    api = client().dags
    found = api.get_dags()
    assert ([one.dag_id for one in found.dags], found.total_entries) == (["etl.daily", "etl.hours", "plain"], 3)
    assert [one.dag_id for one in api.get_dags(tags=["a", "none"]).dags] == ["etl.daily"]
    page = api.get_dags(limit=1, offset=1, order_by="-dag_id")
    assert ([one.dag_id for one in page.dags], page.total_entries) == (["etl.hours"], 3)
    assert [one.dag_id for one in api.get_dags(dag_id_pattern="ETL%ly").dags] == ["etl.daily"]
    daily = api.get_dag("etl.daily")
    assert (daily.schedule_interval.value, daily.owners, daily.description) == ("0 3 * * *", ["lab"], "d")
    assert (daily.timetable_description, [one.name for one in daily.tags], daily.is_active) == ("at 03:00", ["a", "b"], True)
    assert daily.next_dagrun.hour == 3
    assert daily.next_dagrun_create_after == daily.next_dagrun_data_interval_end > daily.next_dagrun_data_interval_start == daily.next_dagrun
    hours = api.get_dag("etl.hours")
    assert (hours.schedule_interval.days, hours.schedule_interval.seconds) == (0, 7200)
    assert api.get_dag("plain").schedule_interval is None
    detail = api.get_dag_details("etl.daily")
    # The client reads this field twice, and finds that its two readings are not one object.
    timeout = next(one.get("dag_run_timeout") for one in detail._composed_instances if one.get("dag_run_timeout"))
    assert (detail.catchup, detail.timezone, timeout["seconds"], timeout["microseconds"]) == (False, "UTC", 90, 500_000)
    assert (detail.params["city"]["value"], detail.start_date, detail.doc_md) == ("Bern", datetime(2026, 1, 1, tzinfo=UTC), "# doc")
    assert api.patch_dag("plain", DAG(is_paused=True)).is_paused is True
    assert api.patch_dag("plain", DAG(is_paused=False), update_mask=["is_paused"]).is_paused is False
    changed = api.patch_dags("etl", DAG(is_paused=True))
    assert ([(one.dag_id, one.is_paused) for one in changed.dags], changed.total_entries) == ([("etl.daily", True), ("etl.hours", True)], 2)
    assert [one.dag_id for one in api.get_dags(paused=True).dags] == ["etl.daily", "etl.hours"]
    assert len(api.patch_dags("~", DAG(is_paused=False)).dags) == 3
    assert [one.dag_id for one in api.get_dags(paused=True).dags] == []
    api.delete_dag("plain")
    refused(404, lambda: api.get_dag("plain"))


def test_tasks_and_files_of_a_dag(site: Site, client: MakeClient) -> None:
    dags(site)
    submit.register(site.hub.broker, site.engine, [a_version(dag_id="filed", file="filed.py", sources={"filed.py": "x = 1\n"})])
    api = client().dags
    assert [one.task_id for one in api.get_tasks("etl.hours").tasks] == ["x", "y"]
    assert [one.task_id for one in api.get_tasks("etl.hours", order_by="-task_id").tasks] == ["y", "x"]
    assert list(api.get_task("etl.hours", "x").downstream_task_ids) == ["y"]
    task = api.get_task("plain", "a")
    assert (task.retries, task.execution_timeout.seconds, task.class_ref.class_name, task.trigger_rule.value) == (2, 30, "BashOperator", "all_success")
    assert api.get_dag_source(api.get_dag("filed").file_token).content == "x = 1\n"
    refused(404, lambda: api.get_task("plain", "b"))
    refused(404, lambda: api.get_dag_source("???"))
    refused(400, lambda: api.get_tasks("plain", order_by="nothing"))


def test_a_run_is_started_as_it_was_asked_for_and_found_again(site: Site, client: MakeClient) -> None:
    dags(site)
    api = client().runs
    moment = datetime(2026, 3, 1, 1, 2, 3, 456789, tzinfo=UTC)
    run = api.post_dag_run("plain", DAGRun(conf={"k": ["$(x)", 1.5]}, logical_date=moment, note="hi", dag_run_id="my:run+1",
                                           data_interval_start=datetime(2026, 2, 1, tzinfo=UTC), data_interval_end=datetime(2026, 2, 2, tzinfo=UTC)))
    assert (run.dag_run_id, run.dag_id, run.run_type, run.external_trigger, run.note) == ("my:run+1", "plain", "manual", True, "hi")
    assert (run.logical_date, run.execution_date, run.state.value) == (moment, moment, "running")
    assert (run.data_interval_start.day, run.data_interval_end.day, run.conf) == (1, 2, {"k": ["$(x)", 1.5]})
    unnamed = api.post_dag_run("plain", DAGRun(execution_date=datetime(2026, 3, 2, tzinfo=UTC)))
    assert unnamed.dag_run_id == "manual__2026-03-02T00:00:00+00:00"
    assert api.get_dag_run("plain", unnamed.dag_run_id).to_dict() == unnamed.to_dict()
    assert api.get_dag_run("plain", "my:run+1").conf == {"k": ["$(x)", 1.5]}
    refused(409, lambda: api.post_dag_run("plain", DAGRun(dag_run_id="my:run+1")))
    assert refused(404, lambda: api.post_dag_run("nothing", DAGRun()))["title"] == "DAG not found"
    assert refused(404, lambda: api.get_dag_run("plain", "no"))["title"] == "DAGRun not found"
    refused(400, lambda: api.post_dag_run("plain", DAGRun(logical_date=moment, execution_date=datetime(2026, 3, 2, tzinfo=UTC))))
    refused(400, lambda: api.post_dag_run("plain", DAGRun(data_interval_start=moment)))
    api.delete_dag_run("plain", "my:run+1")
    refused(404, lambda: api.get_dag_run("plain", "my:run+1"))


def test_runs_are_listed_by_dates_and_states_a_page_at_a_time(site: Site, client: MakeClient) -> None:
    dags(site)
    api = client().runs
    for day in range(1, 6):
        api.post_dag_run("plain", DAGRun(logical_date=datetime(2026, 3, day, tzinfo=UTC), dag_run_id=f"r{day}"))
    api.post_dag_run("etl.hours", DAGRun(logical_date=datetime(2026, 3, 1, tzinfo=UTC), dag_run_id="h1"))
    site.hub.record()

    def ids(found: object) -> list[str]:
        return [one.dag_run_id for one in found.dag_runs]  # type: ignore[attr-defined]  # the client has no types

    found = api.get_dag_runs("plain", limit=2, offset=1, order_by="-execution_date")
    assert (ids(found), found.total_entries) == (["r4", "r3"], 5)
    assert ids(api.get_dag_runs("~", order_by="dag_run_id")) == ["h1", "r1", "r2", "r3", "r4", "r5"]
    assert ids(api.get_dag_runs("plain", execution_date_gte=datetime(2026, 3, 4, tzinfo=UTC))) == ["r4", "r5"]
    assert ids(api.get_dag_runs("plain", execution_date_lte=datetime(2026, 3, 1, tzinfo=UTC))) == ["r1"]
    assert ids(api.get_dag_runs("plain", start_date_lte=datetime(2020, 3, 1, tzinfo=UTC))) == []
    assert ids(api.get_dag_runs("plain", updated_at_gte=datetime(2020, 3, 1, tzinfo=UTC))) == ["r1", "r2", "r3", "r4", "r5"]
    assert ids(api.get_dag_runs("plain", state=["success", "queued"])) == []
    assert len(ids(api.get_dag_runs("plain", limit=1000))) == 5
    form = ListDagRunsForm(dag_ids=["plain", "etl.hours", "gone"], order_by="-execution_date", page_limit=3, states=["running"])
    listed = api.get_dag_runs_batch(form)
    assert (ids(listed), listed.total_entries) == (["r5", "r4", "r3"], 6)
    for call in (lambda: api.get_dag_runs("plain", state=["odd"]), lambda: api.get_dag_runs("plain", order_by="conf; drop"),
                 lambda: api.get_dag_runs("plain", limit=-1)):
        refused(400, call)
    refused(404, lambda: api.get_dag_runs("nothing"))


def test_a_run_is_marked_cleared_and_noted(site: Site, client: MakeClient) -> None:
    dags(site)
    api = client().runs
    run_id = api.post_dag_run("etl.hours", DAGRun()).dag_run_id
    assert api.update_dag_run_state("etl.hours", run_id, UpdateDagRunState(state="queued")).state.value == "running"
    assert api.update_dag_run_state("etl.hours", run_id, UpdateDagRunState(state="failed")).state.value == "failed"
    meant = api.clear_dag_run("etl.hours", run_id, ClearDagRun())
    assert sorted(one["task_id"] for one in meant["task_instances"]) == ["x", "y"]
    assert api.get_dag_run("etl.hours", run_id).state.value == "failed"
    assert api.clear_dag_run("etl.hours", run_id, ClearDagRun(dry_run=False))["state"] == "running"
    playing.play(site.hub.broker, {"x": TaskState.SUCCESS})
    assert api.get_dag_run("etl.hours", run_id).state.value == "success"
    assert api.set_dag_run_note("etl.hours", run_id, SetDagRunNote(note="look")).note == "look"
    assert api.get_dag_run("etl.hours", run_id).note == "look"


def test_roles_and_owners_are_those_of_the_hub(site: Site, client: MakeClient) -> None:
    dags(site)
    admin, viewer, operator = client(), client("vera", Role.VIEWER), client("otto", Role.OPERATOR)
    run_id = admin.runs.post_dag_run("plain", DAGRun()).dag_run_id
    assert viewer.runs.get_dag_run("plain", run_id).state.value == "running"
    for call in (lambda: viewer.runs.post_dag_run("plain", DAGRun()), lambda: viewer.dags.patch_dag("plain", DAG(is_paused=True)),
                 lambda: viewer.dags.delete_dag("plain"), lambda: viewer.runs.set_dag_run_note("plain", run_id, SetDagRunNote(note="x")),
                 lambda: viewer.runs.update_dag_run_state("plain", run_id, UpdateDagRunState(state="queued")),
                 lambda: operator.dags.patch_dag("plain", DAG(is_paused=True)), lambda: operator.dags.patch_dags("~", DAG(is_paused=True)),
                 lambda: operator.runs.delete_dag_run("plain", run_id), lambda: operator.runs.clear_dag_run("plain", run_id, ClearDagRun(dry_run=False))):
        assert refused(403, call)["title"] == "Forbidden"
    assert admin.dags.get_dag("plain").is_paused is False
    refused(401, lambda: client("ann", token="rqf_wrong").dags.get_dags())


def test_what_no_client_should_send_is_a_bad_request(site: Site, client: MakeClient) -> None:
    dags(site)
    ann = client()
    given = {"Authorization": f"Bearer {ann.token}"}

    def send(method: str, path: str, **more: object) -> requests.Response:
        return requests.request(method, ann.host + path, headers=given, timeout=PATIENCE, **more)  # type: ignore[arg-type]  # names are data here

    assert send("GET", "/dags").status_code == 200
    bad = (("PATCH", "/dags/plain", {"is_paused": True, "owner": "x"}), ("PATCH", "/dags/plain?update_mask=owner", {"is_paused": True}),
           ("PATCH", "/dags", {"is_paused": True}), ("POST", "/dags/plain/dagRuns", {"state": "success"}),
           ("POST", "/dags/plain/dagRuns", {"conf": [1]}), ("POST", "/dags/plain/dagRuns", {"logical_date": "soon"}),
           ("POST", "/dags/plain/dagRuns", {"dag_run_id": "\ud800"}), ("POST", "/dags/plain/dagRuns", {"dag_run_id": "a\0b"}),
           ("GET", "/dags?limit=many", None), ("GET", "/dags?order_by=owner", None), ("GET", "/dags/plain?fields=nothing", None),
           ("GET", "/dags?dag_id_pattern=%00", None), ("GET", "/dags/~/dagRuns/~/taskInstances?pool=%00", None), ("GET", f"/dags?offset={10**30}x", None),
           ("POST", "/dags/~/dagRuns/~/taskInstances/list", {"task_ids": ["a\0"]}), ("GET", f"/eventLogs?try_number={10**30}", None),
           ("POST", "/dags/plain/dagRuns", []))
    for method, path, body in bad:
        answer = send(method, path, json=body)
        assert answer.status_code == 400, (path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert send("GET", "/dags/plain%00").status_code == 404
    for path in ("/dags/plain/dagRuns/%00", f"/eventLogs/{10**30}", f"/importErrors/{10**30}", "/pools/%00", "/variables/a%00"):
        assert send("GET", path).status_code == 404, path
    assert send("GET", "/dags/~/dagRuns?execution_date_gte=9999-12-31T23:59:59-12:00").json()["total_entries"] == 0
    assert send("GET", f"/dags?offset={10**30}&limit={10**30}").json()["dags"] == []
    assert send("GET", "/nothing").json()["title"] == "Not Found"
    assert send("PUT", "/dags").status_code == 405
    assert send("GET", "/dags?fields=dag_id&fields=is_paused").json()["dags"][0] == {"dag_id": "etl.daily", "is_paused": False}
    odd = send("POST", "/dags/plain/dagRuns", json={"conf": {"a": "\ud800\0"}, "dag_run_id": "odd"})
    assert odd.status_code == 200, odd.text
    assert odd.json()["conf"] == {"a": "\ud800\0"}
    assert send("GET", "/dags/plain/dagRuns?execution_date_gte=2026-03-01T00:00:00+00:00").json()["total_entries"] == 1
    anonymous = requests.get(f"{ann.host}/dags", timeout=PATIENCE)
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Basic realm="rqflow"')
