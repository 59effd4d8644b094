"""What a doctor sees of signing: whether workers verify, whether the trust files are fit, whether there is a key, and what waits for a signature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rqflow import settings as configuration
from rqflow.deploy import embedded, live, statedir
from rqflow.exceptions import RqflowError
from rqflow.security import signing
from rqflow.security.trust import Trust
from rqflow.settings import Settings
from rqflow.store import dags
from rqflow.store.engine import open_engine, reading

#: DAGs that a finding names.
_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one look came to. `is_wrong`: it does not work as it is; else a remedy is an advice."""

    check: str
    detail: str
    remedy: str = ""
    is_wrong: bool = False


def look(settings: Settings) -> Iterator[Seen]:
    """Look at files, key and history; changes nothing."""
    yield _workers(settings)
    if settings.security.signing:
        yield _key(settings)
    if settings.security.signing or settings.security.allowed_signers:
        yield from _waiting(settings)


def _workers(settings: Settings) -> Seen:
    try:
        trust = Trust.of(settings)
        if trust is not None:
            trust.check()
            return Seen(check="signatures", detail=f"workers of this home run only what was signed by somebody of {trust.allowed}")
    except RqflowError as error:
        return Seen(check="signatures", detail=error.message, remedy=error.hint, is_wrong=True)
    if not settings.redis.url and embedded.opened(settings) is None:
        return Seen(check="signatures", detail="not asked for: only you can write into your private Redis")
    return Seen(check="signatures", detail="not asked for: whoever can write into Redis can have workers of this home run anything",
                remedy="security.allowed_signers on the workers, security.signing where people submit: docs/how-to/security.md")


def _key(settings: Settings) -> Seen:
    try:
        key = signing.find_key(settings, configuration.environment())
    except RqflowError as error:
        return Seen(check="signing key", detail=f"{error.message}; on a hub that is meant so", remedy="rqflow dag sign FILE, where your key is")
    return Seen(check="signing key", detail=key.said)


def _waiting(settings: Settings) -> Iterator[Seen]:
    try:
        machine = statedir.this_machine()
        engine = open_engine(live.resolved(settings, statedir.locate(settings, machine), machine).database.url)
        try:
            with reading(engine) as connection:
                found = [one.dag_id for one in dags.search(connection) if one.unsigned]
        finally:
            engine.dispose()
    except RqflowError:
        return  # what is wrong with the database, another check says
    if found:
        named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
        yield Seen(check="unsigned DAGs", detail=f"versions wait for a signature: {named}", remedy="rqflow dag sync --sign")
    else:
        yield Seen(check="unsigned DAGs", detail="no version waits for a signature")
