"""Starting runs by the form."""

from __future__ import annotations

from rqflow.actions import query
from rqflow.security.roles import Role
from rqflow.store import runs
from rqflow.store.engine import reading
from tests.integration.web.site import Site
from tests.unit.builders import a_version

SPECS = {"city": {"schema": {"type": "string"}, "description": "<b>where</b>"}, "copies": {"schema": {"type": "integer", "minimum": 1}}}


def a_dag(site: Site) -> None:
    site.hub.start(a_version(dag_id="daily", params={"city": "Bern", "copies": 1}, param_specs=SPECS), run_id="first")


def test_the_form_is_made_of_the_params_and_starts_a_run_with_what_was_filled_in(site: Site) -> None:
    a_dag(site)
    browser = site.browser("ann")
    form = browser.get("/dags/daily/trigger").text
    assert 'name="param.city"' in form
    assert 'type="number"' in form
    assert "&lt;b&gt;where&lt;/b&gt;" in form
    answer = browser.post("/dags/daily/trigger", data={"param.city": "Chur", "param.copies": "3", "conf": '{"x": "$(touch x)"}', "run_id": "mine", "note": "hi"})
    assert answer.status_code == 303, answer.text
    with reading(site.engine) as connection:
        record = runs.get(connection, "daily", "mine")
    assert record is not None
    assert answer.headers["location"] == f"/runs/{record.run_key}"
    assert (record.params, record.conf, record.note, record.started_by) == ({"city": "Chur", "copies": 3}, {"x": "$(touch x)"}, "hi", "ann")
    assert query.show(site.hub.broker, site.engine, record.run_key).state.value == "running"


def test_the_form_has_the_order_of_the_file(site: Site) -> None:
    text = 'DAG("daily", params={"copies": 1, "city": Param("Bern")})'
    site.hub.start(a_version(dag_id="daily", file="d.py", sources={"d.py": text}, params={"city": "Bern", "copies": 1}, param_specs=SPECS))
    for page in ("trigger", "details"):
        found = site.browser("ann").get(f"/dags/daily/{page}").text.partition("<main")[2]
        assert found.index("copies") < found.index("city"), page


def test_what_does_not_fit_is_said_and_what_was_filled_in_stays(site: Site) -> None:
    a_dag(site)
    browser = site.browser("ann")
    for data, said in (({"param.copies": "0"}, "copies"), ({"param.copies": "many"}, "no number"), ({"conf": "{"}, "no JSON"),
                       ({"conf": "@/etc/passwd"}, "JSON object"), ({"logical_date": "soon"}, "no date"), ({"run_id": "first"}, "has a run first already")):
        answer = browser.post("/dags/daily/trigger", data={"param.city": "<Chur>", **data})
        assert answer.status_code in {409, 422}, answer.text
        assert said in answer.text
        assert 'value="&lt;Chur&gt;"' in answer.text


def test_a_run_is_started_again_with_its_params(site: Site) -> None:
    a_dag(site)
    browser = site.browser("ann")
    key = browser.post("/dags/daily/trigger", data={"param.city": "Chur", "conf": '{"k": 1}'}).headers["location"].rpartition("/")[2]
    again = browser.get(f"/dags/daily/trigger?of={key}").text
    assert 'value="Chur"' in again
    assert "rqflow run start daily -p city=Chur" in again


def test_a_viewer_starts_nothing(site: Site) -> None:
    a_dag(site)
    answer = site.browser("vera", Role.VIEWER).post("/dags/daily/trigger", data={})
    assert answer.status_code == 403
    assert "takes operator" in answer.text


def test_the_same_key_starts_one_run(site: Site) -> None:
    a_dag(site)
    browser = site.browser("ann")
    first, second = (browser.post("/api/v1/runs", json={"dag_id": "daily", "idempotency_key": "k1"}) for _ in range(2))
    assert first.status_code == second.status_code == 200, first.text
    assert first.json()["run_key"] == second.json()["run_key"]
