"""Versions get the signature of the person who submits them; where nobody signs, they are what they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from rqflow import settings as configuration
from rqflow.actions.survey import Report
from rqflow.broker import creation
from rqflow.broker.broker import Broker
from rqflow.dag.version import Version
from rqflow.security import keygen, signing, sshsig
from rqflow.security.signing import SigningKey
from rqflow.settings import Settings
from rqflow.store import signatures
from rqflow.store.engine import Engine, reading


@dataclass(frozen=True, slots=True)
class Pen:
    """What somebody signs with: the settings that name the key, and whether ssh-keygen may speak to a person at the terminal."""

    settings: Settings
    may_ask: bool

    def sign(self, engine: Engine | None, versions: Sequence[Version]) -> list[Version]:
        """Return these versions with the signature of this person, and those that the history has; of one that has it already none is made.

        Raises NotPermitted, with the ways out, when there is no key, or it is locked.
        """
        environ: Mapping[str, str] = configuration.environment()
        key = signing.find_key(self.settings, environ)
        known: Mapping[str, Collection[str]] = {}
        if engine is not None:
            with reading(engine) as connection:
                known = signatures.of(connection, [version.sha for version in versions])
        have = {version.sha: (*version.signatures, *known.get(version.sha, ())) for version in versions}
        lacking = [version for version in versions if not _has_signed(key, version, have[version.sha])]
        made = signing.sign(key, [version.json.encode() for version in lacking], environ, may_ask=self.may_ask) if lacking else []
        fresh = {version.sha: signature for version, signature in zip(lacking, made, strict=True)}
        return [version.with_signatures(tuple(dict.fromkeys([*([fresh[version.sha]] if version.sha in fresh else []), *have[version.sha]])))
                for version in versions]

    def sign_reports(self, engine: Engine | None, files: Sequence[Report]) -> list[Report]:
        """Return what was loaded with signed versions. Raises as `sign` does."""
        signed = iter(self.sign(engine, [version for report in files for version in report.versions]))
        return [replace(report, versions=tuple(next(signed) for _ in report.versions)) for report in files]


def send(broker: Broker, versions: Sequence[Version]) -> None:
    """Let Redis have the signatures of those of these versions that it has for a run: what was refused there may run when it is cleared."""
    for version in versions:
        creation.write_signatures(broker.steps, version)


def _has_signed(key: SigningKey, version: Version, found: Collection[str]) -> bool:
    """Tell whether one of the signatures that were found is good and of this key."""
    for signature in found:
        with suppress(ValueError):  # one that somebody wrote into the database
            if key.fingerprint and sshsig.parse(signature).fingerprint == key.fingerprint and keygen.is_sound(signature, version.json.encode()):
                return True
    return False
