from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rqflow import clock
from rqflow.exceptions import ConfigError
from rqflow.security.trust import Refused, Signer, Trust
from rqflow.settings import load
from tests.signers import Person, allow, keygen, person

DATA = '{"dag_id":"x","é":1}'.encode()
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    return person(tmp_path, "alice@lab")


@pytest.fixture
def bob(tmp_path: Path) -> Person:
    return person(tmp_path, "bob@lab")


def trust(folder: Path, *lines: tuple[Person, str], revoked: Path | None = None, limits: str | None = None) -> Trust:
    file = folder / "limits"
    if limits is not None:
        file.write_text(limits)
    return Trust(allow(folder / "allowed", *lines), revoked=revoked, limits_file=file if limits is not None else None)


def who(found: tuple[Signer, ...]) -> list[str]:
    return [one.principal for one in found]


def refusal(judge: Trust, *signatures: str, data: bytes = DATA, sha: str = SHA) -> str:
    with pytest.raises(Refused) as caught:
        judge.signers(sha, data, signatures)
    assert caught.value.hint
    return caught.value.message


def test_a_trusted_signature_names_its_principal_and_key(tmp_path: Path, alice: Person) -> None:
    found, = trust(tmp_path, (alice, 'namespaces="rqflow-dag"')).signers(SHA, DATA, [alice.sign(DATA)])
    assert (found.principal, found.fingerprint) == ("alice@lab", alice.fingerprint)
    assert found.limits.allow_dag("anything")


def test_all_who_have_signed_are_named_and_a_bad_signature_beside_a_good_one_does_no_harm(tmp_path: Path, alice: Person, bob: Person) -> None:
    judge = trust(tmp_path, (alice, ""), (bob, ""))
    assert who(judge.signers(SHA, DATA, ["junk", bob.sign(b"other"), alice.sign(DATA), bob.sign(DATA)])) == ["alice@lab", "bob@lab"]


def test_what_nobody_has_signed_is_refused(tmp_path: Path, alice: Person) -> None:
    assert "is not signed" in refusal(trust(tmp_path, (alice, "")))


def test_what_was_changed_after_it_was_signed_is_refused(tmp_path: Path, alice: Person) -> None:
    changed = DATA.replace(b"1", b"2")
    said = refusal(trust(tmp_path, (alice, "")), alice.sign(DATA), data=changed, sha=hashlib.sha256(changed).hexdigest())
    assert "is not what alice@lab" in said
    assert "changed afterwards" in said


def test_bytes_under_the_name_of_others_are_refused_though_they_are_signed(tmp_path: Path, alice: Person) -> None:
    assert "something else" in refusal(trust(tmp_path, (alice, "")), alice.sign(b"{}"), data=b"{}")


def test_a_foreign_key_is_refused_by_its_fingerprint(tmp_path: Path, alice: Person, bob: Person) -> None:
    said = refusal(trust(tmp_path, (alice, "")), bob.sign(DATA))
    assert bob.fingerprint in said
    assert "not among those of" in said


def test_another_namespace_is_refused_in_the_signature_and_in_the_file(tmp_path: Path, alice: Person) -> None:
    assert "was made for 'file'" in refusal(trust(tmp_path, (alice, "")), alice.sign(DATA, "file"))
    assert "not permitted for use in signature namespace" in refusal(trust(tmp_path, (alice, 'namespaces="git"')), alice.sign(DATA))


def test_a_key_that_is_not_valid_now_is_refused(tmp_path: Path, alice: Person) -> None:
    assert "has expired" in refusal(trust(tmp_path, (alice, 'valid-before="20200101"')), alice.sign(DATA))
    assert "not yet valid" in refusal(trust(tmp_path, (alice, 'valid-after="22000101"')), alice.sign(DATA))


def test_a_revoked_key_is_refused_as_such(tmp_path: Path, alice: Person) -> None:
    revoked = tmp_path / "revoked"
    keygen("-q", "-k", "-f", revoked, f"{alice.key}.pub")
    assert "which is revoked" in refusal(trust(tmp_path, (alice, ""), revoked=revoked), alice.sign(DATA))
    revoked.write_text(alice.public + "\n")
    assert "which is revoked" in refusal(trust(tmp_path, (alice, ""), revoked=revoked), alice.sign(DATA))


