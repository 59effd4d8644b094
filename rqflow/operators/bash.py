"""Bash commands, scripts beside the DAG file, and what their exit codes mean."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from rqflow import settings
from rqflow.dag import readers, template_files
from rqflow.dag.generation import NATIVE
from rqflow.dag.problems import report
from rqflow.dag.program import STARTED, Program, Surroundings
from rqflow.dag.task import BaseOperator
from rqflow.dag.template import is_plain
from rqflow.dag.version import Version
from rqflow.dag.xcom_view import RETURN_VALUE, to_text
from rqflow.dag.xcomarg import XComArg
from rqflow.exceptions import SkipTask, TaskFailed
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, python_child, say_end, setup_lines, strings
from rqflow.states import TaskState
from rqflow.wire import encode

SKIP_EXIT_CODE = 99
#: A longer command, in bytes, goes to a file: the kernel takes at most 128 KB for one argument.
LONGEST_ARGUMENT = 100_000
SCRIPT = "command.sh"
_RUN_SCRIPT = 'exec bash "$1"'
#: What a subclass or a hook may do around the command.
_AROUND = ("execute", "pre_execute", "post_execute", "on_kill")


class CommandFailed(TaskFailed):
    """A command that a Python child ran has failed; `status` is its exit code, or the signal that killed it as a negative number."""

    def __init__(self, message: str, status: int) -> None:
        """Keep how the command ended."""
        super().__init__(message)
        self.status = status


class CommandSkipped(SkipTask):
    """A command that a Python child ran has ended with the exit code `status`, which means skipped."""

    def __init__(self, message: str, status: int) -> None:
        """Keep how the command ended."""
        super().__init__(message)
        self.status = status


class BashOperator(BaseOperator):
    """Run a bash command: `bash_command`, a template, or `bash_file`, a script that is run as it is.

    A `bash_command` that ends in .sh or .bash names a template file beside the DAG file or in template_searchpath, unless a blank
    follows it or it is the absolute path of a file that is no such template. The last line of its output becomes the XCom.
    `env` replaces the environment of tasks made for Airflow unless append_env is set; in rqflow's own files it is added to it.
    """

    kind: ClassVar[str] = "bash"
    template_fields = ("bash_command", "env", "cwd")
    template_ext = (".sh", ".bash")
    #: How bash_file is started, and the path for a command that is too long for an argument, where the worker tells them to a Python child.
    bash_argv: Sequence[str] = ()
    bash_script: str = ""
    field_names: ClassVar[Sequence[str]] = ("bash_command", "bash_file", "env", "append_env", "cwd", "skip_exit_code", "pipefail")

    def __init__(
        self,
        *,
        bash_command: Any = None,
        bash_file: str | None = None,
        env: Any = None,
        append_env: bool | None = None,
        cwd: Any = None,
        output_encoding: str = "utf-8",
        skip_exit_code: int | None = SKIP_EXIT_CODE,
        skip_on_exit_code: int | Collection[int] | None = SKIP_EXIT_CODE,
        pipefail: bool | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Make the task; `skip_exit_code`, or the list `skip_on_exit_code`, says which exit codes mean skipped."""
        super().__init__(**kwargs)
        self.bash_command, self.bash_file = bash_command, bash_file
        codes = "skip_exit_code" if skip_on_exit_code == SKIP_EXIT_CODE else "skip_on_exit_code"
        self.env = self._given("env", env, readers.env)
        self.cwd = self._given("cwd", cwd, _folder)
        self.append_env = self._given("append_env", append_env, readers.flag)
        self.pipefail = self._given("pipefail", pipefail, readers.flag)
        self.skip_exit_code = self._given(codes, skip_exit_code if codes == "skip_exit_code" else skip_on_exit_code, readers.exit_codes) or []
        self.output_encoding = output_encoding
        if (bash_command is None) == (bash_file is None):
            report(f"task {self.task_id}: BashOperator needs either bash_command or bash_file", self.origin)
        elif isinstance(bash_command, list | tuple | dict | set | bytes | int | float):
            report(f"task {self.task_id}: bash_command must be text, not {bash_command!r}", self.origin)
        elif isinstance(bash_command, str) and "\0" in bash_command:
            report(f"task {self.task_id}: bash_command holds a NUL character, which no command may", self.origin)

    def _given(self, name: str, value: Any, read: readers.Reader) -> Any:
        """Return a value as it is read; one that cannot be used is reported, and then None."""
        try:
            return None if value is None else read(value)
        except ValueError as error:
            report(f"task {self.task_id}: {name}={value!r} {error}", self.origin)
            return None

    def source_files(self) -> tuple[str, ...]:
        """Return `files` and the script, unless that is to be found on the worker."""
        script = (self.bash_file,) if self.bash_file and not Path(self.bash_file).is_absolute() else ()
        return (*super().source_files(), *script)

    def needs_source(self, wanted: bool) -> bool:
        """Tell whether the templates need the DAG's source."""
        return wanted

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of bash with the rendered command, the setup line before it."""
        env, append = fields.get("env"), fields.get("append_env")
        inherits = not env or bool(job.version.generation == NATIVE if append is None else append)
        pipefail = job.pipefail if fields.get("pipefail") is None else bool(fields["pipefail"])
        lines = _lines(job.task.setup, pipefail)
        if job.task.needs_source:
            argv, files = _start(lines, fields, job) if fields.get("bash_file") else ((), {})
            told = {"pipefail": pipefail, "append_env": inherits, "bash_argv": argv, "bash_script": str(job.folder / SCRIPT)}
            # The setup line is for the bash that the child becomes, not for the child as well.
            child = python_child(replace(job, task=replace(job.task, setup=None)), {})
            cwd = str(fields.get("cwd") or "")
            return replace(child, files=files, cwd=cwd if cwd and is_plain(cwd) else None, spec={**(child.spec or {}), "arguments": told})
        argv, files = _start(lines, fields, job)
        return Launch(argv=argv, files=files, env=strings(env), cwd=fields.get("cwd") or None, inherit_env=inherits)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return success for exit code 0 with the last line as XCom, skipped for a skip code, else failed."""
        if job.task.needs_source and (ended.result or {}).get("state") != STARTED:
            return from_result(ended, job)
        if ended.exit_code is not None and ended.exit_code in fields.get("skip_exit_code", [SKIP_EXIT_CODE]):
            return Outcome(state=TaskState.SKIPPED, reason=f"exit code {ended.exit_code}")
        if ended.exit_code != 0:
            return Outcome(state=TaskState.FAILED, reason=say_end(ended))
        xcoms = {RETURN_VALUE: encode(ended.last_line).decode()} if job.task.do_xcom_push else {}
        return Outcome(state=TaskState.SUCCESS, xcoms=xcoms)

    def as_program(self) -> Program | None:
        """Return bash with the rendered command, unless a class of an author's own, or a hook, has more to do around it."""
        if any(name in self.__dict__ or getattr(type(self), name) is not getattr(BashOperator, name) for name in _AROUND):
            return None
        argv, files = self._started(Path(self.bash_script).parent)
        return Program(argv=argv, files=files, env=strings(self.env), inherit_env=self._inherits(), cwd=str(self.cwd or "") or None)

    def execute(self, context: Mapping[str, Any]) -> str | None:  # noqa: ARG002 (every operator takes the same)
        """Run the command from within a Python child, where the attributes are rendered already; return its last line of output.

        Raises SkipTask for a skip code, TaskFailed otherwise when it fails; their `status` is how bash ended.
        """
        surroundings = self.child_surroundings or Surroundings(settings.environment())
        env = surroundings.environment(strings(self.env), inherit=self._inherits())
        last = b""
        with TemporaryDirectory(prefix="rqflow-") as folder:
            argv, files = self._started(Path(folder))
            for path, text in files.items():
                Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
            try:
                with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.cwd or None, env=env) as process:
                    for line in process.stdout or ():
                        sys.stdout.buffer.write(line)
                        sys.stdout.buffer.flush()
                        last = line
            except SystemExit:
                # Both were told to stop, and bash has.
                raise CommandFailed("it was stopped", -signal.SIGTERM) from None
        if process.returncode:
            said = say_end(Ended(exit_code=process.returncode) if process.returncode > 0 else Ended(signal=-process.returncode))
            raise (CommandSkipped if process.returncode in self.skip_exit_code else CommandFailed)(said, process.returncode)
        text = last.decode(errors="replace").rstrip()
        try:
            to_text(text)
        except ValueError as error:
            sys.stdout.write(f"rqflow: its last line is not kept as XCom: {error}\n")
            return None
        return text

    def _inherits(self) -> bool:
        return not self.env or bool(self.append_env)

    def _started(self, folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return argv and {path: text} of the rendered command; a long one is a file in `folder`."""
        if self.bash_argv:
            return tuple(self.bash_argv), {}
        argv, files = _command(_lines(self.argument("setup"), bool(self.pipefail)), self.bash_command, self.bash_file, folder)
        return argv, {str(folder / name): text for name, text in files.items()}


def _folder(value: Any) -> Any:
    if not isinstance(value, str | PurePath | XComArg):
        raise ValueError("must be the path of a folder")
    return str(value) if isinstance(value, PurePath) else value


def _lines(setup: str | None, pipefail: bool) -> str:
    """Return what comes before the command."""
    return setup_lines(setup) + ("set -o pipefail\n" if pipefail else "")


def _start(lines: str, fields: Mapping[str, Any], job: TryJob) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return argv and files of a try; a bash_file that travels with the version becomes a file."""
    path = fields.get("bash_file")
    if path and not Path(path).is_absolute():
        return ("bash", str(job.folder / SCRIPT)), {SCRIPT: lines + script_of(job.version, path)}
    return _command(lines, fields.get("bash_command"), path, job.folder)


def _command(lines: str, command: Any, path: str | None, folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return argv and files: the script `path`, else the command as an argument of bash, or in a file of `folder` when it is long."""
    if path:
        return ("bash", "-c", lines + _RUN_SCRIPT, "bash", path), {}
    text = lines + str(command or "")
    if "\0" in text:
        raise TaskFailed("bash_command holds a NUL character, which no command may")
    if len(text.encode(errors="replace")) > LONGEST_ARGUMENT:
        return ("bash", str(folder / SCRIPT)), {SCRIPT: text}
    return ("bash", "-c", text), {}


def script_of(version: Version, path: str) -> str:
    """Return the text of a script that travels with the version, bytes that are no UTF-8 escaped; raises TaskFailed when there is none."""
    key = template_files.find(path, version)
    if key is None:
        raise TaskFailed(f"the script {path!r} is not beside the DAG file {version.file} nor in template_searchpath")
    return template_files.bytes_of(version.sources[key]).decode(errors="surrogateescape")
