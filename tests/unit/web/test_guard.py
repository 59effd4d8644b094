"""What is refused before anybody looks at it, and what every answer tells browsers."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from rqflow.web.guard import CONTENT_SECURITY, NotTooLarge, OwnPagesOnly, SafeHeaders


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
