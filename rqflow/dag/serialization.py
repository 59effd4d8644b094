"""From a DAG object to the version that travels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from rqflow.dag import resources
from rqflow.dag.arguments import ABSENT, LEFT_OUT
from rqflow.dag.callbacks import Kind, dag_kinds, task_kinds
from rqflow.dag.graph import find_cycle, topological_order
from rqflow.dag.model import DAG
from rqflow.dag.params import problems, values_of
from rqflow.dag.plain import plain
from rqflow.dag.problems import Place, noting, report, warn
from rqflow.dag.task import BaseOperator
from rqflow.dag.timetable import UNSUPPORTED, schedule_text, zone
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.weights import effective_weights
from rqflow.exceptions import DagLoadError

#: Arguments that a TaskSpec has under the same name and as the same value.
_SAME = (
    "owner", "pool", "pool_slots", "worker_labels", "retry_on_other_worker", "retries", "retry_exponential_backoff", "on_lost",
    "depends_on_past", "wait_for_downstream", "run_as_user", "env_file", "setup", "umask", "python", "outputs", "skip_if_outputs_exist", "email",
    "email_on_failure", "email_on_retry", "email_on_success",
)
#: The same for lengths of time, which a TaskSpec has in seconds.
_LENGTHS = ("retry_delay", "max_retry_delay", "execution_timeout", "grace", "sla")
_DOCS = ("doc_md", "doc", "doc_rst", "doc_json", "doc_yaml")


def version_of(dag: DAG, *, file: str, generation: str, sources: Mapping[str, Any], default_queue: str = "default") -> Version:
    """Return the version of `dag`, which `file` of this generation made, with the texts of `sources`.

    Raises DagLoadError with every problem that is seen here: a cycle, a bad schedule, arguments that were spoilt after construction.
    """
    with noting() as notes:
        version = _version(dag, file, generation, sources, default_queue)
    for warning in notes.warnings:
        warn(warning.message, Place(warning.file, warning.line))
    if version is None or notes.problems:
        raise DagLoadError([str(problem) for problem in notes.problems])
    return version


def _version(dag: DAG, file: str, generation: str, sources: Mapping[str, Any], default_queue: str) -> Version | None:
    upstream = {task.task_id: list(task.upstream_ids) for task in dag.tasks}
    if cycle := find_cycle(upstream):
        report(f"DAG {dag.dag_id} has a cycle: {' -> '.join(cycle)}", dag.origin)
        return None
    if not dag.tasks:
        warn(f"DAG {dag.dag_id} has no tasks", dag.origin)
    start, end = _start(dag), dag.argument("end_date")
    if start and end and end < start:
        report(f"DAG {dag.dag_id}: end_date {end} lies before start_date {start}", dag.origin)
    try:
        zone(dag.timezone)
    except (ValueError, ZoneInfoNotFoundError):
        report(f"DAG {dag.dag_id}: the time zone {dag.timezone!r} is not known here", dag.origin)
    _warn_of_what_is_left_out(dag)
    frame = _Frame(dag, topological_order(upstream), generation, default_queue)
    timeout = dag.argument("dagrun_timeout")
    return Version(
        dag_id=dag.dag_id, file=file, generation=generation, sources=dict(sources),
        tasks=tuple(frame.spec(dag.task_dict[task_id]) for task_id in frame.order),
        description=str(dag.description or ""), doc_md=str(dag.doc_md or ""), owner=_owner(dag), tags=dag.argument("tags"),
        schedule=_schedule(dag, generation), timezone=dag.timezone, start_date=_iso(start), end_date=_iso(end),
        catchup=dag.argument("catchup"), max_active_runs=dag.argument("max_active_runs"), max_active_tasks=dag.argument("max_active_tasks"),
        dagrun_timeout=timeout.total_seconds() if timeout else None, paused_at_creation=dag.argument("is_paused_upon_creation"),
        params=_params(dag), param_specs=plain(dag.param_specs)[0],
        undefined=_undefined(dag, generation), render_native=dag.argument("render_template_as_native_obj"),
        template_searchpath=dag.argument("template_searchpath"), groups=_groups(dag), edge_labels=_labels(dag),
        default_args=plain(dag.default_args)[0], max_consecutive_failed_dag_runs=dag.argument("max_consecutive_failed_dag_runs"),
        callbacks=dag_kinds(dag),
    )  # fmt: skip


def _warn_of_what_is_left_out(dag: DAG) -> None:
    """Say once which arguments of Airflow's, that would change what happens, are not carried out yet."""
    for name, instead in LEFT_OUT.items():
        given = [task.task_id for task in dag.tasks if task.__dict__.get(name)]
        if dag.__dict__.get(name) or given:
            which = f"DAG {dag.dag_id}: {name}{f' of task {given[0]}' if given else ''}{f' and {len(given) - 1} more' if given[1:] else ''}"
            warn(f"{which} is not carried out yet: {instead}", dag.origin)


