"""What this worker runs: versions that somebody has signed whom it trusts, and of these only what that person may have run here.

Whatever a worker reads of a version comes through here: tries, the versions that tasks follow since a person let them run again, callbacks. The bytes
are verified before anything of them is parsed. Without security.allowed_signers only the names are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim
from rqflow.broker.signed import Stored
from rqflow.dag.run import RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.security.limits import Limits
from rqflow.security.trust import HOW_TO_SIGN, SHOWN, Refused, Signer, Trust
from rqflow.settings import Settings

FORGED = "Redis holds a forgery: see who may write there."
#: Who has signed a version, as `Trust.signers` says.
_Signers = tuple[Signer, ...]


class Admission:
    """The judgement of one worker. Safe with several threads, each with a broker of its own."""

    def __init__(self, trust: Trust | None, queues: Collection[str] = ()) -> None:
        """Let in what `trust` does; None: everything. `queues` are those that the worker serves."""
        self._trust, self._queues = trust, tuple(queues)

    @classmethod
    def of(cls, settings: Settings, queues: Collection[str] = ()) -> Admission:
        """Return that of a worker with these settings; raises ConfigError for trust files that are unfit, and without ssh-keygen."""
        trust = Trust.of(settings)
        if trust:
            trust.check()
        return cls(trust, queues)

    @property
    def verifies(self) -> bool:
        """Whether only signed versions are let in."""
        return self._trust is not None

    def guard(self, broker: Broker) -> Broker:
        """See to it that this broker, which is returned, parses no version that is not let in."""
        broker.verifies = self.verifies
        broker.gate = self._look if self._trust else None
        return broker

    def _look(self, stored: Stored) -> _Signers:
        """Return who has signed a version; raises Refused when nobody has who is trusted."""
        assert self._trust is not None
        return self._trust.signers(stored.sha, stored.data, stored.signatures)

    # -- tries --

    def admit(self, broker: Broker, claim: Claim, run: RunInfo, version: Version, own: Version | None = None) -> _Signers:
        """Return who has signed a task and may have it run here; none where nothing is verified.

        `version` is what the task follows, `own` what its run began as, if that is another one. Raises Refused.
        """
        _check_names(claim, run, version, own or version)
        if self._trust is None:
            return ()
        task = _task(claim, version, own or version)
        if task.queue != claim.queue:
            raise Refused(f"refused: it came from the queue {claim.queue}, and was signed for {task.queue}", hint=FORGED)
        shas = [version.sha]
        if own is not None and task.task_id not in version.by_id:
            # The task is of the one version, the files that it sees are of the other.
            shas.append(own.sha)
        return self._allowed(broker, shas, run.dag_id, lambda limits: limits.allow_queue(task.queue), f"the queue {task.queue}")

    def _allowed(self, broker: Broker, shas: Sequence[str], dag_id: str, allow_queue: Callable[[Limits], bool], what: str) -> _Signers:
        """Return those who have signed all these versions and may have the DAG run from there; signatures that came since they were read count."""
        signers: list[_Signers] = []
        for is_fresh in (False, True):
            signers = [self._signers(broker, sha, is_fresh=is_fresh) for sha in shas]
            others = [{one.principal for one in each} for each in signers[1:]]
            common = [one for one in signers[0] if all(one.principal in each for each in others)]
            if allowed := tuple(one for one in common if one.limits.allow_dag(dag_id) and allow_queue(one.limits)):
                return allowed
        if not common:
            raise Refused(f"refused: no one person has signed both {shas[0][:SHOWN]}, which the task follows, and {shas[1][:SHOWN]}, which it is of",
                          hint="Start a new run, or let the task follow its own version: `rqflow run retry RUN --same-version`.")
        raise _beyond(common, shas[0], dag_id, what)

    def _signers(self, broker: Broker, sha: str, *, is_fresh: bool) -> _Signers:
        assert self._trust is not None
        known = None if is_fresh else self._trust.known(sha)
        return known if known is not None else self._look(broker.stored_version(sha))

    # -- callbacks --

    def admit_callback(self, stored: Stored, run: RunInfo, task_id: str) -> tuple[Version, _Signers]:
        """Return the version that a callback is about, if it may be called here, and who may have it called; none where nothing is verified.

        Raises Refused, TaskFailed for what is no version.
        """
        signers = self._look(stored) if self._trust else ()
        version = stored.parse()
        if version.dag_id != run.dag_id:
            raise Refused(f"refused: its version is one of {version.dag_id}, and its run one of {run.dag_id}", hint=FORGED)
        if self._trust is None:
            return version, ()
        task = version.by_id.get(task_id)
        queues = [task.queue] if task else self._queues
        allowed = tuple(one for one in signers if one.limits.allow_dag(run.dag_id) and any(map(one.limits.allow_queue, queues)))
        if not allowed:
            raise _beyond(signers, stored.sha, run.dag_id, f"the queue {', '.join(queues)}")
        return version, allowed


def _check_names(claim: Claim, run: RunInfo, version: Version, own: Version) -> None:
    """Raise Refused when a claim, its run and its version do not belong together: somebody has put one under the name of another."""
    if run.key != claim.run_key:
        raise Refused(f"refused: what lies under the key of the run is another one: {run.run_id} of {run.dag_id}", hint=FORGED)
    for one in (version, own):
        if one.dag_id != run.dag_id:
            raise Refused(f"refused: its version is one of {one.dag_id}, and its run one of {run.dag_id}", hint=FORGED)
    if not 0 <= claim.index < len(own.tasks) or own.tasks[claim.index].task_id != claim.task_id:
        raise Refused(f"refused: its version has no task {claim.task_id} in place {claim.index}", hint=FORGED)


def _task(claim: Claim, version: Version, own: Version) -> TaskSpec:
    return version.by_id.get(claim.task_id) or own.tasks[claim.index]


def _beyond(signers: Sequence[Signer], sha: str, dag_id: str, what: str) -> Refused:
    """Return what is said when those who have signed may not have this run."""
    names = ", ".join(dict.fromkeys(one.principal for one in signers))
    lacks = what if any(one.limits.allow_dag(dag_id) for one in signers) else f"the DAG {dag_id}"
    return Refused(f"refused: its version {sha[:SHOWN]} was signed by {names}, whose line in security.signer_limits does not allow {lacks}",
                   hint=f"Widen that line, or {HOW_TO_SIGN}")
