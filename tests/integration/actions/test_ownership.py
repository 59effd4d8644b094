"""Whose DAGs are, on each kind of database; who may do what with them is a table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rqflow.actions import query, submit, trigger
from rqflow.actions.people import ownership, users
from rqflow.actions.people.ownership import Claims, Submitter
from rqflow.clock import utcnow
from rqflow.exceptions import DagNotFound, NotFound, NotPermitted, UsageError
from rqflow.security.roles import Person, Role
from rqflow.settings import Database, Settings
from rqflow.store import dags, events, shares
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.events import EventFilter
from tests.integration.actions.hub import Hub
from tests.unit.builders import a_version

ADA, BOB, EVE = (Person(name, Role.OPERATOR) for name in ("ada", "bob", "eve"))
VIEWER, ADMIN = Person("vic", Role.VIEWER), Person("root", Role.ADMIN)


def dag_of(engine: Engine, dag_id: str = "d") -> dags.DagRecord:
    with reading(engine) as connection:
        return dags.find(connection, dag_id)


def save(engine: Engine, dag_id: str = "d", by: str | None = "ada", **changes: Any) -> None:
    run_in_transaction(engine, lambda connection: dags.save_version(connection, a_version(dag_id=dag_id, **changes), submitted_by=by))


def whose(engine: Engine, person: Person, dag_id: str = "d") -> bool:
    dag = dag_of(engine, dag_id)
    with reading(engine) as connection:
        return ownership.claims(connection, person).owns(dag)


def add(engine: Engine, *names: str) -> None:
    for name in names:
        users.add(engine, name, role=Role.OPERATOR, by="root")


def test_a_dag_is_its_first_submitters_and_stays_so(engine: Engine) -> None:
    save(engine, by="ada")
    save(engine, by="bob", description="another")
    save(engine, by=None)
    assert dag_of(engine).submitted_by == "ada"
    assert (whose(engine, ADA), whose(engine, BOB), whose(engine, ADMIN)) == (True, False, True)


def test_a_dag_without_a_submitter_is_the_administrators(engine: Engine) -> None:
    save(engine, by=None)
    assert (whose(engine, ADA), whose(engine, ADMIN)) == (False, True)


def test_sharing_makes_it_theirs_too_until_it_ends(engine: Engine) -> None:
    add(engine, "bob")
    save(engine)
    save(engine, "other")
    assert ownership.share(engine, "d", "bob", by="ada")
    assert not ownership.share(engine, "d", "bob", by="ada")
    assert (whose(engine, BOB), whose(engine, EVE), whose(engine, BOB, "other")) == (True, False, False)
    ownership.share(engine, "d", ownership.EVERYONE, by="ada")
    assert whose(engine, EVE)
    assert [one.username for one in ownership.shared(engine, "d")] == ["*", "bob"]
    ownership.unshare(engine, "d", ownership.EVERYONE, by="ada")
    assert (whose(engine, BOB), whose(engine, EVE)) == (True, False)
    with pytest.raises(NotFound, match="not shared with everyone"):
        ownership.unshare(engine, "d", ownership.EVERYONE, by="ada")


def test_an_owner_of_dag_files_may_be_people(engine: Engine) -> None:
    add(engine, "bob", "eve")
    save(engine, by=None, owner="lab, airflow")
    ownership.map_owner(engine, "lab", "bob", by="root")
    ownership.map_owner(engine, "la", "eve", by="root")
    assert (whose(engine, BOB), whose(engine, EVE)) == (True, False)
    ownership.map_owner(engine, "lab", "eve", by="root")
    assert whose(engine, EVE)
    assert ownership.unmap_owner(engine, "lab", "bob", by="root") == 1
    assert (whose(engine, BOB), whose(engine, EVE)) == (False, True)
    with pytest.raises(NotFound):
        ownership.unmap_owner(engine, "lab", "bob", by="root")
    for wrong in ("", " lab", "a,b", "x" * 251):
        with pytest.raises(UsageError):
            ownership.map_owner(engine, wrong, "bob", by="root")


def test_only_known_people_get_dags_and_each_gift_is_written_down(engine: Engine) -> None:
    add(engine, "bob")
    save(engine)
    for deed in (lambda: ownership.chown(engine, "d", "bbo", by="root"), lambda: ownership.share(engine, "d", "bbo", by="root"),
                 lambda: ownership.map_owner(engine, "lab", "bbo", by="root")):
        with pytest.raises(NotFound, match="no user bbo"):
            deed()
    with pytest.raises(DagNotFound):
        ownership.chown(engine, "nope", "bob", by="root")
    ownership.chown(engine, "d", "bob", by="root")
    ownership.chown(engine, "d", "bob", by="root")
    assert (whose(engine, ADA), whose(engine, BOB)) == (False, True)
    ownership.chown(engine, "d", "account", by="root", is_account=True)
    with reading(engine) as connection:
        found = events.search(connection, EventFilter(dag_id="d", event="dag_given", who="root"))
    assert [one.detail for one in found] == ['{"before": "bob", "to": "account"}', '{"before": "ada", "to": "bob"}']


MINE = {"submitted_by": "me"}
SHARED, MAPPED, OTHERS = {"dag_id": "shared"}, {"owner": "x, lab"}, {"submitted_by": "else"}


@pytest.mark.parametrize(("role", "dag", "started_by", "start", "change", "run"), [
    (Role.VIEWER, MINE, "me", False, False, False), (Role.VIEWER, SHARED, "", False, False, False),
    (Role.OPERATOR, MINE, "", True, True, True), (Role.OPERATOR, SHARED, "", True, True, True), (Role.OPERATOR, MAPPED, "", True, True, True),
    (Role.OPERATOR, OTHERS, "me", True, False, True), (Role.OPERATOR, OTHERS, "else", True, False, False),
    (Role.OPERATOR, {}, "", True, False, False), (Role.ADMIN, OTHERS, "else", True, True, True), (Role.ADMIN, {}, "", True, True, True),
])
def test_who_may_what(role: Role, dag: dict[str, str], started_by: str, start: bool, change: bool, run: bool) -> None:
    mine = Claims(Person("me", role), frozenset({"shared"}), frozenset({"lab"}))
    one: Any = SimpleNamespace(**{"dag_id": "d", "submitted_by": None, "owner": "airflow", **dag})
    of: Any = SimpleNamespace(started_by=started_by)
    sees = mine.may_see(one, filter_by_owner=True)
    assert mine.may_see(one, filter_by_owner=False)
    assert sees is (role is Role.ADMIN or dag in (MINE, SHARED, MAPPED))
    assert mine.may_start(one, filter_by_owner=False) is start
    assert mine.may_start(one, filter_by_owner=True) is (start and sees)
    assert mine.may_change_dag(one) is change
    assert mine.may_change_run(one, of) is run
    assert mine.may_change_run(None, of) is (role is Role.ADMIN or (role is Role.OPERATOR and started_by == "me"))


def test_lists_are_filtered_in_as_many_questions_for_many_dags(engine: Engine) -> None:
    for number in range(20):
        save(engine, f"d{number:02}", by="ada" if number % 2 else "bob")
    with reading(engine) as connection:
        found = dags.search(connection)
        hers, all_of_them = ownership.claims(connection, ADA), ownership.claims(connection, ADMIN)
    assert [hers.may_see(dag, filter_by_owner=True) for dag in found] == [False, True] * 10
    assert all(hers.may_see(dag, filter_by_owner=False) and all_of_them.may_see(dag, filter_by_owner=True) for dag in found)
    assert [hers.may_change_dag(dag) for dag in found] == [False, True] * 10


def check(engine: Engine, submitter: Submitter, *dag_ids: str) -> None:
    with reading(engine) as connection:
        ownership.check_submit(connection, submitter, dag_ids)


def test_anothers_submit_is_refused_and_says_whose_it_is(engine: Engine) -> None:
    save(engine)
    save(engine, "old", by=None)
    check(engine, Submitter.of(ADA), "d", "new")
    check(engine, Submitter.of(ADMIN), "d", "old", "new")
    with pytest.raises(NotPermitted, match="DAG d belongs to ada, and bob submits it") as caught:
        check(engine, Submitter.of(BOB), "new", "d")
    assert caught.value.exit_code == 4
    assert "rqflow dag chown d bob" in caught.value.hint
    with pytest.raises(NotPermitted, match="belongs to the administrators"):
        check(engine, Submitter.of(ADA), "old")
    add(engine, "bob")
    ownership.share(engine, "d", "bob", by="ada")
    with pytest.raises(NotPermitted):
        check(engine, Submitter.of(BOB), "d")
    ownership.chown(engine, "d", "bob", by="root")
    check(engine, Submitter.of(BOB), "d")


def test_neither_a_share_nor_the_map_of_owners_lets_anybody_submit_what_is_the_administrators(engine: Engine) -> None:
    """A DAG of the folder has no submitter; who may work with it may not put other code in its place."""
    save(engine, "folder", by=None, owner="lab")
    ownership.share(engine, "folder", shares.EVERYONE, by="root")
    ownership.map_owner(engine, "lab", "bob", by="root", is_account=True)
    with reading(engine) as connection:
        assert ownership.claims(connection, BOB).owns(dag_of(engine, "folder"))
    with pytest.raises(NotPermitted, match="belongs to the administrators"):
        check(engine, Submitter.of(BOB), "folder")


def test_an_account_of_the_hub_overrules_only_where_all_of_it_is_its_own(engine: Engine, tmp_path: Path) -> None:
    own, server = Settings(home=tmp_path), Settings(home=tmp_path, database=Database(url="mysql://hub/rqflow"))
    mine, another = tmp_path.stat().st_uid, 54321
    assert ownership.at_hub(engine, own, "ada", mine).overrules
    assert not ownership.at_hub(engine, own, "ada", another).overrules
    assert not ownership.at_hub(engine, Settings(home=tmp_path / "none"), "ada", another).overrules
    assert not ownership.at_hub(engine, server, "ada", another).overrules
    assert ownership.at_hub(engine, server, "root", 0).overrules
    users.add(engine, "ada", role=Role.ADMIN, by="root")
    assert ownership.at_hub(engine, server, "ada", another).overrules
    users.disable(engine, "ada", by="root")
    account = ownership.at_hub(engine, server, "ada", another)
    assert not account.overrules
    save(engine, by="bob")
    save(engine, "old", by=None)
    check(engine, account, "old")
    with pytest.raises(NotPermitted):
        check(engine, account, "d")


def test_a_refused_submit_changes_nothing_and_a_run_knows_who_started_it(hub: Hub) -> None:
    broker, engine = hub.broker, hub.engine
    mine = a_version(dag_id="d", schedule=None)
    submit.register(broker, engine, [mine], submitter=Submitter.of(ADA))
    theirs = a_version(dag_id="d", schedule=None, description="taken over")
    with pytest.raises(NotPermitted):
        submit.register(broker, engine, [a_version(dag_id="new"), theirs], submitter=Submitter.of(BOB))
    assert (dag_of(engine).description, dag_of(engine).submitted_by) == (mine.description, "ada")
    with pytest.raises(DagNotFound):
        dag_of(engine, "new")
    run = trigger.by_hand(mine, trigger.Given(run_id="r"), utcnow())
    trigger.start(broker, engine, run, mine, by="bob")
    shown = query.show(broker, engine, run.key)
    assert shown.started_by == "bob"
    with reading(engine) as connection:
        assert ownership.claims(connection, BOB).may_change_run(dag_of(engine), shown)
        assert not ownership.claims(connection, EVE).may_change_run(dag_of(engine), shown)
