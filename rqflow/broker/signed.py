"""Versions in Redis as they lie there: bytes and signatures, of which nothing has been parsed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import redis

from rqflow.broker import keys
from rqflow.broker.replies import text
from rqflow.dag.version import Version
from rqflow.exceptions import RunNotFound, TaskFailed
from rqflow.wire import decode, encode

#: Fields of the hash of a version: the canonical JSON, and the list of its signatures.
JSON, SIGNATURES = "json", "signatures"
#: Bytes that they may have. The files that travel with a DAG have 10 MB at most, which JSON makes six times as long when it comes to the worst.
LARGEST, MOST_SIGNED = 128 << 20, 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A version as Redis has it."""

    sha: str
    data: bytes
    signatures: tuple[str, ...]

    def parse(self) -> Version:
        """Return the version; raises TaskFailed when it is none, or another one."""
        if hashlib.sha256(self.data).hexdigest() != self.sha:
            raise TaskFailed(f"what Redis has under the name of the version {self.sha[:12]} is something else", hint="See who may write there.")
        try:
            return Version.from_json(self.data.decode(), self.signatures)
        except (ValueError, RecursionError) as error:
            raise TaskFailed(f"what Redis has is no version of a DAG that this rqflow knows: {error}") from error


def of_run(connection: redis.Redis, sha: str) -> Stored:
    """Return a version of which Redis has a run; raises RunNotFound, TaskFailed for one that is too large to be one."""
    key = keys.VERSION + sha
    with connection.pipeline(transaction=False) as pipe:
        pipe.hstrlen(key, JSON)
        pipe.hstrlen(key, SIGNATURES)
        sizes = pipe.execute()
    _check(sha, sizes)
    data, signatures = connection.hmget(key, JSON, SIGNATURES)
    return _stored(sha, data, signatures)


def of_callback(connection: redis.Redis, sha: str) -> Stored:
    """Return a version that the order of a callback is about; raises as `of_run` does."""
    names = (keys.CALLBACK_VERSION + sha, keys.CALLBACK_VERSION + sha + keys.SIGNATURES)
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.strlen(name)
        sizes = pipe.execute()
    _check(sha, sizes)
    return _stored(sha, *connection.mget(names))


def field(signatures: Collection[str]) -> str:
    """Return signatures as they stand in Redis."""
    return encode(list(signatures)).decode()


def _check(sha: str, sizes: list[int]) -> None:
    for what, size, most in zip(("JSON", "signatures"), sizes, (LARGEST, MOST_SIGNED), strict=True):
        if size > most:
            raise TaskFailed(f"the version {sha[:12]} in Redis has {size} bytes of {what}, more than the {most} that any may have")


def _stored(sha: str, data: bytes | str | None, signatures: bytes | str | None) -> Stored:
    if data is None:
        raise RunNotFound(f"Redis has no run of the version {sha}")
    found = data if isinstance(data, bytes) else data.encode()
    return Stored(sha, found, _signatures(signatures))


def _signatures(value: bytes | str | None) -> tuple[str, ...]:
    """Return the signatures of a list; what is none is passed over."""
    if value is None:
        return ()
    try:
        plain = decode(text(value))
    except ValueError:
        return ()
    return tuple(each for each in plain if isinstance(each, str)) if isinstance(plain, list) else ()
