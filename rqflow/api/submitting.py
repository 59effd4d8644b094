"""The operation by which people submit DAGs that were loaded, and signed, on their own machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path

from rqflow import clock
from rqflow.actions import execute, notices, query, trigger, unsigned
from rqflow.actions import submit as action
from rqflow.actions.model import Run
from rqflow.actions.people.ownership import Submitter
from rqflow.actions.schedule import ALL, NONE
from rqflow.actions.survey import Report
from rqflow.api.dags import zone
from rqflow.api.hub import Hub
from rqflow.api.operation import about, operation
from rqflow.dag import received
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.operators.registry import OPERATORS
from rqflow.security.roles import Role
from rqflow.values import is_text

#: DAGs that one request brings, signatures of one, and characters of one of these.
MOST, SIGNATURES, LONGEST = 1000, 100, 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitDags:
    """DAGs as `rqflow submit --server` sends them."""

    versions: list[str] = about("The canonical JSON of each version, as `GET /dags/{dag_id}/version` gives it.")
    signatures: list[list[str]] = about("Of each of them its signatures (SSHSIG, armoured); not given: none.", [])
    catchup: str | None = about("So many past runs of a DAG with catch-up are started, the last ones: a number, all or none.", None)
    starts: list[str] = about("DAGs of which you start a run right after this: one of @once starts none by itself then.", [])
    strict: bool = about("Refuse DAGs that name Connections which nobody has stored.", False)
    tz: str = about("Zone in which times are told: UTC or Area/City.", "UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted:
    """A DAG that was submitted."""

    dag_id: str
    #: sha of the version, its number, and whether it is new.
    version: str
    number: int
    is_new: bool
    is_paused: bool
    #: In words: what was registered, retries that were moved, and what happens next.
    said: str
    moved: tuple[str, ...]
    next: str
    #: The id of the run that was started, of a DAG of @once; empty: none was.
    run_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AllSubmitted:
    """DAGs that were submitted, and what is worth a warning."""

    dags: tuple[Submitted, ...]
    warnings: tuple[str, ...] = ()


@operation("dags.submit", "POST", "/dags", Role.OPERATOR)
def submit(hub: Hub, asked: SubmitDags) -> AllSubmitted:
    """Register versions of DAGs as those that new runs take, all of them or none.

    Their files are loaded where the person is: no code of them is executed here. A DAG that was deleted comes back; one that is another's is refused.
    """
    versions = _versions(asked)
    if asked.catchup is not None and asked.catchup not in {ALL, NONE} and not asked.catchup.isdecimal():
        raise UsageError(f"catchup: {asked.catchup[:50]!r} is neither a number nor all or none")
    viewer = zone(asked.tz)
    files = [Report(file=Path(version.file or version.dag_id), versions=(version,)) for version in versions]
    action.check_pools(hub.broker, hub.engine, files)
    warnings = [f"{one}, and its worker's environment must have it"
                for one in action.check_connections(hub.broker, hub.engine, files, is_embedded=False, strict=asked.strict)]
    once = {version.dag_id for version in versions if version.dag_id not in asked.starts and action.starts_once(hub.engine, version)}
    registered = action.register(
        hub.broker, hub.engine, versions, catchup_by_default=hub.settings.scheduler.catchup_by_default, wanted=asked.catchup, restores=True,
        starts={*asked.starts, *once}, submitter=Submitter.of(hub.person))
    warnings += notices.warnings([one.version for one in registered], hub.settings)
    found = tuple(_submitted(hub, one, viewer, starts=one.version.dag_id in once) for one in registered)
    hub.go_on()
    return AllSubmitted(dags=found, warnings=tuple(warnings))


def _versions(asked: SubmitDags) -> list[Version]:
    """Return what was sent. Raises UsageError for what is no version, or is there twice."""
    if not 1 <= len(asked.versions) <= MOST:
        raise UsageError(f"versions: there are {len(asked.versions)}, and not 1 to {MOST}")
    if asked.signatures and len(asked.signatures) != len(asked.versions):
        raise UsageError("signatures: each version has a list of them, or there are none at all")
    found = [_version(text, own) for text, own in zip(asked.versions, asked.signatures or [[]] * len(asked.versions), strict=True)]
    if len({version.dag_id for version in found}) != len(found):
        raise UsageError("versions: two of them are of the same DAG")
    return found


def _version(text: str, signatures: Sequence[str]) -> Version:
    if len(signatures) > SIGNATURES or any(len(one) > LONGEST or not one.isascii() or "\0" in one for one in signatures):
        raise UsageError(f"signatures: one has at most {LONGEST:,} characters of ASCII, and a version at most {SIGNATURES} of them")
    try:
        found = received.version_of(text, tuple(signatures))
    except ValueError as error:
        raise UsageError(f"versions: {error}", hint="Has the machine on which the file was loaded the release of rqflow that the hub has?") from error
    if odd := [task for task in found.tasks if not task.unsupported and task.operator not in OPERATORS]:
        raise UsageError(f"versions: task {odd[0].task_id} of {found.dag_id}: the hub does not know the operator {odd[0].operator[:50]!r}")
    return found


def _submitted(hub: Hub, one: action.Registered, viewer: tzinfo, *, starts: bool) -> Submitted:
    run_id = ""
    if starts and one.held_by is None:
        run = trigger.once(one.version, clock.utcnow())
        trigger.start(hub.broker, hub.engine, run, one.version, by=hub.person.name)
        run_id = run.run_id
    return Submitted(
        dag_id=one.version.dag_id, version=one.version.sha, number=one.saved.number, is_new=one.saved.is_new, is_paused=one.pause_reason is not None,
        said=action.describe(one), moved=tuple(moved.words(viewer) for moved in one.moved),
        next=action.what_next(hub.broker, hub.engine, one, viewer), run_id=run_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecCommand:
    """A command that is run as a run with one task."""

    command: list[str] = about("Its words, as they are: for a pipe or a `$`, bash, -c and the script.")
    name: str | None = about("What it is called; the name of the program when not given.", None)
    queue: str | None = about("Queue whose workers may run it.", None)
    env: dict[str, str] = about("Variables of its environment.", {})
    cwd: str | None = about("Folder in which it runs, on the worker.", None)
    note: str = about("A remark about this run.", "")
    signatures: list[str] = about("Signatures (SSHSIG, armoured) of the version that it makes.", [])


@operation("runs.exec", "POST", "/exec", Role.OPERATOR)
def exec_command(hub: Hub, asked: ExecCommand) -> Run:
    """Run a command as a run with one task: a worker runs it, its log and its result are recorded."""
    for word in (*asked.command, asked.cwd or "", *asked.env, *asked.env.values()):
        if not is_text(word):
            raise UsageError("the command holds what is no text")
    env = execute.read_env([f"{name}={value}" for name, value in asked.env.items()])
    version = execute.a_version(asked.command, name=asked.name, queue=asked.queue, env=env, cwd=asked.cwd)
    version = _version(version.json, asked.signatures)
    unsigned.refuse(unsigned.lacking(hub.engine, hub.settings, [version]))
    execute.bring_back(hub.engine, version)
    run = execute.a_run(version, clock.utcnow(), note=asked.note)
    trigger.start(hub.broker, hub.engine, run, version, by=hub.person.name)
    hub.go_on()
    return replace(query.show(hub.broker, hub.engine, run.key), tasks=())
