"""Waiting for a bash command to end with exit code 0."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rqflow import settings
from rqflow.dag import readers
from rqflow.dag.program import Surroundings
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import setup_lines, strings
from rqflow.operators.sensors.base import BaseSensorOperator


class BashSensor(BaseSensorOperator):
    """Run `bash_command`, a template, until it ends with exit code 0.

    With `retry_exit_code` only that one means "not yet", and any other fails the task. `env` replaces the environment, as with BashOperator.
    """

    kind: ClassVar[str] = "bash_sensor"
    template_fields: Sequence[str] = ("bash_command", "env")
    template_ext: Sequence[str] = (".sh", ".bash")
    field_names: ClassVar[tuple[str, ...]] = ("bash_command", "env", "retry_exit_code", *BaseSensorOperator.field_names)

    def __init__(
        self, *, bash_command: Any, env: Any = None, output_encoding: str = "utf-8", retry_exit_code: Any = None, **kwargs: Any
    ) -> None:
        """Make the task; output_encoding is taken and ignored, since the output goes to the log as it is."""
        super().__init__(**kwargs)
        self.bash_command, self.output_encoding = bash_command, output_encoding
        self.env = self._given("env", env, readers.env, None)
        self.retry_exit_code = self._given("retry_exit_code", retry_exit_code, readers.whole(0), None)

    def poke(self, context: Mapping[str, Any]) -> bool:  # noqa: ARG002 (every sensor takes the same)
        """Run the command; raises TaskFailed when its exit code says more than "not yet"."""
        surroundings = self.child_surroundings or Surroundings(settings.environment())
        env = surroundings.environment(strings(self.env), inherit=not self.env)
        command = setup_lines(self.argument("setup")) + str(self.bash_command)
        sys.stdout.flush()
        code = subprocess.run(["bash", "-c", command], env=env, check=False).returncode
        if code and self.retry_exit_code is not None and code != self.retry_exit_code:
            raise TaskFailed(f"its command ended with exit code {code}; only {self.retry_exit_code} (retry_exit_code) means not yet")
        self.log.info("the command ended with exit code %d", code)
        return code == 0
