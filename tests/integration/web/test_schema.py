"""Whatever a client sends, that the OpenAPI document allows or not, the API answers without a fault of its own, and as the document says."""

from __future__ import annotations

import itertools

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from rqflow.actions.people import tokens
from tests.integration.web.site import Site
from tests.unit.builders import a_version

#: Requests of each operation.
EXAMPLES = 6
#: Ids of things that there are, for each second request: of others most operations only say that they are not there.
REAL = {"dag_id": "daily", "run": "r1", "task_id": "a", "name": "default_pool", "key": "k", "conn_id": "c", "username": "ann", "queue": "default"}


@pytest.mark.timeout(240)
def test_nothing_that_is_sent_makes_the_api_fail(site: Site) -> None:
    site.hub.start(a_version(dag_id="daily", params={"n": 1}), run_id="r1")
    site.browser("ann")
    headers = {"Authorization": f"Bearer {tokens.make(site.engine, 'ann', name='probe', by='ann').text}"}
    failures: list[str] = []
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", site.app)
    schema.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
    found = [one.ok() for one in schema.get_all_operations()]
    turns = itertools.count()
    # What deletes comes last.
    for operation in sorted(found, key=lambda one: one.method.upper() == "DELETE"):

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True, phases=[Phase.generate])
        @given(case=operation.as_strategy())
        def probe(case: schemathesis.Case) -> None:
            if next(turns) % 2:
                case.path_parameters = {name: REAL.get(name, value) for name, value in (case.path_parameters or {}).items()}
            answer = case.call(headers=headers)
            documented = {int(code) for code in case.operation.definition.raw["responses"]} - {503}
            if answer.status_code not in documented | {405, 413}:
                failures.append(f"{case.as_curl_command()}: {answer.status_code} {answer.content[:300]!r}")

        probe()
    assert not failures, "\n".join(failures[:10])
