from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError
from rqflow.security.keyring import KEY_FILE, Keyring, WrongKey, make_key, name_of, new_key
from rqflow.settings import Security, Settings


def test_what_one_key_seals_it_opens() -> None:
    ring = Keyring([new_key()])
    name, sealed = ring.seal("päss\ud800")
    assert "päss" not in sealed
    assert Keyring(list(ring.keys.values())).open(name, sealed, "the Variable x") == "päss\ud800"


def test_the_first_of_several_keys_seals_and_all_open() -> None:
    old, new = new_key(), new_key()
    name, sealed = Keyring([old]).seal("x")
    both = Keyring([new, old])
    assert both.open(name, sealed, "it") == "x"
    assert both.seal("y")[0] == name_of(new)


def test_a_wrong_key_is_said_with_its_name_and_the_setting() -> None:
    name, sealed = Keyring([new_key()]).seal("x")
    other = new_key()
    with pytest.raises(WrongKey, match=f"the Variable x was sealed with the key {name}, and this process has only {name_of(other)}") as error:
        Keyring([other]).open(name, sealed, "the Variable x")
    assert "security.fernet_key" in error.value.hint
    assert other not in str(error.value)


def test_what_is_damaged_is_said() -> None:
    ring = Keyring([new_key()])
    name, sealed = ring.seal("x")
    with pytest.raises(WrongKey, match="it is damaged"):
        ring.open(name, sealed[:-8] + "AAAAAAA=", "it")


@pytest.mark.parametrize("key", ["x", "", " ", "a" * 44, new_key()[:-2], "ä" * 44], ids=["x", "empty", "blank", "letters", "short", "no ascii"])
def test_what_is_no_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="no Fernet key") as error:
        Keyring([key])
    assert len(key) < 10 or key not in str(error.value)


def test_without_a_setting_the_home_has_a_key_of_its_own_made_when_something_is_sealed(home: Path) -> None:
    settings = Settings(home=home)
    ring = Keyring.of(settings)
    assert ring.keys == {}
    assert not (home / KEY_FILE).exists()
    name, sealed = ring.seal("x")
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert Keyring.of(settings).open(name, sealed, "it") == "x"


def test_two_makers_at_once_get_one_key(home: Path) -> None:
    start = threading.Barrier(8)
    seen = []

    def make() -> None:
        start.wait()
        make_key(home / KEY_FILE)
        seen.append((home / KEY_FILE).read_text())

    makers = [threading.Thread(target=make) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(set(seen)) == 1
    assert [path.name for path in home.iterdir()] == [KEY_FILE]


def test_a_configured_key_needs_no_file(home: Path) -> None:
    ring = Keyring.of(Settings(home=home, security=Security(fernet_key=f"{new_key()}, {new_key()}")))
    ring.seal("x")
    assert len(ring.keys) == 2
    assert list(home.iterdir()) == []


def test_a_key_file_that_holds_no_key_is_named(home: Path) -> None:
    (home / KEY_FILE).write_text("x")
    with pytest.raises(ConfigError, match=r"fernet\.key holds no Fernet key"):
        Keyring.of(Settings(home=home)).seal("x")
