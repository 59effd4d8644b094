"""Task instances, logs and XComs by Airflow's API, driven by its client."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import requests
from airflow_client.client.model.clear_task_instances import ClearTaskInstances
from airflow_client.client.model.dag_run import DAGRun
from airflow_client.client.model.list_task_instance_form import ListTaskInstanceForm
from airflow_client.client.model.task_state import TaskState as Named
from airflow_client.client.model.update_task_instance import UpdateTaskInstance
from airflow_client.client.model.update_task_instances_state import UpdateTaskInstancesState
from airflow_client.client.model.update_task_state import UpdateTaskState

from rqflow.actions import logs, query, submit
from rqflow.dag.run import run_key
from rqflow.security.roles import Role
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web.airflow import Client, MakeClient, refused
from tests.integration.web.site import Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version

HOST = {"host": "node7", "pid": 4711}


def a_run(site: Site, client: MakeClient, *, day: int = 1, dag_id: str = "etl") -> str:
    """Start a run of three tasks in a row, each of which may be tried twice; return its id."""
    submit.register(site.hub.broker, site.engine, [a_version(
        {"get": [], "make": ["get"], "put": ["make"]}, dag_id=dag_id, each={"retries": 1, "pool_slots": 2, "queue": "default"})])
    return str(client().runs.post_dag_run(dag_id, DAGRun(logical_date=datetime(2026, 5, day, tzinfo=UTC))).dag_run_id)


def end(site: Site, state: TaskState = TaskState.SUCCESS, **told: object) -> None:
    """End what can run now."""
    playing.tell(site.hub.broker, *(playing.end(one, state, facts=HOST, **told) for one in playing.claim(site.hub.broker)))


def test_task_instances_and_their_tries_are_shown_as_they_stand(site: Site, client: MakeClient) -> None:
    run_id = a_run(site, client)
    api = client().tasks
    end(site)
    claim, = playing.claim(site.hub.broker)
    now = api.get_task_instances("etl", run_id)
    assert [(one.task_id, one.state.value if one.state else None) for one in now.task_instances] == [
        ("get", "success"), ("make", "running"), ("put", None)]
    assert now.total_entries == 3
    playing.tell(site.hub.broker, playing.end(claim, TaskState.UP_FOR_RETRY, retry_in=300.0, facts=HOST))
    make = api.get_task_instance("etl", run_id, "make")
    assert (make.state.value, make.try_number, make.max_tries, make.pool_slots, make.operator, make.map_index) == ("up_for_retry", 1, 1, 2, "BashOperator", -1)
    site.hub.record()
    tries = api.get_task_instance_tries("etl", run_id, "make")
    assert [(one.try_number, one.state.value, one.hostname, one.pid) for one in tries.task_instances] == [(1, "up_for_retry", "node7", 4711)]
    assert api.get_task_instance_try_details("etl", run_id, "get", 1).state.value == "success"
    assert [one.task_id for one in api.get_task_instances("etl", run_id, state=["none"]).task_instances] == ["put"]
    assert [one.task_id for one in api.get_task_instances("etl", run_id, state=["success", "running"], limit=1).task_instances] == ["get"]
    assert api.get_task_instances("etl", run_id, pool=["other"]).total_entries == 0
    assert api.get_task_instances("etl", run_id, duration_gte=1000.0).total_entries == 0
    refused(404, lambda: api.get_task_instance("etl", run_id, "no"))
    refused(404, lambda: api.get_task_instance_try_details("etl", run_id, "get", 2))
    refused(404, lambda: api.get_task_instances("etl", "no"))
    refused(400, lambda: api.get_task_instances("etl", run_id, state=["odd"]))


def test_task_instances_of_many_runs_are_listed_from_the_history(site: Site, client: MakeClient) -> None:
    first, second, other = a_run(site, client, day=1), a_run(site, client, day=2), a_run(site, client, dag_id="else")
    playing.play(site.hub.broker)
    site.hub.record()
    api = client().tasks
    every = api.get_task_instances("~", "~", limit=4)
    assert (len(every.task_instances), every.total_entries) == (4, 9)
    assert [(one.dag_id, one.dag_run_id, one.task_id) for one in every.task_instances] == [
        ("else", other, "get"), ("else", other, "make"), ("else", other, "put"), ("etl", first, "get")]
    assert api.get_task_instances("etl", "~", execution_date_gte=datetime(2026, 5, 2, tzinfo=UTC)).total_entries == 3
    assert api.get_task_instances("~", "~", state=["failed"]).total_entries == 0
    assert api.get_task_instances("~", "~", duration_gte=0.0, duration_lte=1000.0).total_entries == 9
    listed = api.get_task_instances_batch(ListTaskInstanceForm(dag_ids=["etl"], dag_run_ids=[second], task_ids=["put"], state=[Named("success")]))
    assert [(one.dag_run_id, one.task_id, one.state.value) for one in listed.task_instances] == [(second, "put", "success")]
    refused(404, lambda: api.get_task_instances("nothing", "~"))


def test_states_are_set_for_one_and_for_many(site: Site, client: MakeClient) -> None:
    first, second = a_run(site, client, day=1), a_run(site, client, day=2)
    ann, viewer = client(), client("vera", Role.VIEWER)
    only_said = ann.tasks.patch_task_instance("etl", first, "get", UpdateTaskInstance(new_state=UpdateTaskState("failed")))
    assert (only_said.task_id, only_said.dag_run_id) == ("get", first)
    assert ann.tasks.get_task_instance("etl", first, "get").state.value == "queued"
    change = UpdateTaskInstance(dry_run=False, new_state=UpdateTaskState("success"))
    refused(403, lambda: viewer.tasks.patch_task_instance("etl", first, "get", change))
    ann.tasks.patch_task_instance("etl", first, "get", change)
    assert ann.tasks.get_task_instance("etl", first, "get").state.value == "success"
    many = UpdateTaskInstancesState(task_id="make", dag_run_id=first, new_state=UpdateTaskState("skipped"), include_upstream=True, include_future=True)
    meant = ann.dags.post_set_task_instances_state("etl", many)
    assert sorted((one.dag_run_id, one.task_id) for one in meant.task_instances) == [(run, task) for run in (first, second) for task in ("get", "make")]
    assert ann.tasks.get_task_instance("etl", second, "make").state is None
    by_date = UpdateTaskInstancesState(task_id="get", execution_date="2026-05-02T00:00:00+00:00", new_state=UpdateTaskState("success"), dry_run=False)
    assert [one.dag_run_id for one in ann.dags.post_set_task_instances_state("etl", by_date).task_instances] == [second]
    assert ann.tasks.get_task_instance("etl", second, "get").state.value == "success"
    for wrong in (UpdateTaskInstancesState(task_id="g*", dag_run_id=first, new_state=UpdateTaskState("success")),
                  UpdateTaskInstancesState(task_id="get", execution_date="2020-05-02T00:00:00+00:00", new_state=UpdateTaskState("success"))):
        refused(404, lambda wrong=wrong: ann.dags.post_set_task_instances_state("etl", wrong))
    refused(400, lambda: ann.dags.post_set_task_instances_state("etl", UpdateTaskInstancesState(task_id="get", new_state=UpdateTaskState("failed"))))


def test_logs_are_read_whole_and_in_parts(site: Site, client: MakeClient) -> None:
    run_id = a_run(site, client)
    end(site)
    site.hub.record()
    run = query.show(site.hub.broker, site.engine, run_key("etl", run_id))
    file = Path(site.settings.logs.folder) / logs.path(run, "get", 1)
    file.parent.mkdir(parents=True)
    text = "".join(f"line {number} é 'quoted'\n" for number in range(60_000))
    file.write_text(text, encoding="utf-8")
    file.chmod(0o400)
    ann = client()
    api, said, token = ann.tasks, "", ""
    for _ in range(9):
        part = api.get_log("etl", run_id, "get", 1, **({"token": token} if token else {}))
        pairs, token = ast.literal_eval(part.content), part.continuation_token
        said += pairs[0][1]
        if not pairs[0][1]:
            break
    assert said == text
    assert ast.literal_eval(api.get_log("etl", run_id, "get", 1, full_content=True).content)[0][1] == text
    url = f"{ann.host}/dags/etl/dagRuns/{requests.utils.quote(run_id)}/taskInstances/get/logs/1"
    plain = requests.get(url, auth=("ann", ann.token), headers={"Accept": "text/plain"}, timeout=PATIENCE)
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.content.decode().partition("\n")[2] == text
    refused(404, lambda: api.get_log("etl", run_id, "get", 2))
    refused(404, lambda: api.get_log("etl", run_id, "no", 1))
    refused(400, lambda: api.get_log("etl", run_id, "get", 1, token="bm90"))


def test_xcoms_are_listed_and_given_with_their_values(site: Site, client: MakeClient) -> None:
    run_id = a_run(site, client)
    end(site, xcoms={"return_value": '{"n": [1, null]}', "some/key": '"text"'})
    api = client().xcoms
    found = api.get_xcom_entries("etl", run_id, "get")
    assert ([(one.key, one.task_id, one.map_index) for one in found.xcom_entries], found.total_entries) == (
        [("return_value", "get", -1), ("some/key", "get", -1)], 2)
    assert [one.key for one in api.get_xcom_entries("etl", run_id, "~", xcom_key="some/key").xcom_entries] == ["some/key"]
    assert api.get_xcom_entry("etl", run_id, "get", "return_value").value == "{'n': [1, None]}"
    assert api.get_xcom_entry("etl", run_id, "get", "return_value", stringify=False).value == {"n": [1, None]}
    site.hub.record()
    assert [(one.dag_id, one.key) for one in api.get_xcom_entries("~", "~", "~").xcom_entries] == [("etl", "return_value"), ("etl", "some/key")]
    assert refused(404, lambda: api.get_xcom_entry("etl", run_id, "get", "none"))["detail"]
    refused(404, lambda: api.get_xcom_entry("etl", run_id, "no", "none"))
    refused(400, lambda: api.get_xcom_entry("etl", run_id, "get", "return_value", deserialize=True))


def test_tasks_are_cleared_in_one_run_and_in_runs_of_some_dates(site: Site, client: MakeClient) -> None:
    first, second = a_run(site, client, day=1), a_run(site, client, day=2)
    playing.play(site.hub.broker, {"make": TaskState.FAILED})
    ann, otto = client(), client("otto", Role.OPERATOR)

    def cleared(api: Client = ann, **wanted: object) -> list[tuple[str, str]]:
        found = api.dags.post_clear_task_instances("etl", ClearTaskInstances(**wanted))
        return [(one.dag_run_id, one.task_id) for one in found.task_instances]

    failed = [(run, task) for run in (first, second) for task in ("make", "put")]
    assert cleared() == failed
    assert cleared(end_date="2026-05-01T00:00:00+00:00") == failed[:2]
    assert cleared(dag_run_id=second) == failed[2:]
    assert cleared(dag_run_id=first, include_future=True, task_ids=["make"]) == [(first, "make"), (second, "make")]
    assert cleared(only_failed=False, dag_run_id=first, task_ids=["get"], include_downstream=True) == [(first, "get"), (first, "make"), (first, "put")]
    assert ann.runs.get_dag_run("etl", first).state.value == "failed"
    refused(403, lambda: cleared(otto, dry_run=False))
    assert cleared(dry_run=False, start_date="2026-05-02T00:00:00+00:00", end_date="2026-05-02T00:00:00+00:00") == failed[2:]
    assert (ann.runs.get_dag_run("etl", first).state.value, ann.runs.get_dag_run("etl", second).state.value) == ("failed", "running")
    assert cleared(dry_run=False, dag_run_id=first, only_failed=False, task_ids=["get", "make"]) == [(first, "get"), (first, "make")]
    refused(404, lambda: cleared(dag_run_id=first, task_ids=["g*"]))
    refused(404, lambda: cleared(dag_run_id="no"))
    for wrong in ({"dag_run_id": first, "start_date": "2026-05-02T00:00:00+00:00"}, {"only_running": True}, {"start_date": "soon"}):
        refused(400, lambda wrong=wrong: cleared(**wrong))
