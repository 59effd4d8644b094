"""Rendering the fields of tasks whose templates use macros and filters of the DAG's own: only its source has them.

Runs within load_child.py; loader.render_source starts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rqflow.dag import context
from rqflow.dag.execution import load_source
from rqflow.dag.plain import plain
from rqflow.dag.run import RunInfo
from rqflow.dag.template import Renderer
from rqflow.dag.version import Version
from rqflow.exceptions import TemplateError


def render(job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {task_id: {"values": rendered arguments} or {"error": why not}} of the job's `tasks`.

    The job holds the paths of `version` and of the `folder` with its sources, the `run` as JSON, and `unsafe`.
    """
    version = Version.from_json(Path(job["version"]).read_text(encoding="utf-8"))
    run = RunInfo.from_json(job["run"])
    dag = load_source(version, Path(job["folder"]))
    renderer = Renderer(version, unsafe=job["unsafe"], functions=dag.user_defined_macros, filters=dag.user_defined_filters)
    rendered: dict[str, dict[str, Any]] = {}
    for task_id in job["tasks"]:
        task = version.by_id[task_id]
        try:
            values = renderer.fields(task, context.build(version, task, run), endings=dag.get_task(task_id).template_endings())
            rendered[task_id] = {"values": plain(values)[0]}
        except TemplateError as error:
            rendered[task_id] = {"error": error.message}
    return rendered
