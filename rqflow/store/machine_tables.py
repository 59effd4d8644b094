"""Tables of machines: workers, those that joined from elsewhere, and the epochs of Redis."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, String, Table

from rqflow.store.conventions import LINE, OPTIONS, SHA, about, metadata
from rqflow.store.types import Id, JsonText, LongText, UtcDateTime

worker = Table(
    "worker", metadata,
    Column("name", Id(), primary_key=True, doc="host.work_dir: a worker keeps it over its restarts."),
    Column("host", Id(), nullable=False, doc="Its machine."),
    Column("pid", Integer(), doc="Process id there."),
    Column("queues", JsonText(), nullable=False, doc="List of queues that it serves."),
    Column("labels", JsonText(), nullable=False, doc="List of its labels."),
    Column("slots", Integer(), nullable=False, doc="Tasks that it runs at the same time."),
    Column("rqflow_version", Id(), nullable=False, doc="Its version of rqflow."),
    Column("verifies", Boolean(), doc="True: it runs only what was signed by somebody whom it trusts."),
    Column("started_at", UtcDateTime(), nullable=False, doc="Its start."),
    Column("seen_at", UtcDateTime(), nullable=False, doc="Last sign of life."),
    Column("ended_at", UtcDateTime(), doc="When it signed off; NULL: it has not."),
    Index(None, "host", "seen_at"), Index(None, "seen_at"),
    info=about("Workers, also those that are gone.", "the leading scheduler"), **OPTIONS,
)

epoch = Table(
    "epoch", metadata,
    Column("number", Integer(), primary_key=True, autoincrement=False, doc="From 1."),
    Column("run_id", Id(), nullable=False, doc="Id of the process of the Redis server."),
    Column("reason", String(LINE), nullable=False, doc="Why it began, for people."),
    Column("began_at", UtcDateTime(), nullable=False, doc="When it began."),
    info=about("Each time that the live state was put right from the history.", "the leading scheduler"), **OPTIONS,
)

joined_worker = Table(
    "joined_worker", metadata,
    Column("name", Id(), primary_key=True, doc="host.id of its worker, as in worker.name; of each of its work folders."),
    Column("public_key", Id(SHA), nullable=False, doc="Key (X25519) for which the secrets of its tasks are sealed."),
    Column("ssh_key", LongText(), nullable=False, doc="Key of its tunnel, as a line of authorized_keys has it; empty: it needs none."),
    Column("who", Id(), nullable=False, doc="Person who let it join."),
    Column("joined_at", UtcDateTime(), nullable=False, doc="When it joined, for the last time."),
    info=about("Workers of other machines that joined this hub, and have a key of their own in place of the hub's.", "worker admit and forget"),
    **OPTIONS,
)
