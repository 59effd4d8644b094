"""From a claim to what the shepherd is asked to start: the run and the version, the rendered fields, the folder, the environment."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis

from rqflow import mail
from rqflow.broker.broker import Broker
from rqflow.broker.steps import LINK_ERRORS
from rqflow.dag import context, template_files, unpacking
from rqflow.dag.run import RunInfo
from rqflow.dag.template import Renderer
from rqflow.dag.version import TaskSpec, Version, amend
from rqflow.dag.xcom_view import XComs
from rqflow.exceptions import RqflowError, TaskFailed
from rqflow.operators.base import SPEC_FILE, Launch, TryJob
from rqflow.operators.registry import by_kind
from rqflow.settings import Settings
from rqflow.worker import asking, confided, entrusting, environment, limits, outputs, program
from rqflow.worker.accounts import Account, Accounts
from rqflow.worker.admission import Admission
from rqflow.worker.confided import Confided
from rqflow.worker.desk import Desk
from rqflow.worker.inquiries import Awaited, Inquiries
from rqflow.worker.outside import Outside
from rqflow.worker.processes import MARKER
from rqflow.worker.sealed import HANDOVER
from rqflow.worker.shepherd_protocol import Start
from rqflow.worker.tries import Try, archive_path
from rqflow.worker.workdir import OUTSIDE, VENVS, WorkDir

logger = logging.getLogger(__name__)

#: Below the folder of the package.
RUNNER = Path("rqflow", "worker", "runner.py")
#: Versions of which compiled templates are kept.
_RENDERERS = 32


class Unsupported(TaskFailed):
    """The task uses what this rqflow does not have; a further try would be in vain."""


class OutputsExist(RqflowError):
    """The outputs are there already and the task wants to be skipped over then; it counts as success."""


class Preparer:
    """Prepares tries for one worker; keeps what it rendered and unpacked."""

    def __init__(self, broker: Broker, settings: Settings, work_dir: WorkDir, environ: Mapping[str, str], admission: Admission | None = None) -> None:
        """Prepare with the environment `environ` of the worker what its `admission` lets in; None: everything."""
        self._admission = admission or Admission(None)
        self._broker = self._admission.guard(broker)
        self._settings = settings
        self._work_dir = work_dir
        self.inherited = environment.snapshot(environ)
        self._bare = environment.bare(self.inherited)
        self._given = environment.given(environ)
        self._grace = settings.worker.kill_grace.total_seconds()
        self._gap = settings.worker.gap.total_seconds()
        #: The least that a finite grace must leave room for: two heartbeats, the kill, the gap.
        self._least_grace = 2 * settings.worker.heartbeat.total_seconds() + self._grace + self._gap
        self._renderers: dict[str, Renderer] = {}
        self.outside = Outside(broker, settings, work_dir.path / OUTSIDE)
        #: What must not be shown of the tries prepared here.
        self.confided = Confided(self.outside.keyring, confided.in_environment(self.inherited.items()))
        self.accounts = Accounts(settings.worker)
        #: Where children under other accounts ask; None: nothing is prepared for other accounts.
        self.desk: Desk | None = None
        self._runner = work_dir.program / RUNNER

    def ask_hub(self, connection: redis.Redis, worker: str, wake: Callable[[], None]) -> None:
        """Let secrets be asked of the hub for this worker, where it has joined one; `wake` is called when an answer is there."""
        self.outside.worker = worker
        if self.outside.member:
            self.outside.inquiries = Inquiries(connection, self.outside.member, wake)

    def is_answered(self, held: Try) -> bool:
        """Tell whether what a try waits for from the hub is here, or it is to be stopped."""
        if held.stop and self.outside.inquiries:
            self.outside.inquiries.forget(held)
        return held.stop is not None or self.outside.inquiries is None or self.outside.inquiries.is_answered(held)

    def has_told(self, held: Try) -> bool:
        """Tell whether the log of a try says that it waits for the hub."""
        return self.outside.inquiries is not None and self.outside.inquiries.has_told(held)

    def close(self) -> None:
        """Ask the hub for nothing any more."""
        if self.outside.inquiries:
            self.outside.inquiries.close()

    def recall(self, held: Try) -> None:
        """Give a try its job: run, version and context, from Redis or from memory.

        Raises TaskFailed when Redis does not have them any more, Refused when this worker does not run such a thing; redis-py's errors when the link
        breaks, SetBack when they may come back.
        """
        claim = held.claim
        run = self._broker.run_info(claim.run_key)
        if run is not None:
            # First: whatever is wrong with the version is to be in the log.
            held.run, held.archive = run, archive_path(claim, run)
        version = self._broker.version_to_run(claim.version)
        if run is None or version is None:
            self._broker.believe()
            raise TaskFailed(f"Redis does not have the run of {claim.task_id} any more")
        held.job = self._job(held, run, version)
        held.timeout = held.job.task.execution_timeout
        held.fields = held.job.task.fields

    def request(self, held: Try) -> Start:
        """Return what the shepherd must start for a try that has its job.

        Raises OutputsExist; TaskFailed, TemplateError or OSError with the reason why it cannot start; redis-py's errors when the link breaks; Awaited
        when a secret is still to come from the hub.
        """
        job = held.job
        if job is None:
            raise TaskFailed(f"nothing is known of {held.claim.task_id}")
        task = job.task
        # First: for nobody else is anything done.
        held.account = self.accounts.of(task, [signer.limits for signer in held.signers])
        if held.account:
            if self.desk is None:
                raise TaskFailed(f"a stock RQ worker runs nothing as {held.account.name}", hint="Serve this queue with `rqflow worker`.")
            job = held.job = entrusting.job_of(job, held, RUNNER)
        if task.unsupported:
            raise Unsupported(task.unsupported)
        if 0 < held.claim.grace <= self._least_grace:
            raise TaskFailed(f"its grace of {held.claim.grace:g} s is too short for this worker",
                             hint=f"It must be longer than {self._least_grace:g} s: two heartbeats, kill_grace and gap.")
        held.fields = self._fields(job)
        launch = by_kind(task.operator).launch(held.fields, job)
        cwd = str(_expanded(launch.cwd, held)) if launch.cwd else held.cwd
        if task.outputs:
            held.outputs = self._outputs(held, job, launch, Path(cwd))
            if task.skip_if_outputs_exist and _exist(held):
                raise OutputsExist("its outputs exist already")
        env = self._environment(held, job, launch)
        files = self._files(held, job, launch, env)
        held.limits = limits.of(task, self._settings.worker)
        if held.account:
            return entrusting.entrust(self._start(held, task, launch, cwd, env), held, files)
        _write_files(held, files)
        # Last: a try that cannot start leaves them where they are.
        held.moved += tuple(outputs.move_aside(held.outputs, held.claim.try_number))
        return self._start(held, task, launch, cwd, env)

    def _start(self, held: Try, task: TaskSpec, launch: Launch, cwd: str, env: Mapping[str, str]) -> Start:
        return Start(
            id=held.id, argv=launch.argv, log=held.log, cwd=cwd, env=env, inherit=launch.inherit_env,
            umask=task.umask, timeout=task.execution_timeout, fence=self.fence(held), grace=self._grace, outputs=held.outputs,
            try_number=held.claim.try_number, memo=held.memo(), **held.limits.plain,
        )

    def fence(self, held: Try) -> float | None:
        """Return the CLOCK_BOOTTIME by which a try must be dead unless its lease is renewed; None: never."""
        return held.heard_at + held.claim.grace - self._gap if held.claim.grace else None

    def _job(self, held: Try, run: RunInfo, version: Version) -> TryJob:
        own = self._own(run) if version.sha != run.version else None
        held.signers = self._admission.admit(self._broker, held.claim, run, version, own)
        if own is not None:
            # A person let it run again, and it follows a later version since, in the structure of its run.
            version = amend(own, version)
        task = version.tasks[held.claim.index]
        xcoms = XComs(lambda task_ids: self._broker.xcoms(held.claim.run_key, task_ids))
        variables, connections = self.outside.views(held)
        return TryJob(
            task=task, version=version, run=run, try_number=held.claim.try_number, folder=held.folder, python=sys.executable,
            runner=self._runner, venvs=self._work_dir.path / VENVS,
            context=context.build(
                version, task, run, try_number=held.claim.try_number, xcoms=xcoms, variables=variables, connections=connections,
            ),
            pipefail=self._settings.worker.pipefail,
        )

    def _own(self, run: RunInfo) -> Version:
        """Return the version that a run began as."""
        own = self._broker.version_to_run(run.version)
        if own is None:
            self._broker.believe()
            raise TaskFailed(f"Redis does not have the version of run {run.run_id} any more")
        return own

    def _renderer(self, job: TryJob) -> Renderer:
        """Return the renderer of a version, which keeps compiled templates."""
        sha = job.version.sha
        if sha not in self._renderers:
            while len(self._renderers) >= _RENDERERS:
                self._renderers.pop(next(iter(self._renderers)))
            self._renderers[sha] = Renderer(job.version, unsafe=self._settings.core.unsafe_templates)
        return self._renderers[sha]

    def _fields(self, job: TryJob) -> Mapping[str, Any]:
        """Return the rendered fields; those of a task that needs its source are rendered in its child."""
        if job.task.needs_source:
            return job.task.fields
        try:
            return self._renderer(job).fields(job.task, job.context)
        except TaskFailed as error:
            raise link_error(error) from error

    def _rendered(self, job: TryJob, value: Any, field: str) -> Any:
        if not value:
            return value
        try:
            return self._renderer(job).value(value, job.context, task_id=job.task.task_id, field=field)
        except TaskFailed as error:
            raise link_error(error) from error

    def _outputs(self, held: Try, job: TryJob, launch: Launch, base: Path) -> tuple[str, ...]:
        """Return the absolute paths of the outputs; relative ones belong to the folder `base`."""
        if launch.cwd is None and job.task.operator == "bash":
            # A child that renders the folder goes there by itself.
            base /= _expanded(self._rendered(job, held.fields.get("cwd"), "cwd") or "", held)
        return tuple(str(base / _expanded(name, held)) for name in self._rendered(job, job.task.outputs, "outputs"))

    def _environment(self, held: Try, job: TryJob, launch: Launch) -> dict[str, str]:
        """Return what is laid over the inherited environment, or all of it when nothing is inherited."""
        env = held.account.environment(self.inherited) if held.account else {} if launch.inherit_env else dict(self._bare)
        if launch.spec is not None:
            env.update(self._given)
            if launch.spec.get("mode") == "task":
                env[HANDOVER] = self._opener(held)
        own = dict(launch.env)
        name = self._rendered(job, job.task.env_file, "env_file")
        if name:
            own = {**environment.parse(_env_file(job.version, name, held), name), **own}
        if own:
            env.update(own)
            member = self.outside.member
            confided.note_texts(confided.file_of(held.log), confided.in_environment(own.items()), public=member.key.public if member else "")
        env.update(environment.of_try(held.claim, job.run))
        if job.task.fields.get("files"):
            held.is_bare = False
            env[environment.DAG_FOLDER] = str(unpacking.dag_folder(job.version, self._unpacked(held, job)))
        return env

    def _opener(self, held: Try) -> str:
        whole = (held.claim.run_key, held.claim.index, held.id)
        if held.account and self.desk:
            return self.outside.opener_for(held.account, self.desk, held.log, *whole)
        return self.outside.opener(*whole)

    def _unpacked(self, held: Try, job: TryJob) -> Path:
        """Return the folder in which a try finds its version unpacked."""
        return held.place / entrusting.UNPACKED if held.account else self._work_dir.unpack(job.version, held.folder)

    def _files(self, held: Try, job: TryJob, launch: Launch, env: Mapping[str, str]) -> dict[str, Any]:
        """Return {name: content} of the files that a try finds in its folder."""
        files: dict[str, Any] = dict(launch.files)
        if launch.spec is not None:
            spec = self._spec(held, job, launch.spec, env)
            files[SPEC_FILE] = json.dumps(spec)
            if held.account and self.desk and spec.get("outside"):
                files[entrusting.OUTSIDE] = self.outside.copy_for(self.desk, held.log)
        if held.account and (environment.DAG_FOLDER in env or (launch.spec or {}).get("mode") == "task"):
            files.update(entrusting.files_of(job.version))
        return files

    def _spec(self, held: Try, job: TryJob, spec: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
        """Return what a Python child is told: the operator's part, and what the worker alone knows."""
        told = {**spec, "result": str(held.result)}
        if told.pop("asks", False):
            told["hub"] = self.desk.told(held.id, held.account.uid, held.log) if held.account and self.desk else asking.told(self._settings)
        if spec.get("mode") != "task":
            return told
        folder = self._unpacked(held, job)
        package = program.INSTALLED if held.account else self._work_dir.program
        return told | {
            "rqflow": str(package), "own": package != program.INSTALLED,
            "folder": str(folder / unpacking.SOURCES), "version": str(folder / unpacking.VERSION),
            "run": json.loads(job.run.to_json()), "smtp": mail.spelled(self._settings.smtp),
            "unsafe": self._settings.core.unsafe_templates, "hidden": [*sorted(self._given), HANDOVER],
            "bare": sorted({*self._bare, *env, MARKER}.difference(self._given, (HANDOVER,))),
            "xcoms": _parsed(self._broker.xcoms(held.claim.run_key)), "waited": held.claim.waited, "looks": held.claim.looks,
            # Behind the XComs, with which Redis is asked whether these have changed.
            **({"outside": str(held.place / entrusting.OUTSIDE)} if held.account else self.outside.hand_over(held.log, held.folder)),
        }


