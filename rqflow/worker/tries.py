"""One try of a task instance as the worker holds it, from the claim until its log is archived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from rqflow.broker.messages import Claim
from rqflow.dag.run import SCHEDULED, RunInfo
from rqflow.dag.version import TaskSpec
from rqflow.operators.base import TryJob
from rqflow.recorder.logpath import log_name
from rqflow.security.trust import Signer
from rqflow.wire import decode, encode
from rqflow.worker import limits
from rqflow.worker.accounts import Account
from rqflow.worker.limits import TaskLimits
from rqflow.worker.outcome import Stop
from rqflow.worker.workdir import CWD

RESULT = "result.json"
_claimed = attrgetter(*Claim.__slots__)
#: What of a claim only the start of a try needs; a release before does not know it.
_FOR_THE_START = frozenset({"waited", "looks"})


@dataclass(kw_only=True, slots=True)
class Try:
    """What a worker knows of one try. What the next worker needs of it travels as `memo` through the shepherd's journal."""

    claim: Claim
    folder: Path
    #: The path of its log on this machine.
    log: str
    #: Where its log belongs in the archive; empty when that is not known.
    archive: str = ""
    #: The outputs that its success needs, absolute.
    outputs: tuple[str, ...] = ()
    #: Where those were moved to that were there before it.
    moved: tuple[str, ...] = ()
    timeout: float | None = None
    #: What its task may use; what of it this worker's shepherd is too old for.
    limits: TaskLimits = limits.NONE
    notes: tuple[str, ...] = ()
    #: Under whose account it runs; None: that of this worker.
    account: Account | None = None
    #: CLOCK_BOOTTIME before which the hub cannot have renewed its lease for the last time.
    heard_at: float = 0.0
    #: Nothing was put into the folder beside the task's own one inside.
    is_bare: bool = True
    #: What its run stands for; like the job, None for a try of an earlier worker until Redis was asked.
    run: RunInfo | None = None
    job: TryJob | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Who has signed it and may have it run here; none where nothing is verified.
    signers: tuple[Signer, ...] = ()
    #: Set when somebody wanted it stopped.
    stop: Stop | None = None
    #: What the shepherd was asked for then: reason, grace and signal of the kill.
    kill: tuple[str, float, int] | None = None
    log_bytes: int = 0
    is_watched: bool = False
    #: Processes may still be in its folder.
    inhabited: bool = False
    #: What has to be done before it is let go of.
    is_accepted: bool = False
    is_archived: bool = False

    @property
    def id(self) -> str:
        """Its execution id."""
        return self.claim.execution_id

    @property
    def place(self) -> Path:
        """The folder that its processes see: `folder`, or the one that it has under another account."""
        return self.account.place(self.id) if self.account else self.folder

    @property
    def cwd(self) -> str:
        """The path of its private folder to work in."""
        return f"{self.place}/{CWD}"

    @property
    def result(self) -> Path:
        """Where a Python child leaves its result."""
        return self.place / RESULT

    @property
    def task(self) -> TaskSpec | None:
        """The task, when it is known."""
        return self.job.task if self.job else None

    def memo(self) -> str:
        """Return what the next worker needs, as JSON."""
        claim = {name: value for name, value in zip(Claim.__slots__, _claimed(self.claim), strict=True) if name not in _FOR_THE_START}
        plain = {"claim": claim, "folder": str(self.folder), "log": self.log, "archive": self.archive, "is_bare": self.is_bare}
        more = {"outputs": self.outputs, "moved": self.moved, "timeout": self.timeout, "limits": self.limits.plain,
                "account": self.account.plain if self.account else None}
        return encode(plain | {name: value for name, value in more.items() if value}).decode()

    @classmethod
    def from_memo(cls, memo: str) -> Try:
        """Return the try that `memo` was made of; raises ValueError for anything else."""
        try:
            plain = decode(memo)
            return cls(
                claim=Claim(**plain["claim"]), folder=Path(plain["folder"]), log=plain["log"], archive=plain["archive"],
                is_bare=plain["is_bare"], outputs=tuple(plain.get("outputs", ())), moved=tuple(plain.get("moved", ())), timeout=plain.get("timeout"),
                limits=limits.from_plain(plain.get("limits", {})), account=Account.from_plain(plain["account"]) if plain.get("account") else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no memo of a try: {memo[:100]!r}") from error


def archive_path(claim: Claim, run: RunInfo) -> str:
    """Return where the log of a try belongs in the archive."""
    key = "" if run.run_type == SCHEDULED else run.key
    return log_name(run.dag_id, claim.task_id, run.logical_date, claim.try_number, run_key=key)
