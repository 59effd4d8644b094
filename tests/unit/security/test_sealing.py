"""Sealing for one reader, and vouching between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError
from rqflow.security.entries import opened, sealed_for
from rqflow.security.keyring import Keyring, WrongKey, new_key
from rqflow.security.membership import HUB_FILE, KEY_FILE, Member
from rqflow.security.sealing import BoxKey, Unsealable, name_of, seal


def test_only_its_reader_opens_what_was_sealed() -> None:
    reader, other = BoxKey.fresh(), BoxKey.fresh()
    sealed = seal(reader.public, "geheim \u00e4\udc80")
    assert BoxKey(reader.private).open(sealed) == "geheim \u00e4\udc80"
    assert sealed != seal(reader.public, "geheim \u00e4\udc80")
    for key, text in ((other, sealed), (reader, sealed[:-8] + "AAAAAAA="), (reader, "no base64"), (reader, "")):
        with pytest.raises(Unsealable):
            key.open(text)


def test_a_proof_holds_between_two_and_for_what_was_said() -> None:
    worker, hub, third = BoxKey.fresh(), BoxKey.of_hub(new_key()), BoxKey.fresh()
    proof = worker.vouch(hub.public, {"a": 1, "b": {"y": 2, "x": 1}})
    assert hub.is_vouched(worker.public, {"b": {"x": 1, "y": 2}, "a": 1}, proof)
    assert not hub.is_vouched(worker.public, {"a": 2, "b": {"x": 1, "y": 2}}, proof)
    assert not hub.is_vouched(third.public, {"a": 1, "b": {"x": 1, "y": 2}}, proof)
    assert third.vouch(hub.public, {"a": 1}) != worker.vouch(hub.public, {"a": 1})


def test_the_key_of_the_hub_is_the_same_for_the_same_fernet_key() -> None:
    key = new_key()
    assert BoxKey.of_hub(key).public == BoxKey.of_hub(key).public != BoxKey.of_hub(new_key()).public


def test_entries_are_sealed_anew_for_a_reader() -> None:
    ring, reader = Keyring([new_key()]), BoxKey.fresh()
    key, sealed = ring.seal("p/w")
    entry = {"key": key, "password": sealed, "host": "db", "extra": None}
    anew = sealed_for(reader.public, ring, "CONN", "lab", entry)
    assert anew["key"] == name_of(reader.public)
    assert opened(Keyring([], boxes=[reader]), "CONN", "lab", anew) == {"host": "db", "password": "p/w"}
    with pytest.raises(WrongKey, match="this process has no key"):
        opened(Keyring([]), "CONN", "lab", anew)
    with pytest.raises(WrongKey, match="the Variable x is damaged"):
        Keyring([], boxes=[reader]).open(reader.name, "AAAA", "the Variable x")


def test_a_home_is_a_member_once_both_keys_are_there(tmp_path: Path) -> None:
    own, hub = BoxKey.fresh(), BoxKey.fresh()
    assert Member.of(tmp_path) is None
    (tmp_path / "keys").mkdir()
    (tmp_path / KEY_FILE).write_text(own.private + "\n")
    assert Member.of(tmp_path) is None
    (tmp_path / HUB_FILE).write_text("no key")
    with pytest.raises(ConfigError, match=r"hub\.pub holds no key"):
        Member.of(tmp_path)
    (tmp_path / HUB_FILE).write_text(hub.public + "\n")
    member = Member.of(tmp_path)
    assert member
    assert (member.key.public, member.hub) == (own.public, hub.public)
