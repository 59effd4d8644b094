"""Files that pages load: found by a URL with their hash, kept by browsers for ever, the same bytes compressed or not."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from rqflow.web import assets
from rqflow.web.assets import static


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(assets.router)
    return TestClient(app)


@pytest.mark.parametrize("name", sorted(assets.assets()))
def test_each_file_comes_with_its_type_and_is_kept_for_ever(client: TestClient, name: str) -> None:
    answer = client.get(static(name))
    assert answer.status_code == 200
    assert answer.content == assets.assets()[name].content
    assert answer.headers["content-type"] == assets.TYPES["." + name.rpartition(".")[2]]
    assert "immutable" in answer.headers["cache-control"]


def test_text_is_compressed_for_who_takes_it(client: TestClient) -> None:
    url = static("vendor/viz-global.js")
    packed = client.get(url, headers={"Accept-Encoding": "gzip"})
    plain = client.get(url, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 0.5 * int(plain.headers["content-length"])
    assert packed.content == plain.content
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_a_browser_has_is_not_sent_again(client: TestClient, encoding: str) -> None:
    first = client.get(static("app.css"), headers={"Accept-Encoding": encoding})
    again = client.get(static("app.css"), headers={"Accept-Encoding": encoding, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_page_of_an_older_release_gets_the_file_but_does_not_keep_it(client: TestClient) -> None:
    answer = client.get("/static/0123456789abcdef/vendor/viz-global.js")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "..%2fapp.py", "vendor/vendor.toml", "vendor/licenses/../../app.py", ""])
def test_anything_else_is_not_there(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{assets.assets()['app.css'].version}/{name}").status_code == 404


def test_modules_that_import_each_other_have_the_same_hash() -> None:
    own = {name: one for name, one in assets.assets().items() if not name.startswith("vendor/")}
    assert len({one.version for one in own.values()}) == 1
    for name, one in own.items():
        if name.endswith(".js"):
            for imported in re.findall(rb'from "\./([\w.]+)"', one.content):
                assert imported.decode() in own, f"{name} imports {imported.decode()}"


@pytest.mark.parametrize("name", sorted(name for name in assets.assets() if not name.startswith("vendor/")))
def test_our_own_files_name_no_other_host_and_build_no_code(name: str) -> None:
    text = assets.assets()[name].content.decode()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"\beval\(|new Function|insertAdjacentHTML|document\.write", text)
    assert name == "html.js" or not re.search(r"innerHTML\s*=", text)
