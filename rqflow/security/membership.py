"""What a worker that joined a hub has in its home: a key pair of its own in place of the hub's Fernet key, and the hub's public half.

Its name and its public half are in the hub's history since it joined. With them it asks the hub for the secrets of tasks that it holds, and gets
them sealed for itself, or for one try alone: that is a `Ticket`, which a Python child is handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rqflow.exceptions import ConfigError
from rqflow.security.sealing import BoxKey, is_public

#: Below HOME; the first is for its owner only.
KEY_FILE, HUB_FILE = Path("keys", "worker"), Path("keys", "hub.pub")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What lets a process ask for the secrets of one thing that its worker holds: an execution, or a call of an author's function."""

    #: Who asks (host.id, over restarts) and what it holds: the run with the index of the task, or an empty one and the id of the call.
    worker: str
    run: str
    index: int
    execution: str
    #: The private half for which the answer is sealed, and the proof that the worker asks for it.
    private: str
    proof: str
    #: The public halves of the hub and of the worker.
    hub: str
    own: str

    def request(self, public: str, wanted: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return what is asked: `wanted` are {kind: names}; `public` is the half that belongs to `private`."""
        return {"claim": claim(self.worker, self.run, self.index, self.execution, public), "proof": self.proof, "wanted": dict(wanted)}

    def told(self) -> dict[str, Any]:
        """Return it as JSON that `Ticket(**…)` reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that has joined a hub."""

    key: BoxKey
    hub: str

    @classmethod
    def of(cls, home: Path) -> Member | None:
        """Return the member that this home is; None when it has not joined. Raises ConfigError for files that hold no keys."""
        try:
            own, hub = ((home / file).read_text(encoding="ascii", errors="replace").strip() for file in (KEY_FILE, HUB_FILE))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"the key file {error.filename} cannot be read: {error.strerror}", hint="Mend its permissions.") from error
        if not is_public(own) or not is_public(hub):
            file = home / (HUB_FILE if is_public(own) else KEY_FILE)
            raise ConfigError(f"the key file {file} holds no key", hint="Put it back from a copy, or join anew: `rqflow worker join`.")
        return cls(BoxKey(own), hub)

    def ticket(self, worker: str, run: str, index: int, execution: str, *, shared: bool = False) -> Ticket:
        """Return what asks for the secrets of what this worker holds; `shared`: answers are for the worker itself, and not for one process alone."""
        box = self.key if shared else BoxKey.fresh()
        proof = self.key.vouch(self.hub, claim(worker, run, index, execution, box.public))
        return Ticket(worker=worker, run=run, index=index, execution=execution, private=box.private, proof=proof, hub=self.hub, own=self.key.public)


def claim(worker: str, run: str, index: int, execution: str, public: str) -> dict[str, Any]:
    """Return what a worker proves with its key."""
    return {"worker": worker, "run": run, "index": index, "execution": execution, "to": public}