def _start(dag: DAG) -> datetime | None:
    """Return when the dates of a DAG begin: at its start date, else, as in Airflow, at the earliest one of its tasks."""
    own: datetime | None = dag.argument("start_date")
    return own or min(filter(None, (task.argument("start_date") for task in dag.tasks)), default=None)


class _Frame:
    """What all tasks of a DAG share while their specs are made."""

    def __init__(self, dag: DAG, order: list[str], generation: str, default_queue: str) -> None:
        tasks = dag.task_dict
        self.dag, self.order, self.generation, self.default_queue = dag, order, generation, default_queue
        self.index = {task_id: number for number, task_id in enumerate(order)}
        self.weights = effective_weights(
            order,
            downstream={task_id: tasks[task_id].downstream_ids for task_id in order},
            upstream={task_id: tasks[task_id].upstream_ids for task_id in order},
            own={task_id: tasks[task_id].argument("priority_weight") for task_id in order},
            rules={task_id: tasks[task_id].argument("weight_rule") for task_id in order},
        )
        self.start, self.end = _start(dag), dag.argument("end_date")
        #: Templates of this DAG need what only its source has.
        self.wants_source = bool(dag.user_defined_macros or dag.user_defined_filters or dag.jinja_environment_kwargs)

    def spec(self, task: BaseOperator) -> TaskSpec:
        """Return one task as plain data."""
        fields, template_fields, exact = _fields(task)
        params, params_exact = plain(values_of(task.argument("params") or {}))
        _check_outputs(task)
        hooked = bool({"pre_execute", "post_execute"} & task.__dict__.keys())
        callbacks = task_kinds(task)
        hooked = hooked or Kind.EXECUTE in callbacks
        kind = _kind(task, hooked=hooked)
        wanted = self.wants_source or task.is_authored or hooked or not (exact and params_exact)
        start = max(filter(None, (task.argument("start_date"), self.start)), default=None)
        end = min(filter(None, (task.argument("end_date"), self.end)), default=None)
        self._check_dates(task, start, end)
        return TaskSpec(
            index=self.index[task.task_id], task_id=task.task_id, operator=kind, operator_name=type(task).__name__,
            fields=fields, template_fields=template_fields,
            upstream=tuple(sorted(self.index[other] for other in task.upstream_ids)),
            downstream=tuple(sorted(self.index[other] for other in task.downstream_ids)),
            trigger_rule=str(task.argument("trigger_rule")), group_id=task.task_group.group_id if task.task_group else "",
            doc=next((str(text) for name in _DOCS if (text := task.__dict__.get(name))), ""),
            queue=task.argument("queue") or self.default_queue, weight=self.weights[task.task_id],
            max_active_per_dag=task.argument("max_active_tis_per_dag"), params=params,
            start_date=_iso(start), end_date=_iso(end),
            do_xcom_push=self._pushes(task, kind), unsupported=task.unsupported, callbacks=callbacks,
            needs_source=task.needs_source(wanted) if kind == task.kind else True,
            **{name: task.argument(name) for name in _SAME}, **resources.of(task),
            **{name: _seconds(task.argument(name)) for name in _LENGTHS},
        )  # fmt: skip

    def _check_dates(self, task: BaseOperator, start: datetime | None, end: datetime | None) -> None:
        """Report a task that contradicts itself, and warn of one that no run has because of its DAG's dates; `start` and `end` are what counts."""
        if not (start and end and end < start) or (self.start and self.end and self.end < self.start):
            return
        if start == task.argument("start_date") and end == task.argument("end_date"):
            report(f"task {task.task_id}: end_date {end} lies before start_date {start}", task.origin)
        else:
            warn(f"task {task.task_id} is in no run: what starts at {start} has ended at {end}, by its dates and those of its DAG", task.origin)

    def _pushes(self, task: BaseOperator, kind: str) -> bool:
        """In Airflow 1.x a bash task left an XCom only when it was told to, and a SQL task none."""
        said = task.argument("do_xcom_push")
        return said if said is not None else not (kind in {"bash", "sql"} and self.generation == "1")


