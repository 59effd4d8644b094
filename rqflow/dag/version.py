"""A version of a DAG: plain data with everything that a scheduler and a worker need, named by the sha256 of its JSON.

Loading a file makes one (dag/serialization.py); the broker, the store and the workers only ever see versions, never DAG objects.
The tasks stand in topological order and are named by their index in it where ids would be long; upstream and downstream lists are
indices too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

FORMAT = 1
#: The pool and the queue of tasks that name none. The pool limits nothing until somebody gives it slots.
DEFAULT_POOL = "default_pool"
DEFAULT_QUEUE = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """One task of a version. Durations are seconds; None means: not limited, or not set.

    `operator` is the name under which operators/ registers the class ("bash", "python" …); `fields` are the arguments of that class
    as plain JSON values, of which `template_fields` are rendered before each try.
    """

    index: int
    task_id: str
    operator: str
    #: The class as the author wrote it, for people: "BashOperator".
    operator_name: str
    fields: Mapping[str, Any]
    template_fields: tuple[str, ...] = ()
    upstream: tuple[int, ...] = ()
    downstream: tuple[int, ...] = ()
    trigger_rule: str = "all_success"
    group_id: str = ""
    owner: str = ""
    doc: str = ""

    queue: str = DEFAULT_QUEUE
    pool: str = DEFAULT_POOL
    pool_slots: int = 1
    #: Effective weight, after weight_rule; higher runs first.
    weight: int = 1
    max_active_per_dag: int | None = None
    worker_labels: tuple[str, ...] = ()
    retry_on_other_worker: bool = False

    retries: int = 0
    retry_delay: float = 300.0
    retry_exponential_backoff: bool = False
    max_retry_delay: float | None = None
    execution_timeout: float | None = None
    grace: float | None = None
    on_lost: str = "retry"
    depends_on_past: bool = False
    wait_for_downstream: bool = False
    #: ISO 8601; a run whose logical date lies before it has no instance of this task.
    start_date: str | None = None
    end_date: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    env_file: str | None = None
    setup: str | None = None
    umask: str | None = None
    #: What a try may use: bytes of memory, processors, niceness, open files; None: as the worker says.
    memory: int | None = None
    cpus: float | None = None
    nice: int | None = None
    nofile: int | None = None
    #: The account that it asks for, which the worker may grant.
    run_as_user: str | None = None
    python: str | None = None
    outputs: tuple[str, ...] = ()
    skip_if_outputs_exist: bool = False
    do_xcom_push: bool = True
    #: Rendered, or run, in a Python child that loads the DAG's source (own macros, filters, operator classes, callables).
    needs_source: bool = False
    #: What stands in for an operator that rqflow does not know: the message with which the task fails when it is run.
    unsupported: str = ""

    email: tuple[str, ...] = ()
    email_on_failure: bool = True
    email_on_retry: bool = True
    email_on_success: bool = False
    sla: float | None = None
    #: What the author's source has functions for (callbacks.Kind).
    callbacks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Version:
    """A DAG as it was when its file was loaded. Equal content has an equal `sha`."""

    dag_id: str
    #: The file's path below the folder that was submitted, and the generation its imports tell: 1, 2, 3 or native.
    file: str
    generation: str
    tasks: tuple[TaskSpec, ...]
    #: {path: text} of the DAG file, template files, local modules and files=[…]; bytes that are no UTF-8 as {"base64": …}.
    sources: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    doc_md: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    #: The schedule as written, as text: cron, "@daily", "timedelta:86400", "@once", or None.
    schedule: str | None = None
    timezone: str = "UTC"
    start_date: str | None = None
    end_date: str | None = None
    #: None: not said by the author.
    catchup: bool | None = None
    max_active_runs: int = 16
    max_active_tasks: int | None = None
    dagrun_timeout: float | None = None
    #: Whether it starts paused; None: not said by the author.
    paused_at_creation: bool | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    #: {name: {"description": …, "schema": …, "required": True}} of the params that say more than a value.
    param_specs: Mapping[str, Any] = field(default_factory=dict)
    #: What an unknown name in a template does: "error" or "empty".
    undefined: str = "error"
    render_native: bool = False
    template_searchpath: tuple[str, ...] = ()
    #: {group_id: {"tooltip": …, "parent": …}} of the task groups; with "subdag": its dag_id, for one that was a SubDag.
    groups: Mapping[str, Any] = field(default_factory=dict)
    #: {task_id: {downstream task_id: text}} of the edges that have a label.
    edge_labels: Mapping[str, Any] = field(default_factory=dict)
    default_args: Mapping[str, Any] = field(default_factory=dict)
    #: After so many failed runs in a row the DAG is paused, 0: never; None: as the settings say.
    max_consecutive_failed_dag_runs: int | None = None
    #: As those of a task.
    callbacks: tuple[str, ...] = ()
    #: Of the canonical JSON, whose part they are not: what people have signed with their SSH keys (security/signing.py).
    signatures: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @cached_property
    def json(self) -> str:
        """The canonical JSON: sorted keys, no spaces, and no task field that has its default value."""
        return json.dumps(self._plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def sha(self) -> str:
        """The hex sha256 of the canonical JSON, which names this version."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @property
    def source(self) -> str:
        """The text of the DAG file; empty for a DAG that was made from a command."""
        text = self.sources.get(self.file)
        return text if isinstance(text, str) else ""

    @cached_property
    def by_id(self) -> dict[str, TaskSpec]:
        """The tasks by their task_id."""
        return {task.task_id: task for task in self.tasks}

    def with_signatures(self, signatures: tuple[str, ...]) -> Version:
        """Return this very version, with these signatures."""
        found = replace(self, signatures=signatures)
        vars(found).update(json=self.json, sha=self.sha)
        return found

    def _plain(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"tasks", "signatures"}}
        plain = {name: value for name, value in plain.items() if name not in _NEWER or value != _NEWER[name]}
        return {"format": FORMAT, **plain, "tasks": [_without_defaults(task) for task in self.tasks]}

    @classmethod
    def from_json(cls, text: str, signatures: tuple[str, ...] = ()) -> Version:
        """Return the version that `json` was made from, which keeps this text: its name and its signatures are of these very characters.

        Raises ValueError for what is none, or has a format that this rqflow does not know.
        """
        plain = json.loads(text)
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
            raise ValueError("this DAG version was written by another release of rqflow")
        try:
            tuples = {name: tuple(plain[name]) for name in ("tags", "template_searchpath", "callbacks") if name in plain}
            found = cls(**{**plain, **tuples, "tasks": tuple(_task(item) for item in plain["tasks"])}, signatures=signatures)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no version of a DAG: {error}") from error
        vars(found).update(json=text)
        return found


