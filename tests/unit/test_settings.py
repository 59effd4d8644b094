from __future__ import annotations

import os
import pwd
from datetime import timedelta
from pathlib import Path

import pytest

from rqflow import settings, values
from rqflow.deploy.home import sample
from rqflow.exceptions import ConfigError
from rqflow.settings import keys as table
from rqflow.values import Size

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("1h30m", 5400), ("0.5s", 0.5), ("250ms", 0.25), ("12", 12), ("2w", 1209600),
])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "x", "5y", "-3s", "1h 30m", "1hm", "9999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        values.parse_duration(text)


@pytest.mark.parametrize(("kind", "text", "default", "of_gpu"), [
    (values.Sizes, "none", None, None), (values.Sizes, "4G", 4 << 30, 4 << 30), (values.Sizes, "4G, gpu=512M", 4 << 30, 512 << 20),
    (values.Sizes, "4G, gpu=none", 4 << 30, None), (values.Processors, "none, gpu=0.5", None, 0.5), (values.Numbers, "-5", -5, -5),
])
def test_limits_are_read_and_written(kind: type[values.Limits], text: str, default: float | None, of_gpu: float | None) -> None:
    found = values.parse(text, kind)
    assert (found.of("any"), found.of("gpu")) == (default, of_gpu)
    assert values.show(found) == (text if "," in text else values.show(kind(default)))


@pytest.mark.parametrize(("kind", "text"), [(values.Sizes, "much"), (values.Processors, "0"), (values.Processors, "x"), (values.Numbers, "1.5")])
def test_what_is_no_limit_is_refused(kind: type[values.Limits], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        values.parse(f"none, gpu={text}", kind)


def test_time_zones_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rqflow.clock.local_zone", lambda: "Asia/Tokyo")
    assert [values.parse_zone(text) for text in ("UTC", "utc", "Europe/Berlin", "system")] == ["UTC", "UTC", "Europe/Berlin", "Asia/Tokyo"]
    for text in ("Berlin", "", "../etc", "Europe/Berlin "):
        with pytest.raises(ValueError, match="is no time zone; write UTC, system, or Area/City"):
            values.parse_zone(text)


@pytest.mark.parametrize(("text", "size"), [
    ("512", 512), ("48K", 48 << 10), ("16M", 16 << 20), ("1G", 1 << 30), ("2GiB", 2 << 30), ("3 MB", 3 << 20),
])
def test_sizes_are_read(text: str, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=90), timedelta(hours=2), timedelta(days=7), timedelta(milliseconds=500)])
def test_durations_are_written_as_they_are_read(length: timedelta) -> None:
    assert values.parse_duration(values.format_duration(length)) == length


@pytest.mark.parametrize("size", [0, 1, 1000, 1024, 5 << 20, 1 << 40])
def test_sizes_are_written_as_they_are_read(size: int) -> None:
    assert values.parse_size(values.format_size(size)) == size


@pytest.mark.parametrize(("url", "shown"), [
    ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"), ("mysql://u:a/b#c@d@h/rqflow", "mysql://u:***@h/rqflow"), ("mysql://u@h/x", "mysql://u@h/x"),
    ("unix://:secret@/run/r.sock", "unix://:***@/run/r.sock"), ("sqlite:////srv/a:b@c/rqflow.db", "sqlite:////srv/a:b@c/rqflow.db"),
    ("redis://h:6379/0", "redis://h:6379/0"),
])
def test_passwords_are_left_out_of_urls(url: str, shown: str) -> None:
    assert settings.without_password(url) == shown


def test_the_environment_wins_over_the_file(home: Path) -> None:
    (home / "rqflow.cfg").write_text("[worker]\nslots = 3\nqueues = a,b\n")
    found = settings.load(home=home, environ={"RQFLOW__WORKER__SLOTS": "7"})
    assert (found.worker.slots, found.worker.queues) == (7, "a,b")
    assert found.origins == {"worker.slots": "RQFLOW__WORKER__SLOTS", "worker.queues": str(home / "rqflow.cfg")}


def test_a_secret_is_read_from_the_file_that_a_variable_names(home: Path, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("mysql://u:p@db/rqflow\n")
    found = settings.load(home=home, environ={"RQFLOW__DATABASE__URL_FILE": str(tmp_path / "url")})
    assert found.database.url == "mysql://u:p@db/rqflow"


@pytest.mark.parametrize(("text", "message"), [
    ("[worker]\nslotz = 3\n", "there is no setting worker.slotz\nDid you mean worker.slots?"),
    ("[worker]\nslots = many\n", "worker.slots: invalid literal"),
    ("[core]\nload_timeout = soon\n", "core.load_timeout: 'soon' is no duration"),
    ("[core]\nunsafe_templates = perhaps\n", "'perhaps' is neither true nor false"),
    ("slots = 3\n", "cannot be read"),
    ("[worker]\nslots = 1\nslots = 2\n", "cannot be read"),
])
def test_a_wrong_file_is_refused_naming_the_place(home: Path, text: str, message: str) -> None:
    (home / "rqflow.cfg").write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings.load(home=home, environ={})
    assert message in str(caught.value)
    assert str(home / "rqflow.cfg") in str(caught.value)


def test_a_named_file_must_exist(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.cfg: cannot be read"):
        settings.load(home=home, file=home / "absent.cfg", environ={})


def test_home_comes_from_the_environment(tmp_path: Path) -> None:
    assert settings.load(environ={"RQFLOW_HOME": str(tmp_path)}).home == tmp_path


@pytest.mark.parametrize("name", [f"{section}.{field.name}" for section, field, _ in table()])
def test_each_default_is_read_back_from_its_text(name: str) -> None:
    section, _, option = name.partition(".")
    (field, kind), = [(f, k) for s, f, k in table() if (s, f.name) == (section, option)]
    assert values.parse(values.show(field.default), kind) == field.default
    assert not isinstance(field.default, Size) or kind is Size


def test_the_sample_file_is_made_from_the_table() -> None:
    assert (ROOT / "conf" / "rqflow.cfg").read_text(encoding="utf-8") == sample(), "run scripts/docs"


def test_the_sample_file_with_all_its_lines_active_holds_the_defaults(home: Path) -> None:
    active = [line.removeprefix("#") if line[:2].strip("#").strip() else line for line in sample().splitlines()]
    (home / "rqflow.cfg").write_text("\n".join(active))
    found = settings.load(home=home, environ={})
    assert len(found.origins) == len(table())
    assert all(getattr(found, section) == cls() for section, cls in settings.SECTIONS.items())


def test_an_account_has_a_queue_of_its_own(tmp_path: Path) -> None:
    found = settings.load(home=tmp_path, environ={"RQFLOW__CORE__DEFAULT_QUEUE": "user.{user}", "RQFLOW__WORKER__QUEUES": "user.{user}, default"})
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert (found.core.default_queue, found.worker.queues) == (f"user.{name}", f"user.{name}, default")
