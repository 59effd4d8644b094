"""Every argument that tasks and DAGs take, under the names of all generations of Airflow and rqflow's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from rqflow.dag import readers as r
from rqflow.dag.readers import Argument
from rqflow.dag.trigger_rule import TriggerRule
from rqflow.dag.version import DEFAULT_POOL


class _Absent:
    """Says that an author gave nothing, where None means something."""

    def __repr__(self) -> str:
        return "<not given>"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()

#: Arguments that rqflow shares with Airflow and carries out.
TASK_ARGUMENTS: dict[str, Argument] = {
    "owner": Argument("", r.default_for_none("", r.text)),
    "email": Argument((), r.default_for_none((), r.addresses)),
    "email_on_failure": Argument(True, r.flag),
    "email_on_retry": Argument(True, r.flag),
    "email_on_success": Argument(False, r.default_for_none(False, r.flag)),
    "retries": Argument(0, r.default_for_none(0, r.whole(0))),
    "retry_delay": Argument(timedelta(minutes=5), r.default_for_none(timedelta(minutes=5), r.duration)),
    "retry_exponential_backoff": Argument(False, r.flag),
    "max_retry_delay": Argument(None, r.optional(r.duration)),
    "start_date": Argument(None, r.optional(r.moment)),
    "end_date": Argument(None, r.optional(r.moment)),
    "depends_on_past": Argument(False, r.flag),
    "wait_for_downstream": Argument(False, r.flag),
    "params": Argument(None, r.optional(r.mapping)),
    "default_args": Argument(None, r.optional(r.mapping)),
    "priority_weight": Argument(1, r.default_for_none(1, r.whole())),
    "weight_rule": Argument("downstream", r.default_for_none("downstream", r.one_of("downstream", "upstream", "absolute"))),
    "queue": Argument(None, r.optional(r.text)),
    "run_as_user": Argument(None, r.optional(r.text)),
    "pool": Argument(DEFAULT_POOL, r.default_for_none(DEFAULT_POOL, r.text)),
    "pool_slots": Argument(1, r.default_for_none(1, r.whole(1))),
    "sla": Argument(None, r.optional(r.duration)),
    "execution_timeout": Argument(None, r.optional(r.positive_duration)),
    "trigger_rule": Argument(TriggerRule.ALL_SUCCESS, r.trigger_rule),
    "max_active_tis_per_dag": Argument(None, r.optional(r.whole(1))),
    "do_xcom_push": Argument(None, r.optional(r.flag)),
}
#: rqflow's own.
OWN_ARGUMENTS: dict[str, Argument] = {
    "env": Argument(None, r.optional(r.env)),
    "env_file": Argument(None, r.optional(r.text)),
    "setup": Argument(None, r.optional(r.text)),
    "umask": Argument(None, r.optional(r.umask)),
    "memory": Argument(None, r.optional(r.size)),
    "cpus": Argument(None, r.optional(r.processors)),
    "nice": Argument(None, r.optional(r.niceness)),
    "nofile": Argument(None, r.optional(r.whole(3))),
    "python": Argument(None, r.optional(r.text)),
    "outputs": Argument((), r.default_for_none((), r.paths)),
    "skip_if_outputs_exist": Argument(False, r.flag),
    "files": Argument((), r.default_for_none((), r.paths)),
    "worker_labels": Argument((), r.default_for_none((), r.labels)),
    "retry_on_other_worker": Argument(False, r.flag),
    "grace": Argument(None, r.grace),
    "on_lost": Argument("retry", r.one_of("retry", "fail", "wait")),
}
#: Arguments that are kept on the task object and mean nothing to rqflow yet.
TASK_KEPT = (
    "allow_nested_operators", "doc", "doc_json", "doc_md", "doc_rst", "doc_yaml", "executor", "executor_config",
    "ignore_first_depends_on_past", "inlets", "logger_name", "map_index_template", "max_active_tis_per_dagrun", "multiple_outputs",
    "on_execute_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback", "on_success_callback", "outlets",
    "post_execute", "pre_execute", "render_template_as_native_obj", "resources", "show_return_value_in_logs",
    "task_display_name", "templates_exts", "wait_for_past_depends_before_skipping",
)
TASK_ARGUMENTS |= OWN_ARGUMENTS | {name: Argument(None, r.anything) for name in TASK_KEPT}
#: {another spelling: the argument}.
TASK_ALIASES = {"task_concurrency": "max_active_tis_per_dag", "xcom_push": "do_xcom_push", "max_active_per_dag": "max_active_tis_per_dag"}

DAG_ARGUMENTS: dict[str, Argument] = {
    "start_date": Argument(None, r.optional(r.moment)),
    "end_date": Argument(None, r.optional(r.moment)),
    "default_args": Argument(None, r.optional(r.mapping)),
    "params": Argument(None, r.optional(r.mapping)),
    "owner": Argument("", r.default_for_none("", r.text)),
    "tags": Argument((), r.default_for_none((), r.texts)),
    "doc_md": Argument(None, r.anything),
    "catchup": Argument(None, r.optional(r.flag)),
    "max_active_runs": Argument(16, r.default_for_none(16, r.whole(1))),
    "max_active_tasks": Argument(None, r.optional(r.whole(1))),
    "dagrun_timeout": Argument(None, r.optional(r.positive_duration)),
    "max_consecutive_failed_dag_runs": Argument(None, r.optional(r.whole(0))),
    "is_paused_upon_creation": Argument(None, r.optional(r.flag)),
    "template_searchpath": Argument((), r.default_for_none((), r.texts)),
    "template_undefined": Argument(ABSENT, r.anything),
    "user_defined_macros": Argument(None, r.optional(r.mapping)),
    "user_defined_filters": Argument(None, r.optional(r.mapping)),
    "render_template_as_native_obj": Argument(False, r.flag),
}
#: Arguments that are kept on the DAG object and mean nothing to rqflow yet.
DAG_KEPT = (
    "access_control", "allowed_run_types", "auto_register", "dag_bundle_name", "dag_display_name", "dagrun_expected_duration", "deadline",
    "default_view", "disable_bundle_versioning", "fail_fast", "fail_stop", "full_filepath",
    "jinja_environment_kwargs", "last_loaded", "on_failure_callback", "on_success_callback",
    "orientation", "owner_links", "parent_dag", "rerun_with_latest_version", "sla_miss_callback",
)
DAG_ARGUMENTS |= {name: Argument(None, r.anything) for name in DAG_KEPT}
#: Those of both that would change what happens -> what happens in place of that.
LEFT_OUT = {
    "max_active_tis_per_dagrun": "as many of it run together as the other limits let",
    "wait_for_past_depends_before_skipping": "it is skipped without waiting for the run before",
    "fail_fast": "the other tasks of a run go on when one has failed",
    "fail_stop": "the other tasks of a run go on when one has failed",
    "deadline": "nobody is told when it has passed; `sla` of its tasks tells of misses",
}
#: {another spelling: the argument}. The schedule is no entry of the table, because timetable.py reads it.
DAG_ALIASES = {"concurrency": "max_active_tasks"}


def renamed(given: dict[str, Any], aliases: dict[str, str]) -> dict[str, Any]:
    """Return the arguments under their present names; what is given under several names is what the first of them says."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        result.setdefault(aliases.get(name, name), value)
    return result