def test_a_certificate_counts_for_the_principals_that_its_authority_names(tmp_path: Path, alice: Person) -> None:
    authority = person(tmp_path, "ca")
    keygen("-q", "-s", authority.key, "-I", "x", "-n", "alice@lab", "-V", "-1h:+1h", f"{alice.key}.pub")
    signature = Person("alice", alice.key.with_name(f"{alice.key.name}-cert.pub")).sign(DATA)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"*@lab cert-authority {authority.public}\n")
    assert who(Trust(allowed).signers(SHA, DATA, [signature])) == ["alice@lab"]
    allowed.write_text(f"*@other cert-authority {authority.public}\n")
    assert "no valid principals found" in refusal(Trust(allowed), signature)


def test_a_line_that_names_nobody_is_refused(tmp_path: Path, alice: Person) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(f"* {alice.public}\n")
    assert "names nobody" in refusal(Trust(allowed), alice.sign(DATA))


def test_limits_come_with_the_principal_and_who_has_none_is_refused(tmp_path: Path, alice: Person, bob: Person) -> None:
    judge = trust(tmp_path, (alice, ""), (bob, ""), limits="alice@lab dags=x user=al\n")
    found, = judge.signers(SHA, DATA, [alice.sign(DATA)])
    assert (found.limits.user, found.limits.allow_dag("y")) == ("al", False)
    assert "bob@lab, who has no line in" in refusal(judge, bob.sign(DATA))


def test_a_change_of_the_files_counts_at_once(tmp_path: Path, alice: Person, bob: Person) -> None:
    judge = trust(tmp_path, (alice, ""))
    assert judge.signers(SHA, DATA, [alice.sign(DATA)])
    assert judge.known(SHA)
    allow(tmp_path / "allowed", (bob, ""))
    assert judge.known(SHA) is None
    refusal(judge, alice.sign(DATA))


def test_a_result_holds_for_a_minute_because_keys_expire(tmp_path: Path, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = trust(tmp_path, (alice, ""))
    judge.signers(SHA, DATA, [alice.sign(DATA)])
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 61)
    assert judge.known(SHA) is None


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_lets_in_nobody(tmp_path: Path, alice: Person, mode: int) -> None:
    judge = trust(tmp_path, (alice, ""))
    judge.allowed.chmod(mode)
    assert "others may write it" in refusal(judge, alice.sign(DATA))
    with pytest.raises(ConfigError, match="others may write"):
        judge.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_somebody_else_lets_in_nobody(tmp_path: Path, alice: Person) -> None:
    judge = trust(tmp_path, (alice, ""))
    os.chown(judge.allowed, 12345, 12345)
    assert "belongs to uid 12345" in refusal(judge, alice.sign(DATA))


def test_files_that_went_away_or_went_bad_let_in_nobody(tmp_path: Path, alice: Person) -> None:
    judge = trust(tmp_path, (alice, ""), limits="alice@lab\n")
    judge.check()
    (tmp_path / "limits").write_text("alice@lab bogus\n")
    assert "limits:1: bogus is not known" in refusal(judge, alice.sign(DATA))
    (tmp_path / "limits").write_text("alice@lab\n")
    judge.signers(SHA, DATA, [alice.sign(DATA)])
    judge.allowed.unlink()
    assert "cannot be read" in refusal(judge, alice.sign(DATA))


def test_settings_name_the_files_below_the_home_and_limits_alone_are_an_error(tmp_path: Path) -> None:
    assert Trust.of(load(home=tmp_path, environ={})) is None
    found = Trust.of(load(home=tmp_path, environ={"RQFLOW__SECURITY__ALLOWED_SIGNERS": "trust/allowed", "RQFLOW__SECURITY__REVOKED_KEYS": "/krl"}))
    assert found is not None
    assert (found.allowed, found.revoked, found.limits_file) == (tmp_path / "trust/allowed", Path("/krl"), None)
    with pytest.raises(ConfigError, match="allowed_signers is not"):
        Trust.of(load(home=tmp_path, environ={"RQFLOW__SECURITY__SIGNER_LIMITS": "limits"}))
