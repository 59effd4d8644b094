"""The reference of the REST API: a document, and a page made of it that loads nothing from elsewhere."""

from __future__ import annotations

import re

from markupsafe import escape

from rqflow.api.table import OPERATIONS
from tests.integration.web.site import Site


def test_the_page_has_every_operation_with_what_it_takes_and_gives(site: Site) -> None:
    text = site.browser("ann").get("/api/v1/reference").text
    for one in OPERATIONS:
        assert f'id="o-{one.name}"' in text
        assert escape(one.summary) in text
    assert "Only these tasks, whatever the others are" in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    links = set(re.findall(r'href="#(s-[^"]+)"', text))
    assert links
    assert links <= set(re.findall(r'id="(s-[^"]+)"', text))


def test_who_is_not_logged_in_is_sent_to_the_login(site: Site) -> None:
    assert site.browser().get("/api/v1/reference").headers["location"] == "/login?next=/api/v1/reference"


def test_the_document_says_how_to_log_in_and_which_role_an_operation_takes(site: Site) -> None:
    document = site.browser("ann").get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert document["security"] == [{"token": []}, {"basic": []}]
    start = document["paths"]["/api/v1/runs"]["post"]
    assert (start["x-role"], start["operationId"]) == ("operator", "runs.start")
    assert start["responses"]["403"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
