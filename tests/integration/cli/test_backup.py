"""db backup and db restore: one file, whole or absent, and what neither of them does to what is there."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rqflow.actions.people import signing_in
from rqflow.cli.main import main
from rqflow.deploy import backup
from rqflow.deploy.sealed import MANIFEST
from rqflow.deploy.services import open_database
from rqflow.security.roles import Person, Role
from rqflow.settings import load
from rqflow.store import dump
from tests.integration.cli.conftest import Result, Rqflow
from tests.integration.recorder.test_room import small_disk  # noqa: F401 - a fixture

SECRET = "hunter-twenty-two"


@pytest.fixture
def archive(rqflow: Rqflow, home: Path, tmp_path: Path) -> Path:
    """The backup of a home with a secret, a pool, a DAG file and a log."""
    assert rqflow("init").code == 0
    rqflow("var", "set", "pin", SECRET, "--secret")
    rqflow("pool", "set", "gpu", "2")
    (home / "dags" / "sub").mkdir()
    (home / "dags" / "sub" / "table.csv").write_text("1,2")
    (home / "keys").mkdir()
    (home / "keys" / "tunnel").write_text("a key of this machine")
    (home / "keys" / "tunnel").chmod(0o600)
    log = next(home.glob("state/*")) / "logs" / "d" / "a" / "1.log"
    log.parent.mkdir(parents=True)
    log.write_text("hello")
    file = tmp_path / "hub.tar.gz"
    done = rqflow("db", "backup", file, "--logs")
    assert done.code == 0, done.err
    assert "1 logs" in done.err
    return file


@pytest.fixture
def elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Calls rqflow with another home, which is not there yet."""
    def call(*words: object) -> Result:
        code = main(["--home", str(tmp_path / "other"), *map(str, words)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


def rewritten(file: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy with other content of some members; None leaves one out."""
    with tarfile.open(target, "w:gz") as tar:
        for name, data in (members(file) | changes).items():
            if data is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return target


def test_an_empty_home_gets_all_that_the_other_had(archive: Path, elsewhere: Any, home: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert SECRET.encode() not in gzip.decompress(archive.read_bytes())
    done = elsewhere("db", "restore", archive)
    assert done.code == 0, done.err
    assert elsewhere("var", "get", "pin", "--show-secrets").out == f"{SECRET}\n"
    assert json.loads(elsewhere("pool", "get", "gpu", "-o", "json").out)["slots"] == 2
    other = tmp_path / "other"
    for name in ("rqflow.cfg", "fernet.key", "dags/hello.py", "dags/sub/table.csv", "keys/tunnel"):
        assert (other / name).read_bytes() == (home / name).read_bytes(), name
    assert [stat.S_IMODE((other / name).stat().st_mode) for name in ("rqflow.cfg", "fernet.key", "keys/tunnel")] == [0o600] * 3
    assert next(other.glob("state/*/logs/d/a/1.log")).read_text() == "hello"


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(archive: Path, elsewhere: Any, rqflow: Rqflow, tmp_path: Path) -> None:
    assert "is there already" in rqflow("db", "backup", archive).err
    assert rqflow("db", "backup", archive, "--force", "--logs").code == 0
    elsewhere("var", "set", "pin", "another")
    (tmp_path / "other" / "rqflow.cfg").write_text("[worker]\nslots = 7\n")
    refused = elsewhere("db", "restore", archive)
    assert (refused.code, "is not empty: 1 rows in table " in refused.err) == (5, True), refused.err
    assert elsewhere("db", "restore", archive, "--force").code == 2, "it asks, and nobody is there"
    assert elsewhere("var", "get", "pin").out == "another\n"
    done = elsewhere("db", "restore", archive, "--force", "--yes")
    assert (done.code, "rqflow.cfg stays as it is" in done.err) == (0, True)
    assert elsewhere("var", "get", "pin", "--show-secrets").out == f"{SECRET}\n"
    assert (tmp_path / "other" / "rqflow.cfg").read_text() == "[worker]\nslots = 7\n"
    assert rqflow("db", "restore", archive, "--force", "--yes").code == 0, "in its own place, too"


def test_who_was_shut_out_since_the_backup_does_not_come_back_in(rqflow: Rqflow, elsewhere: Any, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "hub"
    for name in ("ann", "bob"):
        rqflow("user", "add", name, "--no-password")
    kept, leaked = (rqflow("token", "create", name, "--user", "ann").out.strip() for name in ("kept", "leaked"))
    with open_database(load(home=home)) as engine:
        secret = signing_in.begin(engine, Person("ann", Role.ADMIN), ip="::1", agent="x", lifetime=timedelta(days=1), how="test").secret
    rqflow("user", "setup-link", "bob")
    assert rqflow("db", "backup", file).code == 0
    assert rqflow("token", "revoke", "2").code == rqflow("user", "disable", "bob", "--yes").code == 0

    def comes_in(folder: Path) -> list[bool]:
        with open_database(load(home=folder)) as engine:
            found = [signing_in.by_session(engine, secret), *(signing_in.by_token(engine, token) for token in (kept, leaked)),
                     dump.counts(engine).get("setup_link")]
        return [one is not None for one in found]

    done = elsewhere("db", "restore", file)
    assert (done.code, "all sessions are ended, and set-up links are void. ann, bob may log in" in done.err) == (0, True), done
    assert "API tokens let in as at the time of the backup: 1 (kept of ann), 2 (leaked of ann). Revoke again" in done.err
    assert comes_in(tmp_path / "other") == [False, True, True, False], "nobody there knows of a revocation"
    done = rqflow("db", "restore", file, "--force", "--yes")
    assert (done.code, "ann may log in" in done.err, "backup: 1 (kept of ann). Revoke" in done.err) == (0, True, True), done
    assert comes_in(home) == [False, True, False, False]
    assert [one["is_active"] for one in json.loads(rqflow("user", "list", "-o", "json").out)] == [True, False]
    assert "hub_restored" in rqflow("audit", "list").out


def test_a_bad_archive_is_refused_before_anything_is_written(archive: Path, elsewhere: Any, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    manifest = json.loads(members(archive)[MANIFEST])
    bad = {
        "cut": whole[: len(whole) // 2], "cut at its end": whole[:-200], "text": b"hello, this is no archive at all" * 50, "empty": b"",
        "one byte": whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:],
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        done = elsewhere("db", "restore", tmp_path / name)
        assert (done.code, "Traceback" in done.err) == (2, False), (name, done.err)
    changed = {
        "another row": ({"tables/pool.jsonl": members(archive)["tables/pool.jsonl"].replace(b"2", b"3")}, 2, "differs"),
        "a table less": ({"tables/pool.jsonl": None}, 2, "tables/pool.jsonl differs"),
        "a file more": ({"home/more": b"x"}, 2, "home/more differs"),
        "a way out": ({"home/../../x": b"x"}, 2, "no backup of rqflow has"),
        "no manifest": ({MANIFEST: None}, 2, "ends too early"),
        "newer": ({MANIFEST: json.dumps(manifest | {"revision": "0999", "rqflow": "9.9"}).encode()}, 5, "newer release of rqflow, 9.9"),
        "newer form": ({MANIFEST: json.dumps(manifest | {"format": backup.FORMAT + 1}).encode()}, 5, "newer release"),
        "odd manifest": ({MANIFEST: b"{}"}, 2, "no backup of rqflow"),
    }
    for name, (changes, code, message) in changed.items():
        done = elsewhere("db", "restore", rewritten(archive, tmp_path / "changed", changes))  # type: ignore[arg-type]
        assert (done.code, message in done.err) == (code, True), (name, done.err)
    assert elsewhere("db", "restore", tmp_path / "absent").code == 2
    assert not (tmp_path / "other").exists()


def test_a_full_disk_leaves_nothing(archive: Path, rqflow: Rqflow, home: Path, small_disk: Path) -> None:  # noqa: F811
    (home / "dags" / "large.bin").write_bytes(os.urandom(3 << 20))
    done = rqflow("db", "backup", small_disk / "b")
    assert (done.code, "was not written: No space left on device" in done.err) == (1, True), done.err
    assert list(small_disk.iterdir()) == []


def test_folders_that_are_not_there_and_a_database_without_tables_are_said(rqflow: Rqflow, tmp_path: Path) -> None:
    assert rqflow("db", "backup", tmp_path / "x").code == 7
    assert list(tmp_path.glob("home/state/*/*.db")) == [], "nothing is made"
    rqflow("db", "upgrade")
    assert rqflow("db", "backup", tmp_path / "absent" / "x").code == 2
    assert not (tmp_path / "x").exists()


def test_files_that_settings_of_trust_name_are_in_it_and_what_the_environment_sets_is_told(
    rqflow: Rqflow, elsewhere: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("a certificate")
    (home / "rqflow.cfg").write_text("[smtp]\nsmtp_ca_file = ca.pem\n")
    (home / "ca.pem").write_text("a certificate")
    assert list(backup.named_files(load(home=home, environ={}))) == ["smtp.smtp_ca_file"]
    (home / "id_ed25519").write_text("a person's own key")
    personal = load(home=home, environ={"RQFLOW__SECURITY__SIGNING_KEY": "id_ed25519", "RQFLOW__SECURITY__ALLOWED_SIGNERS": "ca.pem"})
    assert list(backup.named_files(personal)) == ["security.allowed_signers", "smtp.smtp_ca_file"], "a person's key is nobody else's to keep"
    rqflow("db", "upgrade")
    monkeypatch.setenv("RQFLOW__WORKER__SLOTS", "3")
    done = rqflow("db", "backup", tmp_path / "b")
    assert "RQFLOW__WORKER__SLOTS" in done.err
    assert elsewhere("db", "restore", tmp_path / "b").code == 0
    assert (tmp_path / "other" / "ca.pem").read_text() == "a certificate"


def test_several_keys_of_the_environment_go_with_it(rqflow: Rqflow, elsewhere: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rqflow.security.keyring import new_key

    old, new = new_key(), new_key()
    monkeypatch.setenv("RQFLOW__SECURITY__FERNET_KEY", old)
    rqflow("var", "set", "pin", SECRET, "--secret")
    monkeypatch.setenv("RQFLOW__SECURITY__FERNET_KEY", f"{new},{old}")
    rqflow("var", "set", "pan", SECRET, "--secret")
    assert rqflow("db", "backup", tmp_path / "b").code == 0
    monkeypatch.setenv("RQFLOW__SECURITY__FERNET_KEY", new)
    assert "lacks the key" in elsewhere("db", "restore", tmp_path / "b").err
    monkeypatch.delenv("RQFLOW__SECURITY__FERNET_KEY")
    assert elsewhere("db", "restore", tmp_path / "b", "--force", "--yes").code == 0
    assert [elsewhere("var", "get", name, "--show-secrets").out for name in ("pin", "pan")] == [f"{SECRET}\n"] * 2
    assert (tmp_path / "other" / "fernet.key").stat().st_mode & 0o077 == 0
