"""All tables of the history. docs/reference/database.md is made from this page: `doc` says what a column holds, `info` who writes.

Conventions: a run is named by its `run_key` (dag.run.run_key), because dag_id, run_id and task_id together are longer than a key of
MariaDB may be (3072 bytes); tables that the recorder writes have no foreign keys, because those take locks on the run's row, of
which two recorders would make deadlocks; the state columns hold the values of states.py, and only this room and the recorder write
them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from rqflow.store.conventions import KEY, LINE, OPTIONS, SHA, STATE, about
from rqflow.store.conventions import metadata as metadata
from rqflow.store.machine_tables import epoch as epoch  # tables of machines have a page of their own
from rqflow.store.machine_tables import joined_worker as joined_worker
from rqflow.store.machine_tables import worker as worker
from rqflow.store.people_tables import api_token as api_token  # and so have those of people
from rqflow.store.people_tables import dag_share as dag_share
from rqflow.store.people_tables import owner_map as owner_map
from rqflow.store.people_tables import session as session
from rqflow.store.people_tables import setup_link as setup_link
from rqflow.store.people_tables import user as user
from rqflow.store.types import Id, JsonText, LongText, UtcDateTime

dag = Table(
    "dag", metadata,
    Column("dag_id", Id(), primary_key=True, doc="Name of the DAG."),
    Column("version", Id(SHA), doc="sha256 of the version that new runs take; NULL until one is saved."),
    Column("unsigned", Id(SHA), doc="sha256 of a newer version, which new runs take once somebody has signed it; NULL: there is none."),
    Column("file", LongText(), nullable=False, doc="The DAG file's path below the folder that was submitted."),
    Column("description", LongText(), nullable=False, doc="One line for people."),
    Column("owner", Id(), nullable=False, doc="Owner as the author wrote it."),
    Column("tags", JsonText(), nullable=False, doc="List of tags."),
    Column("schedule", LongText(), doc="The schedule as text (cron, @daily …); NULL: only started by hand."),
    Column("timezone", Id(STATE * 2), nullable=False, doc="Time zone of the schedule."),
    Column("is_active", Boolean(), nullable=False, doc="False once its file is gone: no new runs."),
    Column("is_paused", Boolean(), nullable=False, doc="True: the scheduler starts no run."),
    Column("series", LongText(), doc="Schedule, zone and start that the next three belong to; NULL: no run comes by itself."),
    Column("series_start", UtcDateTime(), doc="Start of the series of scheduled dates."),
    Column("settled_upto", UtcDateTime(), doc="Logical date up to which scheduled runs were made, or left out; NULL: none was yet."),
    Column("next_run_at", UtcDateTime(), doc="When the next scheduled run is due; NULL: none is."),
    Column("pause_reason", LongText(), doc="Why it is paused, for people; NULL: nobody said."),
    Column("file_key", Id(SHA), doc="The file of the folder of DAGs that it comes from; NULL: it was submitted from elsewhere."),
    Column("inputs", Id(SHA), doc="sha256 of all that loading its version depended on; NULL: not known."),
    Column("submitted_by", Id(), doc="Whose it is: who submitted it first, or got it since; NULL: the folder of DAGs had it, or an older release."),
    Column("created_at", UtcDateTime(), nullable=False, doc="First submit."),
    Column("updated_at", UtcDateTime(), nullable=False, doc="Last submit, pause or removal."),
    Index(None, "is_active", "dag_id"), Index(None, "owner", "dag_id"), Index(None, "next_run_at"),
    Index(None, "submitted_by"),
    info=about("One row a DAG.", "submit"), **OPTIONS,
)

dag_version = Table(
    "dag_version", metadata,
    Column("version", Id(SHA), primary_key=True, doc="sha256 of the canonical JSON."),
    Column("dag_id", Id(), ForeignKey(dag.c.dag_id, ondelete="CASCADE"), nullable=False, doc="Its DAG."),
    Column("number", Integer(), nullable=False, doc="1, 2, 3 … in the order of their first submit."),
    Column("json", LongText(), nullable=False, doc="The canonical JSON: tasks, edges, sources; from 1 MB on `zlib:` and it compressed, in base64."),
    Column("created_at", UtcDateTime(), nullable=False, doc="First submit of this version."),
    Column("tells_success", Boolean(), doc="True: one of its tasks has email_on_success; NULL, as below: of an older release."),
    Column("has_sla", Boolean(), doc="True: one of its tasks has an sla."),
    Column("callbacks", Id(), doc="Kinds of callbacks that it and its tasks have, separated by spaces."),
    UniqueConstraint("dag_id", "number"), Index(None, "has_sla"),
    info=about("Every version of a DAG that was ever submitted.", "submit"), **OPTIONS,
)

dag_signature = Table(
    "dag_signature", metadata,
    Column("version", Id(SHA), ForeignKey(dag_version.c.version, ondelete="CASCADE"), primary_key=True, doc="What was signed."),
    Column("digest", Id(SHA), primary_key=True, doc="sha256 of the signature."),
    Column("signature", LongText(), nullable=False, doc="SSHSIG of the canonical JSON; the key in it tells who has signed."),
    Column("signed_at", UtcDateTime(), nullable=False, doc="When it was brought."),
    info=about("Signatures of versions.", "submit, run exec, dag sync; the leading scheduler"), **OPTIONS,
)

dag_file = Table(
    "dag_file", metadata,
    Column("file_key", Id(SHA), primary_key=True, doc="sha256 of the path."),
    Column("path", LongText(), nullable=False, doc="Its path below the folder of DAGs."),
    Column("is_present", Boolean(), nullable=False, doc="False: it was removed, and its DAGs start no runs by schedule."),
    Column("dag_ids", JsonText(), nullable=False, doc="List of the DAGs that its last good version made."),
    Column("errors", JsonText(), nullable=False, doc="List of `file:line: message` for which it was not taken over when it was loaded last."),
    Column("inputs", JsonText(), nullable=False, doc="What loading it depended on: files and Variables with sha256."),
    Column("loaded_by", Id(), nullable=False, doc="Release of rqflow and default queue with which it was loaded."),
    Column("loaded_at", UtcDateTime(), nullable=False, doc="When it was executed last."),
    info=about("Files of the folder of DAGs, as they were loaded last.", "the leading scheduler; submit; dag sync"), **OPTIONS,
)

dag_run = Table(
    "dag_run", metadata,
    Column("run_key", Id(KEY), primary_key=True, doc="16 hex digits of sha256(dag_id, run_id)."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("run_id", Id(), nullable=False, doc="Name of the run, unique within the DAG."),
    Column("run_type", Id(STATE), doc="manual, scheduled or backfill. NULL, like all that a trigger says, while only events told of this run."),
    Column("version", Id(SHA), doc="sha256 of the version it runs."),
    Column("logical_date", UtcDateTime(), doc="Start of the interval that it stands for."),
    Column("tick", UtcDateTime(), doc="logical_date of a run that a schedule or a backfill made, else NULL: makes these unique by date."),
    Column("data_interval_start", UtcDateTime(), doc="Start of what it covers."),
    Column("data_interval_end", UtcDateTime(), doc="End of what it covers, exclusive."),
    Column("conf", JsonText(), doc="What was given at the trigger."),
    Column("params", JsonText(), doc="DAG params with the values given at the trigger laid over them."),
    Column("priority", Integer(), nullable=False, doc="Added to the weight of each task."),
    Column("note", LongText(), nullable=False, doc="A person's remark."),
    Column("ignores_past", Boolean(), doc="True: its tasks wait for nothing of the run before it."),
    Column("options", JsonText(), doc="In what it differs from others of its version: task_regex, alone, pool; NULL: in nothing."),
    Column("backfill_id", Integer(), doc="The backfill that made it, or ran it again last; NULL: none did."),
    Column("rerun_after", BigInteger(), doc="A backfill runs it again: that is still to come while seq is not later than this. Else NULL."),
    Column("started_by", Id(), doc="Who started it, by hand or by a backfill; NULL: its schedule did, or an older release."),
    Column("state", Id(STATE), nullable=False, doc="queued, running, success, failed or cancelled."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the event that gave the state, microseconds; 0: none yet."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When the run was made; 1970-01-01 while only events told of it."),
    Column("started_at", UtcDateTime(), doc="When its first task could start."),
    Column("ended_at", UtcDateTime(), doc="When its last task ended."),
    UniqueConstraint("dag_id", "run_id"), UniqueConstraint("dag_id", "tick"),
    Index(None, "dag_id", "logical_date"), Index(None, "dag_id", "created_at"), Index(None, "dag_id", "state", "created_at"),
    Index(None, "state", "created_at"), Index(None, "created_at"), Index(None, "run_id"), Index(None, "backfill_id", "state"),
    info=about("One row a DAG run.", "the start of a run; the recorder"), **OPTIONS,
)

backfill = Table(
    "backfill", metadata,
    Column("id", Integer(), primary_key=True, doc="From 1."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("version", Id(SHA), nullable=False, doc="sha256 of the version that its runs take."),
    Column("series_start", UtcDateTime(), nullable=False, doc="Start of the series of dates."),
    Column("from_date", UtcDateTime(), nullable=False, doc="First logical date."),
    Column("to_date", UtcDateTime(), nullable=False, doc="Last logical date."),
    Column("newest_first", Boolean(), nullable=False, doc="True: it begins with the last date."),
    Column("rerun", Id(STATE), nullable=False, doc="Which dates that have a run already are run again: missing (none), failed or all."),
    Column("max_active", Integer(), nullable=False, doc="Runs of it that are active at the same time."),
    Column("marks", Boolean(), nullable=False, doc="True: its dates are recorded as a success, and nothing is run."),
    Column("ignores_first_past", Boolean(), nullable=False, doc="True: the tasks of its first date do not wait for the date before."),
    Column("options", JsonText(), nullable=False, doc="Options of each of its runs, as dag_run.options."),
    Column("conf", JsonText(), nullable=False, doc="dag_run.conf of each of its runs."),
    Column("state", Id(STATE), nullable=False, doc="queued, running, paused, cancelling, success, failed or cancelled."),
    Column("reason", String(LINE), nullable=False, doc="Why it is so, for people."),
    Column("upto", UtcDateTime(), doc="Logical date up to which, in its order, all is settled; NULL: none is yet."),
    Column("total", Integer(), nullable=False, doc="How many dates it has."),
    Column("is_counted", Boolean(), nullable=False, doc="False: total is an estimate."),
    Column("made", Integer(), nullable=False, doc="Dates of which a run was made, run again, or marked."),
    Column("skipped", Integer(), nullable=False, doc="Dates that were left as they are, because they have a run already."),
    Column("succeeded", Integer(), nullable=False, doc="Runs that ended well, once it has ended."),
    Column("failed", Integer(), nullable=False, doc="Runs that ended in another way, once it has ended."),
    Column("who", Id(), nullable=False, doc="Who started it."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When it was started."),
    Column("started_at", UtcDateTime(), doc="When the scheduler took it up."),
    Column("ended_at", UtcDateTime(), doc="When it ended."),
    Index(None, "dag_id", "created_at"), Index(None, "state"),
    info=about("One row a backfill.", "backfill start, pause, resume and cancel; the leading scheduler"), **OPTIONS,
)

task_instance = Table(
    "task_instance", metadata,
    Column("run_key", Id(KEY), primary_key=True, doc="Its run."),
    Column("task_id", Id(), primary_key=True, doc="Its task."),
    Column("task_index", Integer(), nullable=False, doc="Place of the task in the version's topological order."),
    Column("state", Id(STATE), nullable=False, doc="State by the newest event. A task without a row is still pending."),
    Column("try_number", Integer(), nullable=False, doc="Current or last try, from 1; 0: none yet."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the newest event, microseconds."),
    Column("max_tries", Integer(), nullable=False, doc="Tries that it may have."),
    Column("reason", String(LINE), nullable=False, doc="Why it is so, for people."),
    Column("queue", Id(), nullable=False, doc="Queue of the task."),
    Column("pool", Id(), nullable=False, doc="Pool of the task."),
    Column("worker", Id(), nullable=False, doc="Worker of the current or last try."),
    Column("execution_id", Id(), nullable=False, doc="Execution of the current or last try."),
    Column("started_at", UtcDateTime(), doc="Start of the current or last try."),
    Column("ended_at", UtcDateTime(), doc="End of the last try."),
    Column("updated_at", UtcDateTime(), nullable=False, doc="Time of the newest event."),
    Column("version", Id(SHA), doc="Version that it follows; NULL: its run's."),
    Index(None, "state", "updated_at"),
    info=about("One row a task of a run, once something happened to it.", "the recorder"), sqlite_with_rowid=False, **OPTIONS,
)

task_try = Table(
    "task_try", metadata,
    Column("run_key", Id(KEY), primary_key=True, doc="Its run."),
    Column("task_id", Id(), primary_key=True, doc="Its task."),
    Column("try_number", Integer(), primary_key=True, autoincrement=False, doc="From 1."),
    Column("state", Id(STATE), nullable=False, doc="running, or how it ended."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the event that gave the state, microseconds."),
    Column("reason", String(LINE), nullable=False, doc="Why it ended so, for people."),
    Column("execution_id", Id(), nullable=False, doc="Name of the execution."),
    Column("queue", Id(), nullable=False, doc="Queue that it came from."),
    Column("worker", Id(), nullable=False, doc="Worker that had it."),
    Column("host", Id(), nullable=False, doc="Machine that it ran on."),
    Column("pid", Integer(), doc="Process id there."),
    Column("exit_code", Integer(), doc="Exit code of the process; NULL when a signal ended it or none was started."),
    Column("signal", Integer(), doc="Signal that ended the process."),
    Column("cpu_seconds", Double(), doc="CPU time of the process and its children, user and system."),
    Column("max_rss_bytes", BigInteger(), doc="Most memory that one of its processes had."),
    Column("log_bytes", BigInteger(), doc="Size of its log."),
    Column("facts", JsonText(), doc="Whatever else the worker told, as a JSON object."),
    Column("started_at", UtcDateTime(), doc="When the worker took it."),
    Column("ended_at", UtcDateTime(), doc="When it ended."),
    Column("version", Id(SHA), doc="Version that it was of; NULL: its run's."),
    Column("late", JsonText(), doc="An end that came after the task instance had moved on, as a JSON object: evidence, changes nothing."),
    Column("late_seq", BigInteger(), doc="Order of that late end, microseconds."),
    Index(None, "host", "started_at"), Index(None, "started_at"),
    info=about("One row a try that a worker began.", "the recorder"), sqlite_with_rowid=False, **OPTIONS,
)

xcom = Table(
    "xcom", metadata,
    Column("run_key", Id(KEY), primary_key=True, doc="Its run."),
    Column("task_id", Id(), primary_key=True, doc="Task that pushed it."),
    Column("key", Id(), primary_key=True, doc="Name of the value."),
    Column("value", LongText(), doc="JSON text; NULL: it was deleted."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the event that brought it, microseconds."),
    Column("updated_at", UtcDateTime(), nullable=False, doc="When it was pushed."),
    info=about("Small values passed between tasks.", "the recorder"), **OPTIONS,
)

event_log = Table(
    "event_log", metadata,
    Column("seq", BigInteger(), primary_key=True, autoincrement=False, doc="When it happened, microseconds since the epoch."),
    Column("source", Id(KEY), primary_key=True, doc="What it happened to, hashed: an event that comes twice is kept once."),
    Column("kind", Id(STATE), nullable=False,
           doc="ti, run or late (state changes), note (changes none), audit (what a person did), callback (its end), unreadable (kept as it came)."),
    Column("event", Id(), nullable=False, doc="The new state, or what was done: paused, cleared …"),
    Column("dag_id", Id(), nullable=False, doc="DAG, or empty."),
    Column("run_key", Id(KEY), nullable=False, doc="Run, or empty."),
    Column("task_id", Id(), nullable=False, doc="Task, or empty."),
    Column("try_number", Integer(), doc="Try."),
    Column("who", Id(), nullable=False, doc="Person or worker, or empty."),
    Column("detail", LongText(), nullable=False, doc="Reason, or what was given, for people."),
    Index(None, "dag_id", "seq"), Index(None, "run_key", "seq"),
    info=about("What happened, one row a state change or deed.", "the recorder; who starts or cancels a run"), sqlite_with_rowid=False, **OPTIONS,
)

sla_miss = Table(
    "sla_miss", metadata,
    Column("run_key", Id(KEY), primary_key=True, doc="Run that was late."),
    Column("task_id", Id(), primary_key=True, doc="Task that was late."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("due_at", UtcDateTime(), nullable=False, doc="When it should have ended."),
    Column("seen_at", UtcDateTime(), nullable=False, doc="When that was noticed."),
    Column("is_notified", Boolean(), nullable=False, doc="True: people were told."),
    Index(None, "dag_id", "seen_at"),
    info=about("Tasks that did not end in their sla.", "the leading scheduler"), **OPTIONS,
)

callback = Table(
    "callback", metadata,
    Column("callback_id", Id(KEY), primary_key=True, doc="What it is about, hashed: an event that comes twice is called once."),
    Column("kind", Id(STATE), nullable=False, doc="failure, retry, skipped or success of a task, run_failure or run_success, sla_miss."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("run_key", Id(KEY), nullable=False, doc="Its run."),
    Column("task_id", Id(), nullable=False, doc="Its task; empty: it is about the run."),
    Column("try_number", Integer(), nullable=False, doc="Try, or 0."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the event that it is about, microseconds."),
    Column("version", Id(SHA), doc="Version that the task follows; NULL: its run's."),
    Column("detail", LongText(), nullable=False, doc="Why the task or run ended so; of missed slas {task_id: when it was due} as JSON."),
    Column("state", Id(STATE), nullable=False, doc="waiting, sent (a worker has it), success or failed."),
    Column("worker", Id(), nullable=False, doc="host.work_dir of the worker that has it, or had it last; empty: none has."),
    Column("sends", Integer(), nullable=False, doc="How often it was given to a worker: more than once when one was gone before it told the end."),
    Column("reason", String(LINE), nullable=False, doc="What it waits for, or why it failed, for people."),
    Column("output", LongText(), nullable=False, doc="The end of what the functions printed."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When the task or run ended."),
    Column("started_at", UtcDateTime(), doc="When the functions were called."),
    Column("ended_at", UtcDateTime(), doc="When that was over."),
    Index(None, "state", "seq"), Index(None, "run_key", "task_id"),
    info=about("Calls of authors' functions, written with the event that they are about.", "the recorder; the leading scheduler"), **OPTIONS,
)

notice = Table(
    "notice", metadata,
    Column("notice_key", Id(KEY), primary_key=True, doc="What it is about, hashed: an event that comes twice is told once."),
    Column("kind", Id(STATE), nullable=False, doc="failure, retry, success, sla, run_failed or paused."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("run_key", Id(KEY), nullable=False, doc="Its run."),
    Column("task_id", Id(), nullable=False, doc="Its task, or empty."),
    Column("try_number", Integer(), nullable=False, doc="Try, or 0."),
    Column("seq", BigInteger(), nullable=False, doc="Order of the event that it is about, microseconds."),
    Column("detail", String(LINE), nullable=False, doc="Why, for people."),
    Column("is_sorted", Boolean(), nullable=False, doc="True: who is told of it is in notice_delivery."),
    Index(None, "is_sorted", "seq"), Index(None, "run_key", "task_id"),
    info=about("What people may want to be told, written with the event that it is about; goes when it turns out that nobody does.",
                "the recorder; the leading scheduler"), **OPTIONS,
)

notice_delivery = Table(
    "notice_delivery", metadata,
    Column("notice_key", Id(KEY), primary_key=True, doc="What is told."),
    Column("recipient", Id(), primary_key=True, doc="Who is told: mailto:ADDRESS, or webhook: or chat: and a name that holds no secret."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("run_key", Id(KEY), nullable=False, doc="Its run."),
    Column("kind", Id(STATE), nullable=False, doc="failure, retry, success, recovery, sla or paused."),
    Column("part", Integer(), nullable=False, doc="What has another number goes into another message: the try of a retry."),
    Column("noted_at", UtcDateTime(), nullable=False, doc="When it was sorted."),
    Column("wait_until", UtcDateTime(), nullable=False, doc="When it may be put into a message."),
    Column("is_held", Boolean(), nullable=False, doc="True: it waits for a digest, because its recipient had enough messages."),
    Column("message_id", Id(KEY), nullable=False, doc="The message that tells it; empty: none yet."),
    Index(None, "message_id", "wait_until"), Index(None, "run_key"),
    info=about("Who is told what, in which message.", "the leading scheduler"), **OPTIONS,
)

notice_message = Table(
    "notice_message", metadata,
    Column("message_id", Id(KEY), primary_key=True, doc="Its name; in mail, the beginning of its Message-ID."),
    Column("recipient", Id(), nullable=False, doc="Who gets it, as in notice_delivery."),
    Column("dag_id", Id(), nullable=False, doc="Its DAG."),
    Column("run_key", Id(KEY), nullable=False, doc="Its run; empty when it is about several."),
    Column("kind", Id(STATE), nullable=False, doc="failure, retry, success, recovery, sla or paused; digest when it is about several kinds."),
    Column("notices", Integer(), nullable=False, doc="How many notices are in it."),
    Column("is_digest", Boolean(), nullable=False, doc="True: it tells what was held."),
    Column("state", Id(STATE), nullable=False, doc="waiting, sending, sent, refused, given_up or not_sent."),
    Column("tries", Integer(), nullable=False, doc="How often it was tried."),
    Column("due_at", UtcDateTime(), nullable=False, doc="When it is tried next; of one that is being sent, when that counts as failed."),
    Column("error", LongText(), nullable=False, doc="What went wrong the last time, for people."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When it was put together."),
    Column("ended_at", UtcDateTime(), doc="When it was sent, refused or given up."),
    Index(None, "state", "due_at"), Index(None, "dag_id", "recipient", "created_at"), Index(None, "created_at"),
    info=about("The outbox: messages to people and programs.", "the leading scheduler; notice retry"), **OPTIONS,
)

pool = Table(
    "pool", metadata,
    Column("name", Id(), primary_key=True, doc="Name of the pool."),
    Column("slots", Integer(), nullable=False, doc="Slots that its running tasks share."),
    Column("description", LongText(), nullable=False, doc="For people."),
    info=about("Caps on tasks that run together.", "pool set and delete"), **OPTIONS,
)

variable = Table(
    "variable", metadata,
    Column("key", Id(), primary_key=True, doc="Name of the variable."),
    Column("value", LongText(), nullable=False, doc="Its value; encrypted when secret_key is set."),
    Column("secret_key", Id(STATE), doc="Name of the key that value is encrypted with; NULL: plain."),
    Column("is_secret", Boolean(), doc="True: it is not shown in lists, and blotted out in logs."),
    Column("description", LongText(), nullable=False, doc="For people."),
    Column("updated_at", UtcDateTime(), nullable=False, doc="Last change."),
    info=about("Values that templates read as var.value and var.json.", "var set, import and delete; the leading scheduler for a task"), **OPTIONS,
)

connection = Table(
    "connection", metadata,
    Column("conn_id", Id(), primary_key=True, doc="Name of the connection."),
    Column("conn_type", Id(), nullable=False, doc="What it is: mysql, ssh, http …"),
    Column("host", LongText(), nullable=False, doc="Host."),
    Column("schema", LongText(), nullable=False, doc="Schema or database."),
    Column("login", LongText(), nullable=False, doc="User name."),
    Column("password", LongText(), nullable=False, doc="Password; encrypted when secret_key is set."),
    Column("port", Integer(), doc="Port."),
    Column("extra", LongText(), nullable=False, doc="JSON text with more; encrypted when secret_key is set."),
    Column("secret_key", Id(STATE), doc="Name of the key that password and extra are encrypted with; NULL: plain."),
    Column("description", LongText(), nullable=False, doc="For people."),
    Column("updated_at", UtcDateTime(), nullable=False, doc="Last change."),
    info=about("Where other systems are, and how to log in there.", "conn set, import and delete"), **OPTIONS,
)

deletion = Table(
    "deletion", metadata,
    Column("kind", Id(STATE), primary_key=True, doc="dag or run."),
    Column("name", Id(), primary_key=True, doc="dag_id, or run_key of a run."),
    Column("dag_id", Id(), nullable=False, doc="The DAG, also of a run."),
    Column("run_id", Id(), nullable=False, doc="Name of the run; empty for a DAG."),
    Column("run_type", Id(STATE), doc="Type of the run, which tells where its logs are."),
    Column("logical_date", UtcDateTime(), doc="Logical date of the run, the same."),
    Column("keeps_logs", Boolean(), nullable=False, doc="True: its logs stay, or go with those of its DAG."),
    Column("state", Id(STATE), nullable=False, doc="going (its removal is under way), settling (once more later, for what comes late) or gone."),
    Column("who", Id(), nullable=False, doc="Person who deleted it."),
    Column("asked_at", UtcDateTime(), nullable=False, doc="When that was."),
    Column("changed_at", UtcDateTime(), nullable=False, doc="When it came to this state."),
    Index(None, "state", "asked_at"),
    info=about("What was deleted: nothing of it is started, recorded or taken up again. The row of a DAG goes when a person submits it anew.",
                "dag delete, run delete; the leading scheduler"), **OPTIONS,
)
