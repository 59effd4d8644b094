"""What DAG files may import of airflow, of all generations, and what of rqflow it is.

Targets are "module:name" and looked up when a file asks for them. They are text, because operators/ is a room that dag/ may not import:
which operators there are is the table's business, not this room's.
"""

from __future__ import annotations

_SDK = "airflow.sdk airflow.providers.common.compat.sdk"
_STANDARD = "airflow.providers.standard"
_SQL = "airflow.providers.common.sql"
_SHIM = "rqflow.dag.airflow"

_SENSORS = "rqflow.operators.sensors"
#: The module of the 1.x way that had all sensors.
_OLD = "airflow.operators.sensors airflow.sensors"
_SENSOR_ROWS: tuple[tuple[str, str], ...] = (
    (
        f"{_SENSORS}.base:BaseSensorOperator",
        f"{_OLD} airflow.sensors.base airflow.sensors.base_sensor_operator {_SDK} airflow.sdk.bases.sensor",
    ),
    (f"{_SENSORS}.base:PokeReturnValue", f"airflow.sensors.base {_SDK} airflow.sdk.bases.sensor"),
    (
        f"{_SENSORS}.bash:BashSensor",
        f"airflow.sensors.bash airflow.sensors.bash_sensor airflow.contrib.sensors.bash_sensor {_STANDARD}.sensors.bash",
    ),
    (
        f"{_SENSORS}.external_task:ExternalTaskSensor",
        f"{_OLD} airflow.sensors.external_task airflow.sensors.external_task_sensor {_STANDARD}.sensors.external_task",
    ),
    (
        f"{_SENSORS}.file:FileSensor",
        f"airflow.sensors.filesystem airflow.sensors.file_sensor airflow.contrib.sensors.file_sensor {_STANDARD}.sensors.filesystem",
    ),
    (f"{_SENSORS}.http:HttpSensor", f"{_OLD} airflow.sensors.http_sensor airflow.sensors.http airflow.providers.http.sensors.http"),
    (
        f"{_SENSORS}.sql:SqlSensor",
        f"{_OLD} airflow.sensors.sql_sensor airflow.sensors.sql airflow.providers.common.sql.sensors.sql",
    ),
    (
        f"{_SENSORS}.python:PythonSensor",
        f"airflow.sensors.python airflow.sensors.python_sensor airflow.contrib.sensors.python_sensor {_STANDARD}.sensors.python",
    ),
    *(
        (f"{_SENSORS}.times:{name}", f"{old} airflow.sensors.{new} {_STANDARD}.sensors.{new}")
        for name, old, new in (
            ("TimeSensor", f"{_OLD} airflow.sensors.time_sensor", "time"),
            ("TimeSensorAsync", "airflow.sensors.time_sensor", "time"),
            ("TimeDeltaSensor", f"{_OLD} airflow.sensors.time_delta_sensor airflow.sensors.timedelta_sensor", "time_delta"),
            ("TimeDeltaSensorAsync", "airflow.sensors.time_delta_sensor", "time_delta"),
            ("DateTimeSensor", "airflow.sensors.date_time_sensor airflow.sensors.datetime_sensor", "date_time"),
            ("DateTimeSensorAsync", "airflow.sensors.date_time_sensor", "date_time"),
            ("DayOfWeekSensor", "airflow.sensors.weekday_sensor airflow.contrib.sensors.weekday_sensor airflow.sensors.day_of_week", "weekday"),
        )
    ),
)
#: (target, modules of airflow in which it has the same name).
_ROWS: tuple[tuple[str, str], ...] = (
    ("rqflow.dag.model:DAG", f"airflow airflow.models airflow.models.dag {_SDK} airflow.sdk.definitions.dag"),
    ("rqflow.dag.task:BaseOperator", f"airflow.models airflow.models.baseoperator airflow.models.operator {_SDK} airflow.sdk.bases.operator"),
    ("rqflow.dag.links:chain", f"airflow.models.baseoperator airflow.utils.helpers {_SDK} airflow.sdk.bases.operator"),
    ("rqflow.dag.links:cross_downstream", f"airflow.models.baseoperator airflow.utils.helpers {_SDK} airflow.sdk.bases.operator"),
    ("rqflow.dag.links:Label", f"airflow.utils.edgemodifier {_SDK} airflow.sdk.definitions.edges"),
    ("rqflow.dag.taskgroup:TaskGroup", f"airflow.utils.task_group {_SDK} airflow.sdk.definitions.taskgroup"),
    ("rqflow.dag.trigger_rule:TriggerRule", f"airflow.utils.trigger_rule {_SDK} airflow.task.trigger_rule"),
    ("rqflow.dag.params:Param", f"airflow.models airflow.models.param {_SDK} airflow.sdk.definitions.param"),
    ("rqflow.dag.xcomarg:XComArg", f"airflow.models airflow.models.xcom_arg {_SDK} airflow.sdk.definitions.xcom_arg"),
    ("rqflow.dag.construction:apply_defaults", "airflow.utils airflow.utils.decorators"),
    ("rqflow.dag.outside:Connection", f"airflow.models airflow.models.connection {_SDK}"),
    ("rqflow.dag.views:DagRunView", "airflow.models:DagRun airflow.models.dagrun:DagRun airflow.sdk:DagRun"),
    ("rqflow.dag.views:TaskInstanceView", "airflow.models:TaskInstance airflow.models.taskinstance:TaskInstance airflow.sdk:TaskInstance"),
    ("rqflow.operators.bash:BashOperator", f"airflow.operators airflow.operators.bash airflow.operators.bash_operator {_STANDARD}.operators.bash"),
    ("rqflow.operators.empty:EmptyOperator", f"airflow.operators airflow.operators.empty {_STANDARD}.operators.empty"),
    ("rqflow.operators.empty:DummyOperator", "airflow.operators airflow.operators.dummy airflow.operators.dummy_operator"),
    *(
        (target, f"airflow.operators airflow.operators.python airflow.operators.python_operator {_STANDARD}.operators.python")
        for target in (
            "rqflow.operators.python:PythonOperator",
            "rqflow.operators.branch_python:BranchPythonOperator",
            "rqflow.operators.short_circuit:ShortCircuitOperator",
            "rqflow.operators.virtualenv:ExternalPythonOperator",
            "rqflow.operators.virtualenv:PythonVirtualenvOperator",
            "rqflow.operators.virtualenv:BranchExternalPythonOperator",
            "rqflow.operators.virtualenv:BranchPythonVirtualenvOperator",
        )
    ),
    (
        "rqflow.operators.branch:BaseBranchOperator",
        f"airflow.operators.branch_operator airflow.operators.branch {_STANDARD}.operators.branch",
    ),
    (
        "rqflow.operators.branch_times:BranchDateTimeOperator",
        f"airflow.operators.datetime_branch_operator airflow.operators.datetime {_STANDARD}.operators.datetime",
    ),
    (
        "rqflow.operators.branch_times:BranchDayOfWeekOperator",
        f"airflow.operators.weekday_branch airflow.operators.weekday {_STANDARD}.operators.weekday",
    ),
    (
        "rqflow.operators.latest_only:LatestOnlyOperator",
        f"airflow.operators airflow.operators.latest_only airflow.operators.latest_only_operator {_STANDARD}.operators.latest_only",
    ),
    *(
        (f"rqflow.operators.trigger_dag:{name}", modules)
        for name, modules in (
            (
                "TriggerDagRunOperator",
                f"airflow.operators airflow.operators.trigger_dagrun airflow.operators.dagrun_operator {_STANDARD}.operators.trigger_dagrun",
            ),
            ("DagRunOrder", "airflow.operators airflow.operators.trigger_dagrun airflow.operators.dagrun_operator"),
        )
    ),
    (
        "rqflow.operators.empty:ExternalTaskMarker",
        f"airflow.sensors.external_task airflow.sensors.external_task_sensor {_STANDARD}.sensors.external_task",
    ),
    ("rqflow.operators.subdag:SubDagOperator", "airflow.operators airflow.operators.subdag airflow.operators.subdag_operator"),
    ("rqflow.operators.subdag:subdag", "airflow.example_dags.subdags.subdag"),
    *(
        (f"rqflow.operators.http:{name}", "airflow.operators.http_operator airflow.operators.http airflow.providers.http.operators.http")
        for name in ("HttpOperator", "SimpleHttpOperator")
    ),
    ("rqflow.operators.http_hook:HttpHook", "airflow.hooks airflow.hooks.http_hook airflow.hooks.http airflow.providers.http.hooks.http"),
    *_SENSOR_ROWS,
    ("rqflow.operators.sql:SQLExecuteQueryOperator", f"{_SQL}.operators.sql airflow.operators.sql"),
    ("rqflow.operators.sql:MySqlOperator", "airflow.operators airflow.operators.mysql_operator airflow.providers.mysql.operators.mysql"),
    ("rqflow.operators.sql:PostgresOperator", "airflow.operators airflow.operators.postgres_operator airflow.providers.postgres.operators.postgres"),
    ("rqflow.operators.sql:SqliteOperator", "airflow.operators airflow.operators.sqlite_operator airflow.providers.sqlite.operators.sqlite"),
    ("rqflow.operators.hooks:DbApiHook", f"airflow.hooks airflow.hooks.dbapi airflow.hooks.dbapi_hook {_SQL}.hooks.sql"),
    ("rqflow.operators.hooks:fetch_all_handler", f"{_SQL}.hooks.sql {_SQL}.hooks.handlers"),
    ("rqflow.operators.hooks:fetch_one_handler", f"{_SQL}.hooks.sql {_SQL}.hooks.handlers"),
    (
        "rqflow.operators.hooks:MySqlHook",
        "airflow.hooks airflow.hooks.mysql_hook airflow.providers.mysql.hooks.mysql",
    ),
    (
        "rqflow.operators.hooks:PostgresHook",
        "airflow.hooks airflow.hooks.postgres_hook airflow.providers.postgres.hooks.postgres airflow.providers.postgres.operators.postgres",
    ),
    ("rqflow.operators.hooks:SqliteHook", "airflow.hooks airflow.hooks.sqlite_hook airflow.providers.sqlite.hooks.sqlite"),
    (
        "rqflow.operators.email:EmailOperator",
        "airflow.operators airflow.operators.email airflow.operators.email_operator airflow.providers.smtp.operators.smtp",
    ),
    *((f"{_SHIM}.email:{name}", "airflow.utils.email") for name in ("send_email", "send_email_smtp", "get_email_address_list")),
    *(
        (f"{_SHIM}.timetables:{name}", f"airflow.timetables.{module} {_SDK}")
        for name, module in (
            ("CronDataIntervalTimetable", "interval"), ("DeltaDataIntervalTimetable", "interval"),
            ("CronTriggerTimetable", "trigger"), ("DeltaTriggerTimetable", "trigger"),
        )
    ),
    (f"{_SHIM}.notifiers:BaseNotifier", f"airflow.notifications.basenotifier airflow.sdk.bases.notifier {_SDK}"),
    (f"{_SHIM}.notifiers:SmtpNotifier", "airflow.providers.smtp.notifications.smtp"),
    (f"{_SHIM}.notifiers:send_smtp_notification", "airflow.providers.smtp.notifications.smtp"),
    (f"{_SHIM}.variable:Variable", f"airflow airflow.models airflow.models.variable {_SDK}"),
    (f"{_SHIM}.hook:BaseHook", f"airflow.hooks airflow.hooks.base airflow.hooks.base_hook {_SDK} airflow.sdk.bases.hook"),
    (f"{_SHIM}.decorators:dag", f"airflow.decorators airflow.models.dag {_SDK}"),
    (f"{_SHIM}.decorators:task", "airflow.decorators"),
    (f"{_SHIM}.decorators:sdk_task", "airflow.sdk:task airflow.providers.common.compat.sdk:task"),
    (f"{_SHIM}.decorators:task_group", f"airflow.decorators airflow.decorators.task_group {_SDK}"),
    (
        f"{_SHIM}.running:get_current_context",
        f"airflow.operators.python airflow.operators.python_operator airflow.task.context {_STANDARD}.operators.python {_SDK}",
    ),
    (f"{_SHIM}.running:Context", f"airflow.utils.context {_SDK} airflow.sdk.definitions.context"),
    *((f"{_SHIM}.dates:{name}", "airflow.utils.dates") for name in ("days_ago", "cron_presets")),
    *(
        (f"{_SHIM}.dates:{name}", "airflow.utils.timezone airflow.sdk.timezone")
        for name in (
            "coerce_datetime", "convert_to_utc", "datetime", "is_localized", "is_naive", "make_aware", "make_naive", "parse", "utc", "utcnow",
        )
    ),
    (f"{_SHIM}.constants:State", "airflow.utils.state"),
    (f"{_SHIM}.constants:TaskInstanceState", f"airflow.utils.state {_SDK}"),
    (f"{_SHIM}.constants:DagRunState", f"airflow.utils.state {_SDK}"),
    (f"{_SHIM}.constants:DagRunType", "airflow.utils.types"),
    (f"{_SHIM}.constants:WeightRule", f"airflow.utils.weight_rule {_SDK}"),
    (f"{_SHIM}.constants:WeekDay", "airflow.utils.weekday airflow.contrib.utils.weekday"),
    (f"{_SHIM}.constants:LoggingMixin", "airflow.utils.log.logging_mixin"),
    (f"{_SHIM}.constants:AirflowPlugin", "airflow.plugins_manager"),
    (f"{_SHIM}.constants:provide_session", "airflow.utils.session airflow.utils.db"),
    (f"{_SHIM}.constants:version", "airflow:__version__ airflow.version"),
    (f"{_SHIM}.configuration:conf", "airflow.configuration"),
    *((f"{_SHIM}.configuration:{name}", "airflow.configuration") for name in ("get", "getboolean", "getint", "getfloat", "has_option")),
    (f"{_SHIM}.configuration:AIRFLOW_HOME", "airflow.configuration airflow.settings"),
    (f"{_SHIM}.configuration:get_airflow_home", "airflow.configuration"),
    (f"{_SHIM}.configuration:DAGS_FOLDER", "airflow.settings"),
    (f"{_SHIM}.configuration:TIMEZONE", "airflow.settings"),
    *(
        (f"rqflow.dag.macros:{name}", "airflow.macros airflow.sdk.macros")
        for name in ("ds_add", "ds_format", "datetime_diff_for_humans", "datetime", "timedelta", "dateutil", "time", "uuid", "random")
    ),
    *(
        (f"{_SHIM}.exceptions:{name}", "airflow.exceptions airflow.sdk.exceptions")
        for name in (
            "AirflowBadRequest", "AirflowConfigException", "AirflowFailException", "AirflowNotFoundException", "AirflowRescheduleException",
            "AirflowSensorTimeout", "AirflowTaskTimeout", "DagNotFound", "TaskNotFound",
        )
    ),
    (f"{_SHIM}.exceptions:AirflowException", f"airflow airflow.exceptions airflow.sdk.exceptions {_SDK}"),
    (f"{_SHIM}.exceptions:AirflowSkipException", f"airflow.exceptions airflow.sdk.exceptions {_SDK}"),
    (f"{_SHIM}.exceptions:AirflowFailException", _SDK),
)  # fmt: skip


def _table() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for target, modules in _ROWS:
        for module in modules.split():
            path, _, alias = module.partition(":")
            table.setdefault(path, {})[alias or target.rpartition(":")[2]] = target
    return table


#: {module of airflow: {name: target}}.
NAMES: dict[str, dict[str, str]] = _table()
#: All modules of airflow that have a name above, and the packages around them.
MODULES: frozenset[str] = frozenset(
    ".".join(parts[:depth]) for parts in (module.split(".") for module in NAMES) for depth in range(1, len(parts) + 1)
)
