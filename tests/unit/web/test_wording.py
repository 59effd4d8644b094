"""Errors and reasons, worded for the command line, as a page says them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from rqflow.web.wording import said


@pytest.mark.parametrize(("text", "shown"), [
    ("there is no DAG none", "There is no DAG none"),
    ("daily is paused", "daily is paused"),
    ("`rqflow dag list` shows the DAGs.", '<a href="/dags">The list of DAGs</a> shows the DAGs.'),
    ("`rqflow pool set a/b SLOTS` makes it, `rqflow pool list` shows the others.",
     '<a href="/pools">A change on the page Pools</a> makes it, <a href="/pools">the page Pools</a> shows the others.'),
    ("`rqflow dag unpause a/<b>`", '<a href="/dags/a%2F%3Cb%3E">“Let it go on” on the page of a/&lt;b&gt;</a>'),
    ("Its schedule runs it then; `rqflow run start d --at 2026-01-01T00:00` runs it now.",
     'Its schedule runs it then; <a href="/dags/d/trigger">“Start a run” of d</a> runs it now.'),
    ("when you know that it is gone: `rqflow task mark-lost RUN TASK`", "when you know that it is gone: “Mark lost” on its page"),
    ("On the hub: `rqflow scheduler`", "On the hub: <code>rqflow scheduler</code>"),
    ("Give another --run-id, or another logical date with --at.", "Give another name, or another logical date."),
    ("""--conf is no JSON: x\nWrite it like --conf '{"a": 1}' or --conf @file.json.""", "conf is no JSON: x\nWrite it like {&#34;a&#34;: 1}."),
])
def test_commands_become_links_and_options_become_fields(text: str, shown: str) -> None:
    assert str(said(text)) == shown


def test_what_goes_on_behind_other_words_has_no_capital_letter() -> None:
    assert str(said("the end of that", begins=False)) == "the end of that"
    assert str(said("`rqflow run start d`", begins=False)) == '<a href="/dags/d/trigger">“Start a run” of d</a>'
    assert str(said("`rqflow pool list` shows them", begins=False)) == '<a href="/pools">the page Pools</a> shows them'


def test_what_is_html_already_stays() -> None:
    assert said(Markup("<b>x</b>")) == "<b>x</b>"


@given(st.lists(st.sampled_from([*"<>&\"'` \n-abc", "`rqflow dag unpause ", "`rqflow run start ", "--run-id ID"]), max_size=60))
def test_nothing_that_was_given_becomes_markup(pieces: list[str]) -> None:
    text = "".join(pieces)
    shown = re.sub(r'</?code>|<a href="/[\w%./~-]*">|</a>', "", str(said(text)))
    assert "<" not in shown
    assert ">" not in shown
    assert '"' not in shown
    assert Markup(shown).unescape() is not None
    if "`" not in text and "--" not in text:
        assert str(said(text))[1:] == str(escape(text))[1:]
