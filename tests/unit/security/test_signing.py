from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rqflow.exceptions import NotPermitted
from rqflow.security import keygen, signing, sshsig
from rqflow.settings import Settings, load
from tests import signers
from tests.signers import Person, person

DATA = b'{"dag_id":"x"}'


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of somebody without any key, and without a terminal."""
    (tmp_path / "nobody").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nobody")}


def settings(folder: Path, key: Path | str = "") -> Settings:
    return load(home=folder, environ={"RQFLOW__SECURITY__SIGNING_KEY": str(key)} if key else {})


def signed(folder: Path, environ: dict[str, str], key: Path | str = "") -> str:
    found = signing.find_key(settings(folder, key), environ)
    return signing.sign(found, [DATA], environ, may_ask=False)[0]


def test_a_key_file_signs_and_the_signature_tells_whose_it_says_to_be(tmp_path: Path, bare: dict[str, str]) -> None:
    alice = person(tmp_path, "alice")
    armored = signed(tmp_path, bare, alice.key)
    assert keygen.is_sound(armored, DATA)
    assert not keygen.is_sound(armored, DATA + b" ")
    seen = sshsig.parse(armored)
    assert (seen.fingerprint, seen.namespace, seen.public_key) == (alice.fingerprint, keygen.NAMESPACE, alice.public)


@pytest.mark.parametrize("kind", ["ecdsa"])
def test_other_kinds_of_keys_sign_too(tmp_path: Path, bare: dict[str, str], kind: str) -> None:
    alice = person(tmp_path, "alice", kind=kind)
    assert keygen.is_sound(signed(tmp_path, bare, alice.key), DATA)


def test_several_payloads_are_signed_in_one_go(tmp_path: Path, bare: dict[str, str]) -> None:
    alice = person(tmp_path, "alice")
    found = signing.sign(signing.find_key(settings(tmp_path, alice.key), bare), [b"one", b"two"], bare, may_ask=False)
    assert [keygen.is_sound(each, data) for each, data in zip(found, (b"one", b"two"), strict=True)] == [True, True]
    assert not keygen.is_sound(found[0], b"two")


def test_the_first_key_of_the_agent_is_taken_when_none_is_named(tmp_path: Path, bare: dict[str, str]) -> None:
    alice, bob = person(tmp_path, "alice"), person(tmp_path, "bob")
    with signers.agent(tmp_path, bob, alice) as environ:
        armored = signed(tmp_path, {**bare, **environ})
    assert sshsig.parse(armored).fingerprint == bob.fingerprint


def test_a_public_file_stands_for_the_private_half_in_the_agent(tmp_path: Path, bare: dict[str, str]) -> None:
    alice, bob = person(tmp_path, "alice"), person(tmp_path, "bob")
    (tmp_path / "far").mkdir()
    public = tmp_path / "far" / "alice.pub"
    public.write_text(f"{alice.public} alice\n")
    with signers.agent(tmp_path, bob, alice) as environ:
        armored = signed(tmp_path, {**bare, **environ}, public)
    assert sshsig.parse(armored).fingerprint == alice.fingerprint


def test_a_certificate_signs(tmp_path: Path, bare: dict[str, str]) -> None:
    authority, carol = person(tmp_path, "ca"), person(tmp_path, "carol")
    signers.keygen("-q", "-s", authority.key, "-I", "carol", "-n", "carol@lab", "-V", "-1h:+1h", f"{carol.key}.pub")
    certificate = carol.key.with_name(f"{carol.key.name}-cert.pub")
    assert sshsig.parse(signed(tmp_path, bare, certificate)).key_type == "ssh-ed25519-cert-v01@openssh.com"


def test_the_first_key_of_the_folder_is_taken_without_an_agent(tmp_path: Path, bare: dict[str, str]) -> None:
    alice = person(Path(bare["HOME"], ".ssh"), "id")
    alice.key.rename(alice.key.with_name("id_ed25519"))
    alice.key.with_name("id_key.pub").rename(alice.key.with_name("id_ed25519.pub"))
    assert keygen.is_sound(signed(tmp_path, bare), DATA)


def refusal(folder: Path, environ: dict[str, str], key: Path | str = "") -> NotPermitted:
    with pytest.raises(NotPermitted) as caught:
        signed(folder, environ, key)
    assert "ssh-add" in caught.value.hint
    assert "rqflow dag sign" in caught.value.hint
    assert caught.value.exit_code == 4
    return caught.value


def test_without_any_key_the_ways_out_are_told(tmp_path: Path, bare: dict[str, str]) -> None:
    assert "no agent is running" in refusal(tmp_path, bare).message
    with signers.agent(tmp_path) as environ:
        assert "the agent has none" in refusal(tmp_path, {**bare, **environ}).message
    assert "there is no file" in refusal(tmp_path, bare, tmp_path / "none").message


def test_a_locked_key_is_told_and_nobody_is_asked_without_a_terminal(tmp_path: Path, bare: dict[str, str]) -> None:
    alice = person(tmp_path, "alice", passphrase="secret")
    asks = tmp_path / "askpass"
    asks.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    asks.chmod(0o755)
    assert "locked with a passphrase" in refusal(tmp_path, {**bare, "SSH_ASKPASS": str(asks), "DISPLAY": ":7"}, alice.key).message
    assert not (tmp_path / "asked").exists()


def test_a_locked_agent_is_told(tmp_path: Path, bare: dict[str, str]) -> None:
    alice = person(tmp_path, "alice")
    with signers.agent(tmp_path, alice) as environ:
        asks = tmp_path / "askpass"
        asks.write_text("#!/bin/sh\necho lock\n")
        asks.chmod(0o755)
        subprocess.run(["ssh-add", "-x"], env={**bare, **environ, "SSH_ASKPASS": str(asks), "SSH_ASKPASS_REQUIRE": "force"}, check=True,
                       capture_output=True)
        assert "the agent has none" in refusal(tmp_path, {**bare, **environ}).message


def test_a_private_half_that_is_away_is_told(tmp_path: Path, bare: dict[str, str]) -> None:
    public = tmp_path / "far.pub"
    public.write_text(f"{person(tmp_path / 'k', 'alice').public}\n")
    assert "neither beside it nor in the agent" in refusal(tmp_path, bare, public).message


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN SSH SIGNATURE-----\n!!\n-----END SSH SIGNATURE-----\n",
                                  "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAf///w==\n-----END SSH SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no SSH signature|damaged"):
        sshsig.parse(text)


def test_a_signature_that_is_far_too_long_is_not_read(tmp_path: Path) -> None:
    alice: Person = person(tmp_path, "alice")
    lines = alice.sign(DATA).splitlines()
    with pytest.raises(ValueError, match="no SSH signature"):
        sshsig.parse("\n".join([lines[0], *lines[1:-1] * 2000, lines[-1]]))
