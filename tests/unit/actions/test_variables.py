"""What is exported is what is imported; Connections are the same as URI, as JSON and as fields."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rqflow.actions import connections, variables
from rqflow.actions.variables import Given
from rqflow.dag.outside import Connection

NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name == name.strip())
#: What a database can keep of a text is all but NUL, which it replaces.
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
FIELDS = st.fixed_dictionaries({"conn_type": st.sampled_from(["mysql", "postgres", "sqlite", "google_cloud"])}, optional={
    "host": st.one_of(st.from_regex(r"[a-zA-Z0-9.-]{1,12}", fullmatch=True), st.just("/a/B c.db")),
    "login": TEXTS.filter(bool), "password": TEXTS.filter(bool), "schema": TEXTS.filter(lambda text: text.strip("/") == text != ""),
    "port": st.integers(1, 65535), "extra": st.dictionaries(TEXTS.filter(lambda key: key not in {"", "__extra__"}), st.one_of(
        TEXTS, st.integers(), st.lists(st.booleans())), min_size=1, max_size=3).map(json.dumps),
})


@given(st.dictionaries(NAMES, st.builds(Given, value=TEXTS, is_secret=st.sampled_from([True, None]), description=TEXTS), max_size=4))
def test_exported_variables_are_read_as_they_were(known: dict[str, Given]) -> None:
    text = json.dumps({key: variables.as_exported(one) for key, one in known.items()})
    found = variables.read_file(text, "f")
    assert {key: (one.value, bool(one.is_secret), one.description or "") for key, one in found.items()} == {
        key: (one.value, bool(one.is_secret), one.description or "") for key, one in known.items()}


@given(FIELDS)
def test_a_connection_is_the_same_as_uri_as_json_and_as_fields(fields: dict[str, object]) -> None:
    kept = connections.read("c", fields)
    assert {name: value for name, value in kept.items() if name != "extra"} == {name: value for name, value in fields.items() if name != "extra"}
    assert connections.read("c", json.dumps(fields)) == kept
    by_uri = connections.read("c", Connection.read("c", fields).get_uri())
    assert json.loads(str(by_uri.pop("extra", "{}"))) == json.loads(str(kept.pop("extra", "{}")))
    assert by_uri == kept


@given(FIELDS)
def test_a_shown_connection_tells_no_password(fields: dict[str, object]) -> None:
    secret = "s3cret-" + str(fields.get("password", ""))
    shown = connections.hidden({**fields, "password": secret, "extra": json.dumps({"nested": {"api_key": secret}, "host": "h"})})
    assert secret not in json.dumps(shown, ensure_ascii=False)
    assert json.loads(shown["extra"]) == {"nested": {"api_key": "***"}, "host": "h"}