def _check_outputs(task: BaseOperator) -> None:
    """Report outputs that would be removed with the private folder in which a task without `cwd` works."""
    if getattr(task, "cwd", None):
        return
    for name in task.argument("outputs"):
        if not name.startswith(("/", "~", "{")):
            what = "give the task a cwd, or the output its full path" if task.kind == "bash" else "give its full path"
            report(f"task {task.task_id}: the output {name!r} would be removed with the private folder of the try; {what}", task.origin)


def _fields(task: BaseOperator) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    """Return the operator's arguments as JSON, the names of those to be rendered, and whether JSON holds all of them."""
    rendered = task.template_names()
    values = {name: getattr(task, name, None) for name in dict.fromkeys([*task.field_names, *rendered])}
    if "env" not in values and task.argument("env"):
        values["env"] = task.argument("env")
    if "files" not in values and task.argument("files"):
        # By this a worker knows that the task wants to find them.
        values["files"] = task.argument("files")
    values.update(task.more_fields())
    pairs = {name: plain(value) for name, value in values.items() if value is not None}
    template_fields = tuple(name for name in pairs if name in rendered or name == "env")
    return {name: pair[0] for name, pair in pairs.items()}, template_fields, all(pair[1] for pair in pairs.values())


def _kind(task: BaseOperator, *, hooked: bool) -> str:
    """Return the kind, which is that of a Python task where an author gave an empty task something to do: by a class, or by a function before it."""
    known: Any = next(cls for cls in type(task).__mro__ if "kind" in cls.__dict__)
    return "python" if task.kind == "empty" and (hooked or type(task).execute is not known.execute) else task.kind


def _schedule(dag: DAG, generation: str) -> str | None:
    try:
        text = schedule_text(dag.schedule, generation)
    except ValueError as error:
        report(f"DAG {dag.dag_id}: {error}", dag.origin)
        return None
    if text and text.startswith(UNSUPPORTED):
        warn(f"DAG {dag.dag_id}: the schedule {text.removeprefix(UNSUPPORTED)} is not supported yet; only manual runs start", dag.origin)
    return text


def _params(dag: DAG) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for problem in problems(dag.written_params, is_scheduled=dag.schedule is not None):
        report(f"DAG {dag.dag_id}: {problem}", dag.origin)
    for name, value in values_of(dag.params).items():
        params[str(name)], exact = plain(value)
        if not exact:
            warn(f"DAG {dag.dag_id}: param {name} is no JSON value; templates see it as {params[str(name)]!r}", dag.origin)
    return params


def _undefined(dag: DAG, generation: str) -> str:
    given = dag.__dict__["template_undefined"]
    if given is ABSENT or given is None:
        return "empty" if generation == "1" else "error"
    return "error" if getattr(given, "__name__", "") == "StrictUndefined" else "empty"


def _owner(dag: DAG) -> str:
    owners = dict.fromkeys(task.argument("owner") for task in dag.tasks)
    return str(dag.argument("owner")) or ", ".join(sorted(owner for owner in owners if owner))


def _groups(dag: DAG) -> dict[str, Any]:
    return {
        group_id: {"tooltip": str(group.tooltip or ""), "parent": group.parent_group.group_id if group.parent_group else "",
                   **({"subdag": group.subdag_id} if group.subdag_id else {})}
        for group_id, group in dag.task_groups.items()
    }


def _labels(dag: DAG) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    for (upstream, downstream), text in dag.edge_labels.items():
        labels.setdefault(upstream, {})[downstream] = text
    return labels


def _seconds(length: timedelta | None) -> Any:
    return None if length is None else length.total_seconds()


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
