"""Remarks of people about runs."""

from __future__ import annotations

from rqflow.exceptions import UsageError
from rqflow.store import events, runs
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord

#: Characters that a remark may have.
MOST = 10_000


def write(engine: Engine, run: RunRecord, text: str, *, by: str) -> str:
    """Put a remark in the place of the one that a run has; return it as it was written. Raises UsageError for one that is too long."""
    # No database takes a NUL, or what is no text.
    text = text.encode(errors="replace").decode().replace("\0", "").strip()
    if len(text) > MOST:
        raise UsageError(f"a note may have {MOST} characters, this one has {len(text)}", hint="Put long texts into a file, and note where it is.")

    def note(connection: Connection) -> None:
        runs.set_note(connection, run.run_key, text)
        events.add(connection, "run_noted", who=by, dag_id=run.dag_id, run_key=run.run_key)

    run_in_transaction(engine, note)
    return text