def link_error(error: TaskFailed) -> Exception:
    """Return the broken link, or the secret that is awaited, behind a template that could not be rendered, else `error` itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (*LINK_ERRORS, Awaited)):
            return cause
        cause = cause.__cause__
    return error


def _expanded(path: str, held: Try) -> Path:
    """Return a path with the home of whoever runs the try in place of a ~ at its beginning."""
    return Path(held.account.expand(path)) if held.account else Path(path).expanduser()


def _exist(held: Try) -> bool:
    """Tell whether the outputs of a try exist, as the account sees it that runs the try."""
    return bool(held.account.ask("exist", outputs=list(held.outputs))["exist"]) if held.account else outputs.exist(held.outputs)


def _write_files(held: Try, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        held.is_bare = False
        descriptor = os.open(f"{held.folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)


def _env_file(version: Version, name: str, held: Try) -> str:
    """Return the text of an env_file: one on this machine by its absolute path, else one that travels with the version."""
    if _expanded(name, held).is_absolute():
        return environment.read_file(name) if held.account is None else _read_as(held.account, name)
    key = template_files.find(name, version)
    if key is None:
        raise TaskFailed(f"env_file {name} is not among the files of the DAG", hint="Name it in files=[…] too, or by its absolute path.")
    try:
        return template_files.text_of(version.sources[key])
    except UnicodeDecodeError as error:
        raise TaskFailed(f"env_file {name} is not UTF-8") from error


def _read_as(account: Account, name: str) -> str:
    answer = account.ask("read", path=account.expand(name))
    if "error" in answer:
        raise TaskFailed(f"env_file {name} cannot be read by {account.name}: {answer['error']}")
    return str(answer["text"])


def _parsed(texts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    return {task_id: {key: json.loads(text) for key, text in values.items()} for task_id, values in texts.items()}
