"""Pages: what is known is escaped, what every page shows is there, and a message is shown once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse

from rqflow import clock
from rqflow.actions.model import size_words
from rqflow.security.roles import Person, Role
from rqflow.states import TaskState
from rqflow.web import rendering
from rqflow.web.rendering import environment, flash, linked, page

PROBE = "\"'><script>alert(1)</script>&"


def request(path: str = "/", person: Person | None = None, **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": raw, "state": {"person": person}})


def text(template: str, **known: Any) -> str:
    return environment().from_string(template).render(known)


@pytest.mark.parametrize("path", sorted(p.relative_to(rendering.TEMPLATES).as_posix() for p in rendering.TEMPLATES.rglob("*.html")))
def test_each_template_compiles(path: str) -> None:
    environment().get_template(path)


@pytest.mark.parametrize("path", sorted(p for p in rendering.TEMPLATES.rglob("*.html")))
def test_no_template_has_scripts_or_handlers_of_its_own(path: Any) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|hx-on|javascript:|[\"']js:", source, re.IGNORECASE)
    assert not re.search(r"\|\s*safe\b|autoescape", source)


def test_a_page_without_a_person_has_no_menu() -> None:
    body = page(request("/login"), "base.html").body.decode()
    assert 'id="nav"' not in body
    assert "rqflow" in body


@pytest.mark.parametrize(("role", "sees"), [(Role.VIEWER, False), (Role.OPERATOR, False), (Role.ADMIN, True)])
def test_only_an_admin_has_the_admins_entries(role: Role, sees: bool) -> None:
    body = page(request("/dags/x", Person("maria", role)), "base.html").body.decode()
    assert ('href="/audit"' in body) is sees
    assert re.findall(r'href="([^"]+)" aria-current="page"', body) == ["/dags"]


def test_a_dialog_gets_the_piece_and_not_the_frame() -> None:
    asked = request("/", Person("maria", Role.VIEWER), hx_request="true", hx_target="div#dialog-body")
    known = page(asked, "base.html").body
    assert b"<html" in known, "a template that names its layout keeps it"
    template = environment().from_string("{% extends layout %}{% block title %}A{% endblock %}{% block content %}B{% endblock %}")
    piece = template.render(layout="_dialog.html")
    assert 'data-title="A"' in piece
    assert "<html" not in piece


def test_a_message_is_shown_once_and_only_by_a_whole_page() -> None:
    set_cookie = flash(RedirectResponse("/", 303), f"Cleared 3 tasks – {PROBE}").headers["set-cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=lax" in set_cookie
    cookie = set_cookie.partition(";")[0]
    person = Person("maria", Role.VIEWER)
    piece = page(request("/", person, cookie=cookie, hx_request="true"), "base.html")
    assert "set-cookie" not in piece.headers
    assert "Cleared" not in piece.body.decode()
    whole = page(request("/", person, cookie=cookie), "base.html")
    assert "Cleared 3 tasks – " in whole.body.decode()
    assert "<script>alert" not in whole.body.decode()
    assert 'rqflow_flash=""' in whole.headers["set-cookie"]


@pytest.mark.parametrize("value", ["", "x", "bm9uc2Vuc2U=", "WzFd", "e30=", "%ff"])
def test_a_cookie_that_is_not_ours_shows_nothing(value: str) -> None:
    assert b"flash-" not in page(request("/", cookie=f"rqflow_flash={value}"), "base.html").body


@given(st.text(max_size=3000))
def test_a_message_of_any_length_fits_into_a_cookie(message: str) -> None:
    assert len(flash(RedirectResponse("/", 303), message).headers["set-cookie"]) < 4000


@given(st.text(alphabet=st.sampled_from("htps:/.<>&\"' \nax@)?=")))
def test_notes_are_text_whatever_they_are(note: str) -> None:
    shown = linked(note)
    assert Markup(re.sub(r"</?a[^>]*>", "", shown)).unescape() == note
    assert not re.search(r"<(?!/?a\b)", shown)
    assert all(re.fullmatch(r'<a href="https?://[^"\s<>]+" rel="noopener noreferrer nofollow">', link) for link in re.findall(r"<a[^>]*>", shown))


def test_a_link_in_a_note_leads_there() -> None:
    assert linked("See https://example.org/a?b=1&c=2.") == (
        'See <a href="https://example.org/a?b=1&amp;c=2" rel="noopener noreferrer nofollow">https://example.org/a?b=1&amp;c=2</a>.')


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (2254857830, "2.1 GB"), (15_000_000, "14.3 MB"), (3 << 40, "3.0 TB"), (1048575, "1.0 MB"), (None, "")])
def test_sizes(count: int | None, said: str) -> None:
    assert size_words(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s ago"), (89, "89 s ago"), (600, "10 min ago"), (-7200, "in 2 h"), (864000, "10 d ago")])
def test_how_long_ago(seconds: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.utcnow()
    monkeypatch.setattr(clock, "utcnow", lambda: now)
    assert rendering.ago(now - timedelta(seconds=seconds)) == said


def test_every_state_has_a_colour_and_a_sign() -> None:
    css = (rendering.TEMPLATES.parent / "static" / "states.css").read_text(encoding="utf-8")
    for state in [*(one.value for one in TaskState), "unreachable"]:
        assert re.search(rf"--st-{state}: ", css)
        assert re.search(rf"\.st-{state}\b[^{{]*{{ --c: [^;]+; --sign: url", css), state


def test_a_square_says_its_state_to_who_does_not_see_it() -> None:
    assert 'aria-label="up for retry"' in text("{{ ui.square(s) }}", s=TaskState.UP_FOR_RETRY)
    assert 'class="sq st-up_for_retry"' in text("{{ ui.square(s) }}", s=TaskState.UP_FOR_RETRY)


def test_a_bar_of_states_has_a_part_for_each_and_the_rest_empty() -> None:
    assert re.findall(r'(?:class="(\S+)" )?style="flex-grow:(\d+)"', text("{{ ui.statebar({'success': 1, 'failed': 2, 'queued': 0}, '', 9) }}")) == [
        ("st-success", "1"), ("st-failed", "2"), ("", "6")]
    assert 'aria-label="1 success, 2 failed"' in text("{{ ui.statebar({'success': 1, 'failed': 2}) }}")


@pytest.mark.parametrize("call", [
    "ui.square('failed', p, p)", "ui.badge(p, p)", "ui.pill(p, '', p)", "ui.figure(p, p, p, '', p)", "ui.tabs([(p, p, p, 1)], p, p)",
    "ui.empty(p, p, p, p)", "ui.alert(p, 'bad', p, p)", "ui.choice(p, p, [(p, p)], p)", "ui.field(p, p, p, hint=p, error=p)", "ui.area(p, p, p, p, p)",
    "ui.check(p, p, true, p, p)", "ui.button(p, '', '', p, p)", "ui.link(p, p)", "ui.act(p, p, '', '', {p: p})", "ui.toggle(p, true, p)", "ui.copy(p)",
    "ui.code(p, p)", "ui.facts([(p, p)])", "ui.note(p)", "ui.live(p, p, p)", "ui.statebar({p: 1}, p)", "ui.pager(1, 2, 1, p, p)",
])
def test_no_macro_lets_html_through(call: str) -> None:
    assert "<script" not in text("{{ " + call + " }}", p=PROBE)
