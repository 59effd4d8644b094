"""People on each kind of database: logins, sessions, tokens, links, and what becomes of what a person has."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from rqflow import clock
from rqflow.actions import people
from rqflow.actions.people import sessions, setup, signing_in, tokens, users
from rqflow.actions.people.sessions import NewSession
from rqflow.exceptions import Conflict, NotFound, NotPermitted, RqflowError, UsageError
from rqflow.security import bearer
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Person, Role
from rqflow.store import dags, events, schedules
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.events import EventFilter
from rqflow.store.schedules import Followed
from rqflow.store.tables import metadata
from tests.unit.builders import a_version

CHEAP = Passwords(memory=64, passes=1)
WORD = "correct horse"
DAY = timedelta(days=1)


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = clock.utcnow()

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "utcnow", made)
    return made


def add(engine: Engine, name: str = "ada", role: Role = Role.ADMIN, password: str | None = WORD) -> None:
    users.add(engine, name, role=role, by="root", password=password, passwords=CHEAP)


def log_in(engine: Engine, name: str = "ada", password: str = WORD, *, lifetime: timedelta = DAY) -> NewSession:
    return signing_in.by_password(engine, name, password, ip="10.0.0.1", agent="Firefox", lifetime=lifetime, passwords=CHEAP)


def deeds(engine: Engine) -> list[tuple[str, str]]:
    """(event, who), the oldest first."""
    with reading(engine) as connection:
        return [(one.event, one.who) for one in reversed(events.search(connection, EventFilter(kinds={events.AUDIT})))]


def everything(engine: Engine) -> str:
    """All rows of all tables, as text."""
    with reading(engine) as connection:
        return "\n".join(str(row) for table in metadata.sorted_tables for row in connection.execute(select(table)))


def a_dag(engine: Engine, dag_id: str, by: str | None, *, scheduled: bool = False) -> None:
    def write(connection: Connection) -> None:
        dags.save_version(connection, a_version(dag_id=dag_id), submitted_by=by)
        if scheduled:
            schedules.put(connection, dag_id, Followed(series="@daily", start=clock.EPOCH, upto=None, next_run_at=clock.utcnow()))

    run_in_transaction(engine, write)


def dag_of(engine: Engine, dag_id: str) -> dags.DagRecord:
    with reading(engine) as connection:
        return dags.find(connection, dag_id)


def test_a_person_logs_in_is_known_and_logs_out(engine: Engine) -> None:
    assert people.count_users(engine) == 0
    add(engine, role=Role.OPERATOR)
    assert people.count_users(engine) == 1
    begun = log_in(engine)
    assert signing_in.by_session(engine, begun.secret) == Person("ada", Role.OPERATOR)
    (shown,) = sessions.list_all(engine)
    assert (shown.username, shown.ip, shown.agent, shown.expires_at) == ("ada", "10.0.0.1", "Firefox", begun.expires_at)
    assert users.get(engine, "ada").last_login_at == shown.created_at
    signing_in.log_out(engine, begun.secret)
    signing_in.log_out(engine, begun.secret)
    assert signing_in.by_session(engine, begun.secret) is None
    assert deeds(engine) == [("user_added", "root"), ("login", "ada"), ("logout", "ada")]


def test_no_secret_is_kept(engine: Engine) -> None:
    add(engine)
    begun, token = log_in(engine), tokens.make(engine, "ada", name="ci", by="ada")
    link = setup.make(engine, by="ada")
    kept = everything(engine)
    assert bearer.digest(begun.secret) in kept
    for secret in (WORD, begun.secret, token.text, link.secret):
        assert secret not in kept
        assert secret not in repr((begun, token, link))


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong horse"), ("Ada", WORD), ("nobody", WORD), ("ada", ""), ("ada", "x" * 5000), ("\0", "\ud800"),
                                                ("none", ""), ("a" * 5000, WORD)])
def test_what_is_wrong_with_a_login_is_not_told_and_is_written_down(engine: Engine, name: str, password: str) -> None:
    add(engine)
    add(engine, "none", password=None)
    with pytest.raises(NotPermitted, match=r"^the user name or the password is wrong$"):
        log_in(engine, name, password)
    assert deeds(engine)[-1][0] == "login_failed"
    assert sessions.list_all(engine) == []


def test_a_session_goes_on_while_it_is_used_and_is_noted_once_a_minute(engine: Engine, moment: Clock) -> None:
    add(engine)
    begun = log_in(engine, lifetime=DAY)
    moment.now += timedelta(seconds=59)
    assert signing_in.by_session(engine, begun.secret)
    assert sessions.list_all(engine)[0].expires_at == begun.expires_at
    moment.now += timedelta(seconds=1)
    assert signing_in.by_session(engine, begun.secret)
    assert sessions.list_all(engine)[0].expires_at == begun.expires_at + timedelta(minutes=1)
    moment.now += DAY - timedelta(seconds=1)
    assert signing_in.by_session(engine, begun.secret)
    moment.now += DAY
    assert signing_in.by_session(engine, begun.secret) is None
    assert sessions.list_all(engine) == []
    log_in(engine)
    assert bearer.digest(begun.secret) not in everything(engine)


def test_sessions_are_revoked_one_or_all_but_ones_own(engine: Engine) -> None:
    add(engine)
    one, two, three = (log_in(engine) for _ in range(3))
    sessions.revoke(engine, sessions.find(engine, bearer.digest(one.secret)[:12]).digest, by="ada")
    assert signing_in.by_session(engine, one.secret) is None
    assert sessions.revoke_all(engine, "ada", by="ada", keep=bearer.digest(two.secret)) == 1
    assert signing_in.by_session(engine, two.secret)
    assert signing_in.by_session(engine, three.secret) is None
    with pytest.raises(NotFound):
        sessions.revoke(engine, bearer.digest(one.secret), by="ada")
    with pytest.raises(NotFound):
        sessions.find(engine, "zz")
    log_in(engine)
    with pytest.raises(NotFound):
        sessions.find(engine, "")


def test_another_password_ends_sessions_and_lets_the_old_one_in_no_more(engine: Engine) -> None:
    add(engine)
    old, own = log_in(engine), log_in(engine)
    assert users.set_password(engine, "ada", "battery staple", by="ada", keep=bearer.digest(own.secret), passwords=CHEAP) == 1
    assert signing_in.by_session(engine, old.secret) is None
    assert signing_in.by_session(engine, own.secret)
    with pytest.raises(NotPermitted):
        log_in(engine)
    assert log_in(engine, password="battery staple").username == "ada"


def test_a_hash_of_another_cost_is_made_anew_at_the_next_login(engine: Engine) -> None:
    users.add(engine, "ada", role=Role.ADMIN, by="root", password=WORD, passwords=Passwords(memory=32, passes=1))
    assert "m=32," in everything(engine)
    log_in(engine)
    assert "m=64," in everything(engine)
    assert log_in(engine).username == "ada"


def test_a_token_lets_in_for_as_much_and_as_long_as_it_says(engine: Engine, moment: Clock) -> None:
    add(engine, role=Role.OPERATOR)
    full = tokens.make(engine, "ada", name="all", by="ada")
    small = tokens.make(engine, "ada", name="ci", by="ada", role=Role.VIEWER, lifetime=DAY)
    assert full.text.startswith("rqf_")
    assert signing_in.by_token(engine, full.text) == Person("ada", Role.OPERATOR)
    assert signing_in.by_token(engine, small.text) == Person("ada", Role.VIEWER)
    assert signing_in.by_basic(engine, "ada", small.text) == Person("ada", Role.VIEWER)
    assert signing_in.by_basic(engine, "bob", small.text) is None
    assert [one.last_used_at for one in tokens.list_all(engine, username="ada")] == [moment.now, moment.now]
    for wrong in ("", "rqf_", small.text + "x", small.text[4:], bearer.digest(small.text)):
        assert signing_in.by_token(engine, wrong) is None
    users.edit(engine, "ada", by="root", role=Role.VIEWER)
    assert signing_in.by_token(engine, full.text) == Person("ada", Role.VIEWER)
    moment.now += DAY
    assert signing_in.by_token(engine, small.text) is None
    assert [one.state(moment.now) for one in tokens.list_all(engine)] == ["active", "expired"]
    tokens.revoke(engine, full.record.id, by="ada", of="ada")
    assert signing_in.by_token(engine, full.text) is None
    with pytest.raises(Conflict, match="revoked already"):
        tokens.revoke(engine, full.record.id, by="ada")


def test_a_token_of_anothers_is_as_if_it_were_not_there(engine: Engine) -> None:
    add(engine)
    made = tokens.make(engine, "ada", name="ci", by="ada")
    with pytest.raises(NotFound):
        tokens.revoke(engine, made.record.id, by="bob", of="bob")
    with pytest.raises(NotFound):
        tokens.revoke(engine, made.record.id + 1, by="ada")
    assert signing_in.by_token(engine, made.text)


@pytest.mark.parametrize(("given", "error"), [
    ({"role": Role.ADMIN}, "may not do more than its person"), ({"name": " "}, "one line"), ({"name": "a\nb"}, "one line"),
    ({"lifetime": timedelta(0)}, "lasts longer"), ({"lifetime": timedelta(days=999_999_999)}, "cannot last for so long"),
])
def test_a_token_that_cannot_be_is_refused(engine: Engine, given: dict[str, Any], error: str) -> None:
    add(engine, role=Role.OPERATOR)
    with pytest.raises(UsageError, match=error):
        tokens.make(engine, "ada", by="ada", **{"name": "ci", **given})
    assert tokens.list_all(engine) == []


def test_the_first_administrator_comes_by_a_link_that_is_good_once(engine: Engine) -> None:
    link = setup.make(engine, by="root")
    assert (link.role, link.username, setup.look(engine, link.secret).role) == (Role.ADMIN, None, "admin")
    with pytest.raises(UsageError, match="at least 8 characters"):
        setup.use_link(engine, link.secret, "ada", "short", ip="::1", agent="", passwords=CHEAP)
    begun = setup.use_link(engine, link.secret, "ada", WORD, ip="::1", agent="", passwords=CHEAP)
    assert signing_in.by_session(engine, begun.secret) == Person("ada", Role.ADMIN)
    assert log_in(engine).username == "ada"
    for again in (lambda: setup.look(engine, link.secret), lambda: setup.use_link(engine, link.secret, "eve", WORD, ip="", agent="", passwords=CHEAP)):
        with pytest.raises(Conflict, match="was used already, and is good once"):
            again()
    assert people.count_users(engine) == 1


def test_a_link_that_is_late_or_was_never_made_says_so(engine: Engine, moment: Clock) -> None:
    link = setup.make(engine, by="root")
    moment.now += timedelta(minutes=59)
    setup.look(engine, link.secret)
    moment.now += timedelta(minutes=1)
    with pytest.raises(Conflict, match="was good until"):
        setup.use_link(engine, link.secret, "ada", WORD, ip="", agent="", passwords=CHEAP)
    with pytest.raises(NotFound, match="no such set-up link"):
        setup.look(engine, "nonsense")
    assert people.count_users(engine) == 0


def test_a_link_of_a_person_sets_their_password_and_nobody_elses(engine: Engine) -> None:
    add(engine, "ada")
    add(engine, "bob", Role.OPERATOR)
    old = log_in(engine, "bob")
    link = setup.make(engine, by="ada", username="bob")
    with pytest.raises(UsageError, match="for bob"):
        setup.use_link(engine, link.secret, "ada", "battery staple", ip="", agent="", passwords=CHEAP)
    setup.use_link(engine, link.secret, "bob", "battery staple", ip="", agent="", passwords=CHEAP)
    assert signing_in.by_session(engine, old.secret) is None
    assert users.get(engine, "bob").role == "operator"
    assert log_in(engine, "bob", "battery staple")
    anyone = setup.make(engine, by="ada", role=Role.VIEWER)
    with pytest.raises(Conflict, match="there is a user ada already"):
        setup.use_link(engine, anyone.secret, "ada", "battery staple", ip="", agent="", passwords=CHEAP)
    assert setup.use_link(engine, anyone.secret, "eve", WORD, ip="", agent="", passwords=CHEAP).username == "eve"
    with pytest.raises(UsageError, match="bob is operator already"):
        setup.make(engine, by="ada", username="bob", role=Role.ADMIN)


def test_of_many_who_use_a_link_at_once_one_comes_in(engine: Engine) -> None:
    link = setup.make(engine, by="root")

    def use(number: int) -> str:
        try:
            return setup.use_link(engine, link.secret, f"user{number}", WORD, ip="", agent="", passwords=CHEAP).username
        except Conflict:
            return ""

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(use, range(4)))
    assert len([name for name in found if name]) == 1
    assert [one.username for one in users.list_all(engine)] == [name for name in found if name]


def test_who_is_disabled_is_out_at_once_and_their_scheduled_dags_are_paused(engine: Engine) -> None:
    add(engine, "ada")
    add(engine, "bob", Role.OPERATOR)
    begun, token, link = log_in(engine, "bob"), tokens.make(engine, "bob", name="ci", by="bob"), setup.make(engine, by="ada", username="bob")
    a_dag(engine, "daily", "bob", scheduled=True)
    a_dag(engine, "by-hand", "bob")
    a_dag(engine, "hers", "ada", scheduled=True)
    left = users.disable(engine, "bob", by="ada")
    assert (left.sessions, left.tokens, left.scheduled, left.handed_over) == (1, 1, ("daily",), ())
    assert signing_in.by_session(engine, begun.secret) is None
    assert signing_in.by_token(engine, token.text) is None
    with pytest.raises(NotFound):
        setup.look(engine, link.secret)
    with pytest.raises(NotPermitted, match="bob is disabled"):
        log_in(engine, "bob")
    assert [dag_of(engine, name).is_paused for name in ("daily", "by-hand", "hers")] == [True, False, False]
    assert "bob is not here any more" in str(dag_of(engine, "daily").pause_reason)
    with pytest.raises(Conflict, match="disabled already"):
        users.disable(engine, "bob", by="ada")
    users.enable(engine, "bob", by="ada")
    assert log_in(engine, "bob")
    assert signing_in.by_token(engine, token.text) is None
    assert ("user_disabled", "ada") in deeds(engine)


def test_an_heir_takes_over_all_dags_which_go_on(engine: Engine) -> None:
    add(engine, "ada")
    add(engine, "bob", Role.OPERATOR)
    a_dag(engine, "daily", "bob", scheduled=True)
    a_dag(engine, "by-hand", "bob")
    with pytest.raises(NotFound):
        users.disable(engine, "bob", by="ada", heir="eve")
    with pytest.raises(UsageError, match="cannot take over"):
        users.disable(engine, "bob", by="ada", heir="bob")
    assert users.get(engine, "bob").is_active
    left = users.disable(engine, "bob", by="ada", heir="ada")
    assert (left.scheduled, left.handed_over) == (("daily",), ("by-hand", "daily"))
    assert (dag_of(engine, "daily").submitted_by, dag_of(engine, "daily").is_paused) == ("ada", False)


def test_who_is_deleted_leaves_nothing_to_the_next_of_that_name(engine: Engine) -> None:
    add(engine, "ada")
    add(engine, "bob", Role.OPERATOR)
    begun, token = log_in(engine, "bob"), tokens.make(engine, "bob", name="ci", by="bob")
    a_dag(engine, "by-hand", "bob")
    users.delete(engine, "bob", by="ada")
    assert [one.username for one in users.list_all(engine)] == ["ada"]
    add(engine, "bob", Role.OPERATOR, "battery staple")
    assert signing_in.by_session(engine, begun.secret) is None
    assert signing_in.by_token(engine, token.text) is None
    assert tokens.list_all(engine) == []
    assert dag_of(engine, "by-hand").submitted_by is None
    with pytest.raises(NotFound):
        users.delete(engine, "eve", by="ada")


def test_the_last_administrator_of_several_people_stays_one(engine: Engine) -> None:
    add(engine, "ada")
    users.edit(engine, "ada", by="root", full_name="Ada L.")
    add(engine, "bob", Role.OPERATOR)
    for deed in (lambda: users.disable(engine, "ada", by="ada"), lambda: users.delete(engine, "ada", by="ada"),
                 lambda: users.edit(engine, "ada", by="ada", role=Role.VIEWER)):
        with pytest.raises(Conflict, match="ada is the only administrator"):
            deed()
    users.edit(engine, "bob", by="ada", role=Role.ADMIN)
    users.delete(engine, "ada", by="bob")
    users.delete(engine, "bob", by="bob")
    assert people.count_users(engine) == 0


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a:b", "a/b", "*", "a\n", "ä" * 101, "a,b", "<script>"])
def test_a_name_that_cannot_be_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(UsageError, match="the user name"):
        add(engine, name)
    with pytest.raises(UsageError, match="the user name"):
        setup.make(engine, by="root", username=name)


@pytest.mark.parametrize("given", [{"email": "no address"}, {"email": "a@b@c"}, {"full_name": "a\nb"}, {"full_name": "x" * 251}, {"password": "1234567"},
                                   {"password": "x" * 1001}])
def test_what_is_wrong_of_a_person_is_refused(engine: Engine, given: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        users.add(engine, "ada", role=Role.VIEWER, by="root", passwords=CHEAP, **given)
    assert people.count_users(engine) == 0


def test_a_name_is_given_once_and_minds_its_case(engine: Engine) -> None:
    add(engine, "ada")
    with pytest.raises(Conflict, match="there is a user ada already"):
        add(engine, "ada")
    add(engine, "Ada", Role.VIEWER)
    assert [one.username for one in users.list_all(engine)] == ["Ada", "ada"]


def test_a_voucher_adds_whom_it_may_and_lets_in_nobody_who_is_disabled(engine: Engine) -> None:
    with pytest.raises(NotPermitted, match="there is no user ada"):
        signing_in.by_voucher(engine, "ada", source=users.Source.PROXY, role=None)
    assert signing_in.by_voucher(engine, "ada", source=users.Source.PROXY, role=Role.VIEWER) == Person("ada", Role.VIEWER)
    users.edit(engine, "ada", by="root", role=Role.ADMIN)
    person = signing_in.by_voucher(engine, "ada", source=users.Source.PROXY, role=Role.VIEWER)
    assert person == Person("ada", Role.ADMIN)
    begun = signing_in.begin(engine, person, ip="::1", agent="", lifetime=DAY, how="oidc")
    assert signing_in.by_session(engine, begun.secret) == person
    with pytest.raises(NotPermitted, match="is wrong"):
        log_in(engine)
    users.disable(engine, "ada", by="root")
    for deed in (lambda: signing_in.by_voucher(engine, "ada", source=users.Source.PROXY, role=Role.VIEWER),
                 lambda: signing_in.begin(engine, person, ip="::1", agent="", lifetime=DAY, how="oidc")):
        with pytest.raises(NotPermitted, match="ada is disabled"):
            deed()


def test_every_deed_is_in_the_audit_log_with_what_was_given(engine: Engine) -> None:
    add(engine, "ada")
    users.edit(engine, "ada", by="root", email="ada@lab.example")
    users.edit(engine, "ada", by="root", email="ada@lab.example")
    with reading(engine) as connection:
        found = events.search(connection)
    assert [(one.event, one.who, json.loads(one.detail)) for one in found] == [
        ("user_edited", "root", {"user": "ada", "email": "ada@lab.example"}),
        ("user_added", "root", {"user": "ada", "role": "admin", "source": "password"})]
    with pytest.raises(RqflowError):
        users.edit(engine, "eve", by="root", email="")
