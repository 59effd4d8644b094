"""Python callables under another interpreter: one that is there (ExternalPython…), or one of a virtual environment that is made for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rqflow.dag import readers
from rqflow.dag.problems import report
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, child, from_result
from rqflow.operators.branch import branch_outcome
from rqflow.operators.python import PythonOperator, function_spec
from rqflow.states import TaskState


class _ElsewhereOperator(PythonOperator):
    """What both have in common: the source of the function runs alone, with arguments and results that JSON can hold."""

    kind: ClassVar[str] = "elsewhere"
    template_fields: Sequence[str] = (*PythonOperator.template_fields, "env_vars")
    field_names: ClassVar[Sequence[str]] = (*PythonOperator.field_names, "env_vars", "inherit_env", "skip_on_exit_code", "string_args")

    def __init__(
        self,
        *,
        env_vars: Any = None,
        inherit_env: bool = True,
        skip_on_exit_code: Any = None,
        string_args: Sequence[str] | None = None,
        serializer: str | None = None,
        use_dill: bool = False,
        expect_airflow: bool = True,
        expect_pendulum: bool = False,
        **kwargs: Any,
    ) -> None:
        """Make the task; serializer, use_dill and what is expected are taken and ignored: values go to and fro as JSON."""
        super().__init__(**kwargs)
        self.env_vars, self.inherit_env, self.string_args = env_vars, bool(inherit_env), list(string_args or ())
        self.serializer, self.use_dill, self.expect_airflow, self.expect_pendulum = serializer, use_dill, expect_airflow, expect_pendulum
        try:
            self.skip_on_exit_code = [] if skip_on_exit_code is None else readers.exit_codes(skip_on_exit_code)
        except ValueError as error:
            report(f"task {self.task_id}: skip_on_exit_code={skip_on_exit_code!r} {error}", self.origin)

    @property
    def is_alone(self) -> bool:
        """Whether the function runs without the rest of its file: always."""
        return True

    @classmethod
    def started(cls, fields: Mapping[str, Any], job: TryJob, python: str) -> Launch:
        """Return the start of the function under an interpreter."""
        spec = {**function_spec(fields, job), "globals": {"virtualenv_string_args": fields.get("string_args") or []}}
        env = fields.get("env_vars") or fields.get("env")
        return replace(child(job, python, spec, {"env": env}), inherit_env=bool(fields.get("inherit_env", True)))

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return what the child says; skipped for an exit code that means so."""
        if ended.exit_code is not None and ended.exit_code in (fields.get("skip_on_exit_code") or ()):
            return Outcome(state=TaskState.SKIPPED, reason=f"exit code {ended.exit_code}")
        return from_result(ended, job)


class ExternalPythonOperator(_ElsewhereOperator):
    """Call `python_callable` under the interpreter `python`, the path of one on the worker; Python 3.8 or later, rqflow need not be there."""

    kind: ClassVar[str] = "external_python"

    def __init__(self, *, python: str, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(python=python, **kwargs)

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the interpreter."""
        return cls.started(fields, job, str(job.task.python))


class PythonVirtualenvOperator(_ElsewhereOperator):
    """Call `python_callable` in a virtual environment with `requirements`: a list, or the text or name of a requirements file (.txt).

    The environment is made on the worker when it has none with the same contents, in its work_dir or in venv_cache_path, and is used again.
    """

    kind: ClassVar[str] = "virtualenv"
    template_fields: Sequence[str] = ("requirements", "index_urls", "venv_cache_path", *_ElsewhereOperator.template_fields)
    template_ext: Sequence[str] = (".txt",)
    field_names: ClassVar[Sequence[str]] = (
        "requirements", "python_version", "system_site_packages", "pip_install_options", "index_urls", "venv_cache_path",
        *_ElsewhereOperator.field_names,
    )  # fmt: skip

    def __init__(
        self,
        *,
        requirements: Any = None,
        python_version: Any = None,
        system_site_packages: bool = True,
        pip_install_options: Sequence[str] | None = None,
        index_urls: Any = None,
        venv_cache_path: Any = None,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.requirements = requirements if isinstance(requirements, str) else [str(one) for one in requirements or ()]
        self.python_version = None if python_version is None else str(python_version)
        self.system_site_packages = bool(system_site_packages)
        self.pip_install_options = [str(one) for one in pip_install_options or ()]
        self.index_urls = [index_urls] if isinstance(index_urls, str) else [str(one) for one in index_urls or ()]
        self.venv_cache_path = None if venv_cache_path is None else str(venv_cache_path)

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of what makes the environment and goes on in it."""
        given = fields.get("requirements") or []
        lines = given.splitlines() if isinstance(given, str) else [line for one in given for line in str(one).splitlines()]
        urls = [str(url) for url in fields.get("index_urls") or ()]
        indices = [*(f"--index-url={url}" for url in urls[:1]), *(f"--extra-index-url={url}" for url in urls[1:])]
        venv = {
            "folder": fields.get("venv_cache_path") or str(job.venvs), "python": fields.get("python_version"),
            "requirements": [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")],
            "system_site_packages": fields.get("system_site_packages", True), "options": [*indices, *(fields.get("pip_install_options") or ())],
        }  # fmt: skip
        launch = cls.started(fields, replace(job, runner=job.runner.with_name("virtualenv.py")), job.python)
        return replace(launch, spec={**(launch.spec or {}), "venv": venv})


class BranchExternalPythonOperator(ExternalPythonOperator):
    """ExternalPythonOperator whose function returns the ids of the tasks directly downstream that are to be followed."""

    kind: ClassVar[str] = "branch_external_python"

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return what the child says, with what the choice skips."""
        found = super().outcome(fields, ended, job)
        return branch_outcome(ended, job) if found.state is TaskState.SUCCESS else found


class BranchPythonVirtualenvOperator(PythonVirtualenvOperator):
    """PythonVirtualenvOperator whose function returns the ids of the tasks directly downstream that are to be followed."""

    kind: ClassVar[str] = "branch_virtualenv"

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return what the child says, with what the choice skips."""
        found = super().outcome(fields, ended, job)
        return branch_outcome(ended, job) if found.state is TaskState.SUCCESS else found