def amend(own: Version, later: Version) -> Version:
    """Return `later` for a run that began as `own`: its tasks by their ids, in the places and with the neighbours and trigger rules that they have in
    `own`. Tasks that `later` does not have stay as they were; tasks that are new there are left out. It goes by the name of `later`.
    """
    tasks = []
    for task in own.tasks:
        newer = later.by_id.get(task.task_id)
        tasks.append(replace(newer, index=task.index, upstream=task.upstream, downstream=task.downstream, trigger_rule=task.trigger_rule)
                     if newer else task)
    amended = replace(later, tasks=tuple(tasks))
    # What was computed once stands for the version as people and Redis know it.
    vars(amended).update(json=later.json, sha=later.sha)
    return amended


#: What is left out while it has its default: a DAG that does not say it has the version that it had before it could.
_NEWER: dict[str, Any] = {"max_consecutive_failed_dag_runs": None, "paused_at_creation": None, "callbacks": ()}
_DEFAULTS: dict[str, Any] = asdict(TaskSpec(index=-1, task_id="", operator="", operator_name="", fields={}))
_TUPLES = frozenset(name for name, value in _DEFAULTS.items() if isinstance(value, tuple))


def _without_defaults(task: TaskSpec) -> dict[str, Any]:
    values = ((name, getattr(task, name)) for name in _DEFAULTS)
    return {name: value for name, value in values if name in {"index", "fields"} or value != _DEFAULTS[name]}


def _task(plain: dict[str, Any]) -> TaskSpec:
    arguments: dict[str, Any] = {"operator_name": "", **plain}
    arguments.update({name: tuple(arguments[name]) for name in _TUPLES & arguments.keys()})
    return TaskSpec(**arguments)
