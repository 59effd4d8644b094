"""DAGs whose workers ask for a signature: which versions lack one, and what is said of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from rqflow.dag.version import Version
from rqflow.exceptions import NotPermitted
from rqflow.security import keygen
from rqflow.security.trust import Refused, Trust
from rqflow.settings import Settings
from rqflow.store import signatures, workers
from rqflow.store.engine import Engine, reading

#: Why a new DAG is paused whose first version nobody has signed.
NEVER_SIGNED = "nobody has signed it, and its workers run only what is signed"
HOW = "`rqflow dag sync --sign`, or `rqflow dag sign FILE`"


def words(is_active: bool) -> str:
    """Return what is said of a DAG of which a version waits for a signature: the one that new runs take, or a newer one."""
    if is_active:
        return f"nobody has signed it whom its workers trust, and they refuse its tasks until somebody does: {HOW}"
    return f"its newest version is unsigned and waits; until somebody signs it, the last signed one is run: {HOW}"


def lacking(engine: Engine, settings: Settings, versions: Sequence[Version]) -> dict[str, tuple[str, ...]]:
    """Return {dag_id: queues that ask for it} of those of these versions that nobody has signed who counts: whom this process trusts, where it has an
    allowed_signers file, else anybody.

    Raises ConfigError without ssh-keygen, and for trust files that are unfit.
    """
    with reading(engine) as connection:
        asking = workers.trusting_queues(connection)
        if not asking:
            return {}
        known = signatures.of(connection, [version.sha for version in versions])
    trust = Trust.of(settings)
    found = {}
    for version in versions:
        queues = sorted({task.queue for task in version.tasks if task.operator != "empty"} & asking)
        if queues and not _is_signed(version, queues, (*version.signatures, *known.get(version.sha, ())), trust):
            found[version.dag_id] = tuple(queues)
    return found


def _is_signed(version: Version, queues: Collection[str], found: Collection[str], trust: Trust | None) -> bool:
    data = version.json.encode()
    if trust is None:
        return any(keygen.is_sound(signature, data) for signature in found)
    with suppress(Refused):
        return any(one.limits.allow_dag(version.dag_id) and all(map(one.limits.allow_queue, queues))
                   for one in trust.signers(version.sha, data, list(found)))
    return False


def refuse(found: dict[str, tuple[str, ...]]) -> None:
    """Raise NotPermitted, with what to do, when versions that a person brings lack a signature."""
    if found:
        said = "; ".join(f"{dag_id} has tasks on the queue {', '.join(queues)}" for dag_id, queues in found.items())
        raise NotPermitted(f"{said}, whose workers run only what somebody has signed whom they trust",
                           hint="Set security.signing = true (RQFLOW__SECURITY__SIGNING=true), and sign with a key that they trust.")
