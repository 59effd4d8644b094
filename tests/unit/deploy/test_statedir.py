from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rqflow.deploy import statedir
from rqflow.deploy.statedir import Machine
from rqflow.exceptions import ConfigError, Conflict
from rqflow.settings import Core, Settings

MOUNTINFO = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:40 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/local rw - ext4 /dev/vdb1 rw
42 22 0:42 / /data/my\\040disk rw - lustre mds:/x rw
43 22 0:43 / /over rw - nfs4 server:/over rw
44 22 0:44 / /over rw - tmpfs tmpfs rw
nonsense
"""


@pytest.mark.parametrize(("path", "kind"), [
    ("/", "ext4"), ("/srv/x", "ext4"), ("/home/ann/rqflow", "nfs4"), ("/home/local/x", "ext4"), ("/homes/x", "ext4"),
    ("/data/my disk/x", "lustre"), ("/over/x", "tmpfs"),
])
def test_the_deepest_and_latest_mount_tells_the_type(path: str, kind: str) -> None:
    assert statedir.filesystem_type(Path(path), MOUNTINFO) == kind


def test_without_mountinfo_the_type_is_unknown() -> None:
    assert statedir.filesystem_type(Path("/home"), "") == ""


def machine(tmp_path: Path, *network: Path, host: str = "node1") -> Machine:
    """A machine on which the `network` folders are NFS mounts."""
    lines = ["22 1 254:1 / / rw - ext4 /dev/vda1 rw", *(f"4{i} 22 0:4{i} / {path} rw - nfs4 server:/x rw" for i, path in enumerate(network))]
    return Machine(host=host, uid=os.getuid(), mountinfo="\n".join(lines), var_tmp=tmp_path / "vartmp", run_user=tmp_path / "run")


def test_a_local_home_holds_the_state(tmp_path: Path, home: Path) -> None:
    assert statedir.locate(Settings(home=home), machine(tmp_path)) == home / "state" / "node1"


def test_a_home_on_nfs_keeps_its_state_in_var_tmp(tmp_path: Path, home: Path) -> None:
    state = statedir.locate(Settings(home=home), machine(tmp_path, home))
    assert state.parts[:-2] == (tmp_path / "vartmp" / f"rqflow-{os.getuid()}").parts
    assert state.name == "node1"


def test_two_homes_on_nfs_have_two_states(tmp_path: Path) -> None:
    here = machine(tmp_path, tmp_path)
    here = Machine(host="n", uid=1, mountinfo=here.mountinfo, var_tmp=Path("/var/tmp"))
    assert statedir.locate(Settings(home=tmp_path / "a"), here) != statedir.locate(Settings(home=tmp_path / "b"), here)


def test_a_named_state_folder_on_nfs_is_refused_with_the_remedy(tmp_path: Path, home: Path) -> None:
    settings = Settings(home=home, core=Core(state_dir=str(tmp_path / "shared")))
    with pytest.raises(ConfigError, match=r"network file system; live state must be on a local disk\nName a folder"):
        statedir.locate(settings, machine(tmp_path, tmp_path))


def test_no_local_disk_at_all_is_refused_with_the_remedy(tmp_path: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"RQFLOW__CORE__STATE_DIR"):
        statedir.locate(Settings(home=home), machine(tmp_path, tmp_path))


def test_the_state_folder_is_private(tmp_path: Path, home: Path) -> None:
    here = machine(tmp_path, home)
    here.var_tmp.mkdir(mode=0o777)
    state = statedir.prepare(Settings(home=home), here)
    assert state.stat().st_mode & 0o777 == 0o700
    assert (here.var_tmp / f"rqflow-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_a_folder_in_var_tmp_that_others_can_enter_is_refused(tmp_path: Path, home: Path) -> None:
    here = machine(tmp_path, home)
    (here.var_tmp / f"rqflow-{os.getuid()}").mkdir(parents=True, mode=0o755)
    with pytest.raises(ConfigError, match="is not a private folder"):
        statedir.prepare(Settings(home=home), here)


def test_a_folder_in_var_tmp_that_somebody_else_made_is_refused(tmp_path: Path, home: Path) -> None:
    here = replace(machine(tmp_path, home), uid=os.getuid() + 1)
    (here.var_tmp / f"rqflow-{here.uid}").mkdir(parents=True, mode=0o700)
    with pytest.raises(ConfigError, match="is not a private folder"):
        statedir.prepare(Settings(home=home), here)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: Not a directory|cannot be written: File exists"):
        statedir.prepare(Settings(home=tmp_path / "file"), machine(tmp_path))


def test_short_state_paths_hold_their_sockets(tmp_path: Path) -> None:
    assert statedir.socket_folder(Path("/srv/state"), machine(tmp_path)) == Path("/srv/state")


def test_sockets_of_long_state_paths_move_to_run_user(tmp_path: Path) -> None:
    here = machine(tmp_path)
    (here.run_user / str(os.getuid())).mkdir(parents=True)
    settings = Settings(home=tmp_path / ("long" * 30))
    folder = statedir.socket_folder(statedir.locate(settings, here), here)
    assert folder.parent == here.run_user / str(os.getuid())
    assert not folder.exists()
    statedir.prepare(settings, here)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_sockets_of_long_state_paths_move_to_var_tmp_without_run_user(tmp_path: Path) -> None:
    here = machine(tmp_path)
    here.var_tmp.mkdir()
    assert statedir.socket_folder(tmp_path / ("long" * 30), here).is_relative_to(here.var_tmp)


def test_a_home_in_use_on_another_host_is_refused_by_name(tmp_path: Path, home: Path) -> None:
    statedir.claim_home(Settings(home=home), machine(tmp_path, host="alpha"))
    with pytest.raises(Conflict, match="is in use on alpha"):
        statedir.claim_home(Settings(home=home), machine(tmp_path, host="beta"))


def test_a_home_without_a_recent_sign_of_life_changes_hands(tmp_path: Path, home: Path) -> None:
    path = statedir.claim_home(Settings(home=home), machine(tmp_path, host="alpha"))
    old = path.stat().st_mtime - 2 * statedir.IN_USE_SECONDS
    os.utime(path, (old, old))
    statedir.claim_home(Settings(home=home), machine(tmp_path, host="beta"))
    assert json.loads(path.read_text())["host"] == "beta"


def test_the_same_host_takes_its_home_again(tmp_path: Path, home: Path) -> None:
    for _ in range(2):
        statedir.claim_home(Settings(home=home), machine(tmp_path))
    assert [p.name for p in home.iterdir()] == [statedir.OWNER_FILE]
