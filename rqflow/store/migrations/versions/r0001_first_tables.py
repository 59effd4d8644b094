"""Create all tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, JsonText, LongText, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables with their indexes."""
    _create_dags()
    _create_runs()
    _create_tasks()
    _create_records()
    _create_settings()
    _create_people_and_workers()


def _create_dags() -> None:
    op.create_table(
        "dag",
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("version", Id(64)),
        sa.Column("file", LongText(), nullable=False),
        sa.Column("description", LongText(), nullable=False),
        sa.Column("owner", Id(), nullable=False),
        sa.Column("tags", JsonText(), nullable=False),
        sa.Column("schedule", LongText()),
        sa.Column("timezone", Id(64), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", name=op.f("pk_dag")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_dag_is_active_dag_id"), "dag", ["is_active", "dag_id"])
    op.create_index(op.f("ix_dag_owner_dag_id"), "dag", ["owner", "dag_id"])
    op.create_table(
        "dag_version",
        sa.Column("version", Id(64), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("json", LongText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_dag_version")),
        sa.UniqueConstraint("dag_id", "number", name=op.f("uq_dag_version_dag_id_number")),
        sa.ForeignKeyConstraint(["dag_id"], ["dag.dag_id"], name=op.f("fk_dag_version_dag_id"), ondelete="CASCADE"),
        **OPTIONS,
    )


def _create_runs() -> None:
    op.create_table(
        "dag_run",
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("run_type", Id(32)),
        sa.Column("version", Id(64)),
        sa.Column("logical_date", UtcDateTime()),
        sa.Column("tick", UtcDateTime()),
        sa.Column("data_interval_start", UtcDateTime()),
        sa.Column("data_interval_end", UtcDateTime()),
        sa.Column("conf", JsonText()),
        sa.Column("params", JsonText()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("note", LongText(), nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_dag_run")),
        sa.UniqueConstraint("dag_id", "run_id", name=op.f("uq_dag_run_dag_id_run_id")),
        sa.UniqueConstraint("dag_id", "tick", name=op.f("uq_dag_run_dag_id_tick")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_dag_run_created_at"), "dag_run", ["created_at"])
    op.create_index(op.f("ix_dag_run_dag_id_created_at"), "dag_run", ["dag_id", "created_at"])
    op.create_index(op.f("ix_dag_run_dag_id_logical_date"), "dag_run", ["dag_id", "logical_date"])
    op.create_index(op.f("ix_dag_run_dag_id_state_created_at"), "dag_run", ["dag_id", "state", "created_at"])
    op.create_index(op.f("ix_dag_run_run_id"), "dag_run", ["run_id"])
    op.create_index(op.f("ix_dag_run_state_created_at"), "dag_run", ["state", "created_at"])


def _create_tasks() -> None:
    op.create_table(
        "task_instance",
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("task_index", sa.Integer(), nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("max_tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("queue", Id(), nullable=False),
        sa.Column("pool", Id(), nullable=False),
        sa.Column("worker", Id(), nullable=False),
        sa.Column("execution_id", Id(), nullable=False),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", "task_id", name=op.f("pk_task_instance")),
        sqlite_with_rowid=False, **OPTIONS,
    )
    op.create_index(op.f("ix_task_instance_state_updated_at"), "task_instance", ["state", "updated_at"])
    op.create_table(
        "task_try",
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("execution_id", Id(), nullable=False),
        sa.Column("queue", Id(), nullable=False),
        sa.Column("worker", Id(), nullable=False),
        sa.Column("host", Id(), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.Integer()),
        sa.Column("cpu_seconds", sa.Double()),
        sa.Column("max_rss_bytes", sa.BigInteger()),
        sa.Column("log_bytes", sa.BigInteger()),
        sa.Column("facts", JsonText()),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("late", JsonText()),
        sa.Column("late_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("run_key", "task_id", "try_number", name=op.f("pk_task_try")),
        sqlite_with_rowid=False, **OPTIONS,
    )
    op.create_index(op.f("ix_task_try_host_started_at"), "task_try", ["host", "started_at"])
    op.create_index(op.f("ix_task_try_started_at"), "task_try", ["started_at"])


def _create_records() -> None:
    op.create_table(
        "xcom",
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("key", Id(), nullable=False),
        sa.Column("value", LongText()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", "task_id", "key", name=op.f("pk_xcom")),
        **OPTIONS,
    )
    op.create_table(
        "event_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", Id(16), nullable=False),
        sa.Column("kind", Id(32), nullable=False),
        sa.Column("event", Id(), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("try_number", sa.Integer()),
        sa.Column("who", Id(), nullable=False),
        sa.Column("detail", LongText(), nullable=False),
        sa.PrimaryKeyConstraint("seq", "source", name=op.f("pk_event_log")),
        sqlite_with_rowid=False, **OPTIONS,
    )
    op.create_index(op.f("ix_event_log_dag_id_seq"), "event_log", ["dag_id", "seq"])
    op.create_index(op.f("ix_event_log_run_key_seq"), "event_log", ["run_key", "seq"])
    op.create_table(
        "sla_miss",
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("is_notified", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", "task_id", name=op.f("pk_sla_miss")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_sla_miss_dag_id_seen_at"), "sla_miss", ["dag_id", "seen_at"])


def _create_settings() -> None:
    op.create_table(
        "pool",
        sa.Column("name", Id(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("description", LongText(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pool")),
        **OPTIONS,
    )
    op.create_table(
        "variable",
        sa.Column("key", Id(), nullable=False),
        sa.Column("value", LongText(), nullable=False),
        sa.Column("secret_key", Id(32)),
        sa.Column("description", LongText(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_variable")),
        **OPTIONS,
    )
    op.create_table(
        "connection",
        sa.Column("conn_id", Id(), nullable=False),
        sa.Column("conn_type", Id(), nullable=False),
        sa.Column("host", LongText(), nullable=False),
        sa.Column("schema", LongText(), nullable=False),
        sa.Column("login", LongText(), nullable=False),
        sa.Column("password", LongText(), nullable=False),
        sa.Column("port", sa.Integer()),
        sa.Column("extra", LongText(), nullable=False),
        sa.Column("secret_key", Id(32)),
        sa.Column("description", LongText(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("conn_id", name=op.f("pk_connection")),
        **OPTIONS,
    )


def _create_people_and_workers() -> None:
    op.create_table(
        "user",
        sa.Column("username", Id(), nullable=False),
        sa.Column("password_hash", LongText(), nullable=False),
        sa.Column("role", Id(32), nullable=False),
        sa.Column("email", LongText(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_user")),
        **OPTIONS,
    )
    op.create_table(
        "worker",
        sa.Column("name", Id(), nullable=False),
        sa.Column("host", Id(), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("queues", JsonText(), nullable=False),
        sa.Column("labels", JsonText(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("rqflow_version", Id(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_worker_host_seen_at"), "worker", ["host", "seen_at"])
    op.create_index(op.f("ix_worker_seen_at"), "worker", ["seen_at"])
