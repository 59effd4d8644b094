"""One try of a task inside of its Python child: load the DAG's source, render the arguments, call `execute`.

worker/runner.py starts it and says in the result what an exception means.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from rqflow import clock, mail
from rqflow.dag.airflow.running import current
from rqflow.dag.airflow.uses import USES
from rqflow.dag.callback_child import on_execute
from rqflow.dag.callbacks import Kind
from rqflow.dag.context import context_of
from rqflow.dag.execution import load_source
from rqflow.dag.frame import Frame
from rqflow.dag.program import STARTED, Surroundings
from rqflow.dag.run import RunInfo
from rqflow.dag.task import BaseOperator
from rqflow.dag.template import Renderer
from rqflow.dag.version import Version
from rqflow.dag.xcom_view import RETURN_VALUE, XComs
from rqflow.exceptions import TaskFailed


def run(spec: Mapping[str, Any], result: dict[str, Any], environ: MutableMapping[str, str]) -> None:
    """Run the task that `spec` names and fill in `result`: XComs, also those pushed before a failure.

    `environ` is the environment of this process; the task's `env` is laid over it. A task that is a program takes the place of this process.

    The spec holds `version` (path of its JSON), `folder` (its unpacked sources), `task_id`, `try_number`, `run` (a RunInfo as JSON),
    `xcoms` {task_id: {key: value}}, `smtp` (settings for mail), and may hold `unsafe` (templates are not
    protected), `test_mode`, and `arguments` {name: value} of the operator that follow from what only the worker knows, and for programs the
    names of variables that they do not get (`hidden`) or get in any case (`bare`). Of a try that gave its slot back and goes on, `waited` are
    the seconds since it began, and `looks` says how often it did.
    """
    as_started = Surroundings(dict(environ), spec.get("hidden", ()), spec.get("bare", ()))
    version = Version.from_json(Path(spec["version"]).read_text(encoding="utf-8"))
    mail.provide(spec.get("smtp") or {})
    dag = load_source(version, Path(spec["folder"]))
    operator = dag.get_task(spec["task_id"])
    for name, value in (spec.get("arguments") or {}).items():
        setattr(operator, name, value)
    USES.strict = True
    frame = Frame(
        version=version, task=version.by_id[spec["task_id"]], run=RunInfo.from_json(json.dumps(spec["run"])), try_number=spec["try_number"],
        xcoms=XComs.of_values(spec.get("xcoms") or {}), dag=dag, operator=operator, hostname=socket.gethostname(),
        test_mode=bool(spec.get("test_mode")), started_at=clock.utcnow() - timedelta(seconds=spec.get("waited") or 0.0),
        looks=int(spec.get("looks") or 0),
    )  # fmt: skip
    renderer = Renderer(
        version, unsafe=bool(spec.get("unsafe")), limit=None, functions=dag.user_defined_macros, filters=dag.user_defined_filters
    )
    try:
        _render(operator, frame, renderer)
        if Kind.EXECUTE in frame.task.callbacks:
            on_execute(operator, context_of(replace(frame, marked=False)))
        program = operator.as_program()
        if program is not None:
            if "result" in spec:
                Path(spec["result"]).write_text(json.dumps({"state": STARTED}), encoding="utf-8")
            program.start(as_started)
        environ.update(_env(operator, frame, renderer))
        operator.child_surroundings = replace(as_started, environ=environ)
        _execute(operator, frame)
    finally:
        result["xcoms"].update(frame.xcoms.pushed)


def _render(operator: BaseOperator, frame: Frame, renderer: Renderer) -> None:
    """Replace the template fields of the task by what they render to."""
    marked, endings = context_of(frame), operator.template_endings()
    for name in operator.template_names():
        value = getattr(operator, name, None)
        if value is not None:
            setattr(operator, name, renderer.value(value, marked, task_id=operator.task_id, field=name, endings=endings))


def _env(operator: BaseOperator, frame: Frame, renderer: Renderer) -> dict[str, str]:
    """Return the rendered `env` of a task whose operator has no field of that name."""
    env = operator.argument("env")
    if not env or "env" in operator.field_names or "env" in operator.template_names():
        return {}
    rendered = renderer.value(env, context_of(frame), task_id=operator.task_id, field="env")
    return {str(name): "" if value is None else str(value) for name, value in rendered.items()}


def _execute(operator: BaseOperator, frame: Frame) -> None:
    """Call the task with a plain dictionary of plain values as its context, and keep what it returns."""
    context = dict(context_of(replace(frame, marked=False)))
    operator.__dict__["do_xcom_push"] = frame.task.do_xcom_push
    _on_term(operator)
    with current(context):
        operator.pre_execute(context)
        value = operator.execute(context)
        operator.post_execute(context, value)
    if value is not None and frame.task.do_xcom_push:
        try:
            frame.xcoms.push(frame.task.task_id, RETURN_VALUE, value)
        except TypeError as error:
            sys.stderr.write(f"rqflow: what the task returned is not kept as XCom: {error}\n")
        except ValueError as error:
            raise TaskFailed(f"what the task returned is too large: {error}") from error


def _on_term(operator: BaseOperator) -> None:
    """Let the task clean up when it is stopped."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        operator.on_kill()
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)

