"""What a try was given: its template fields and variables, rendered again from the version, the dates, the values and the XComs of its run.

Secrets are blotted out: those of stored Variables and Connections that a template reads, and what is named like one. No code of the DAG's own is
executed for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from rqflow.actions import xcoms
from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim
from rqflow.broker.mirror import Mirrored
from rqflow.dag import context, taint
from rqflow.dag.outside import Stored
from rqflow.dag.plain import plain
from rqflow.dag.run import RunInfo
from rqflow.dag.template import Renderer
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcom_view import XComs
from rqflow.deploy.known import Known
from rqflow.exceptions import RqflowError, TemplateError
from rqflow.recorder import mirroring
from rqflow.security.entries import secrets_of
from rqflow.security.masking import STARS, Masker, is_sensitive, secret_texts
from rqflow.settings import Settings
from rqflow.store.engine import Engine, reading
from rqflow.worker.environment import of_try

#: The field that is the script of a bash task.
SCRIPT = "bash_command"


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedField:
    """A template field of a task."""

    name: str
    #: As the author wrote it, and as it is rendered; None: it cannot be, and `error` of the whole says why.
    template: Any
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What a try was given."""

    fields: tuple[RenderedField, ...] = ()
    #: Variables that its author gave it, and those that rqflow adds to what the worker hands on.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Why the fields are not rendered; empty: they are.
    error: str = ""
    hint: str = ""


def of_one_try(broker: Broker, engine: Engine, settings: Settings, version: Version, task: TaskSpec, run: RunInfo, try_number: int) -> Rendered:
    """Return what a try was given, or would be; what cannot be rendered is told in the result."""
    masker = Masker(secret_texts(dict(task.fields.get("env") or {})))
    written = {name: task.fields[name] for name in task.template_fields if name in task.fields and name != "env"}
    own = of_try(_claim(run, task, try_number), run)
    if task.needs_source:
        return _unrendered(masker, written, own, "its fields are rendered by code of its own DAG, which the web server does not run",
                           f"`rqflow task render {run.run_id} {task.task_id}` on the hub does.")
    known = Known(settings, masker, read=lambda: _stored(engine))

    def note(kind: str, name: str, given: str) -> None:
        masker.add(secrets_of(kind, name, given))

    shown = context.build(
        version, task, run, try_number=try_number, xcoms=XComs(lambda task_ids: xcoms.of_run(broker, engine, run.key, task_ids)),
        variables=Stored("VAR", known.view("VAR"), note), connections=Stored("CONN", known.view("CONN"), note))
    renderer = Renderer(version, unsafe=settings.core.unsafe_templates)
    try:
        values = renderer.fields(task, shown)
        env = {str(name): str(value) for name, value in (values.get("env") or {}).items()}
    except TemplateError as error:
        return _unrendered(masker, written, own, error.message, error.hint)
    except RqflowError as error:  # a Variable that this hub's key does not open
        return _unrendered(masker, written, own, error.message, error.hint)
    masker.add(secret_texts(env))
    fields = tuple(RenderedField(name=name, template=_said(masker, written[name]), value=_said(masker, values[name])) for name in written)
    return Rendered(fields=fields, env={name: STARS if is_sensitive(name) else masker.text(value) for name, value in {**env, **own}.items()})


def _unrendered(masker: Masker, written: Mapping[str, Any], own: Mapping[str, str], error: str, hint: str) -> Rendered:
    fields = tuple(RenderedField(name=name, template=_said(masker, value), value=None) for name, value in written.items())
    return Rendered(fields=fields, env=own, error=masker.text(error), hint=hint)


def _said(masker: Masker, value: Any) -> Any:
    """Return a value as JSON holds it, without secrets."""
    return masker.hide(plain(taint.plain(value))[0])


def _stored(engine: Engine) -> Mirrored:
    with reading(engine) as connection:
        return Mirrored("database", mirroring.stored(connection))


def _claim(run: RunInfo, task: TaskSpec, try_number: int) -> Claim:
    return Claim(run_key=run.key, index=task.index, task_id=task.task_id, try_number=try_number, execution_id=uuid4().hex, job_id=task.task_id,
                 queue=task.queue, version=run.version, started_at=0, max_tries=task.retries + 1)
