"""Waiting for a file on the worker's machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from glob import iglob
from pathlib import Path
from typing import Any, ClassVar

from rqflow import clock
from rqflow.dag.airflow.exceptions import AirflowNotFoundException
from rqflow.dag.airflow.hook import BaseHook
from rqflow.exceptions import TaskFailed
from rqflow.operators.sensors.base import BaseSensorOperator

_DEFAULT_CONNECTION = "fs_default"


class FileSensor(BaseSensorOperator):
    """Wait for a file: `filepath`, which may hold wildcards (`**` with recursive=True), or a folder with a file in it.

    A relative path begins at the `path` that the extra of the Connection `fs_conn_id` names, else at /. It is looked for on the machine of
    the worker: give the task a queue or worker_labels when not every worker sees it.
    """

    kind: ClassVar[str] = "file_sensor"
    template_fields: Sequence[str] = ("filepath",)
    field_names: ClassVar[tuple[str, ...]] = ("filepath", "fs_conn_id", "recursive", *BaseSensorOperator.field_names)

    def __init__(self, *, filepath: Any, fs_conn_id: str = _DEFAULT_CONNECTION, recursive: bool = False, **kwargs: Any) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.filepath, self.fs_conn_id, self.recursive = filepath, fs_conn_id, recursive

    @property
    def path(self) -> Path:
        """The rendered path, absolute; raises TaskFailed for a Connection that does not exist."""
        return self._base() / Path(str(self.filepath)).expanduser()

    def poke(self, context: Mapping[str, Any]) -> bool:  # noqa: ARG002 (every sensor takes the same)
        """Tell whether the file is there."""
        path = self.path
        self.log.info("looking for %s", path)
        for found in map(Path, iglob(str(path), recursive=bool(self.recursive))):  # noqa: PTH207 (Path.glob is always recursive)
            if found.is_file():
                changed = datetime.fromtimestamp(found.stat().st_mtime, clock.UTC)
                self.log.info("found %s, changed at %s", found, f"{changed:%Y-%m-%d %H:%M:%S} UTC")
                return True
            if found.is_dir() and any(below.is_file() for below in found.rglob("*")):
                self.log.info("found a file in the folder %s", found)
                return True
        return False

    def _base(self) -> Path:
        try:
            connection = BaseHook.get_connection(self.fs_conn_id)
        except AirflowNotFoundException as error:
            if self.fs_conn_id != _DEFAULT_CONNECTION:
                raise TaskFailed(str(error)) from None
            return Path("/")
        return Path(connection.extra_dejson.get("path") or "/")
