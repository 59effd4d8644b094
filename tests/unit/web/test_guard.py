"""What is refused before anybody looks at it, and what every answer tells browsers."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from rqflow.web.guard import CONTENT_SECURITY, NotTooLarge, OwnNamesOnly, OwnPagesOnly, SafeHeaders


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()

    @app.api_route("/x", methods=["GET", "POST", "DELETE"])
    @app.api_route("/api/v1/x", methods=["GET", "POST", "DELETE"])
    async def x(request: Request) -> int:
        return len(await request.body())

    for guard in (OwnPagesOnly, SafeHeaders):
        app.add_middleware(guard)
    app.add_middleware(NotTooLarge, most=1000)
    return TestClient(app, base_url="http://hub:8080")


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://hub:8080"}, {"Referer": "http://hub:8080/dags"}, {},
    {"Origin": "http://evil.example", "Authorization": "Bearer rqf_x"}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
])
def test_our_own_pages_programs_and_tokens_may_change_things(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/x", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}, {"Origin": "http://hub:8081"}, {"Origin": "null"},
    {"Origin": "http://evil.example", "Authorization": "Basic YW5uOnJxZl94"}, {"Sec-Fetch-Site": "cross-site", "Authorization": "Negotiate x"},
    {"Referer": "http://hub.evil.example:8080/"}, {"Origin": "http://hub:8080.evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://hub:8080"},
])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_r78_pages_of_others_may_change_nothing(client: TestClient, headers: dict[str, str], method: str) -> None:
    """Reliability 78."""
    assert client.request(method, "/x", headers=headers).status_code == 403


def test_pages_of_others_may_link_to_ours(client: TestClient) -> None:
    assert client.get("/x", headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}).status_code == 200


def test_a_refusal_of_the_api_is_a_problem_document(client: TestClient) -> None:
    answer = client.post("/api/v1/x", headers={"Origin": "http://evil.example"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], "evil.example" in answer.json()["detail"]) == (403, True)


def test_too_much_is_refused_announced_or_not(client: TestClient) -> None:
    assert client.post("/x", content=b"x" * 1000).json() == 1000
    assert client.post("/x", content=b"x" * 1001).status_code == 413
    assert client.post("/x", content=iter([b"x" * 600, b"x" * 600])).status_code == 413
    assert client.post("/x", headers={"Content-Length": "many"}).status_code == 413


def test_every_answer_tells_browsers_what_a_page_may_do(client: TestClient) -> None:
    headers = client.get("/x").headers
    assert headers["content-security-policy"] == CONTENT_SECURITY
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def own_names(*names: str) -> TestClient:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)

    return TestClient(OwnNamesOnly(app, names))


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "LOCALHOST.", "hub.localhost:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "192.0.2.7", "lab.example:443",
                                  "Lab.Example", ""])
def test_a_server_of_its_own_machine_answers_to_its_names_and_to_addresses(host: str) -> None:
    assert own_names("lab.example").get("/x", headers={"Host": host}).text == "here"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "lab.example.evil.example", "x@evil.example", "[",
                                  "0x7f000001", "localhost:8080@evil.example"])
@pytest.mark.parametrize("path", ["/x", "/api/v1/x"])
def test_a_page_that_lets_its_name_lead_here_is_answered_nothing(host: str, path: str) -> None:
    """DNS rebinding: to the browser such a page is of our own origin, so that nothing else tells it from ours."""
    answer = own_names("lab.example").get(path, headers={"Host": host})
    assert (answer.status_code, "webserver.names" in answer.text, "here" in answer.text.split()) == (421, True, False)
