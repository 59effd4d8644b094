"""Beginning anew: a home without runs, history and logs, as after `init`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from rqflow.broker import protocol, wiping
from rqflow.deploy import background, services
from rqflow.deploy.live import Live, open_live
from rqflow.deploy.statedir import this_machine
from rqflow.exceptions import Conflict, StoreError
from rqflow.recorder import retention
from rqflow.settings import Settings
from rqflow.store import dags, schema
from rqflow.store.engine import Engine, reading

#: What a message names at most.
_NAMES = 5
#: Files in a worker's folder with ends that nobody was told of, which a new history must not hear.
_SPOOLS = ("spool",)


def reset(settings: Settings, *, by: str) -> None:
    """Remove all that Redis, the database and the archive have of this home; broken off, it is to be done again.

    Raises Conflict, naming what runs, when a worker, a scheduler or a task does; BrokerError or StoreError when one does not answer.
    """
    with open_live(settings, client_name="rqflow-reset") as live, services.any_database(settings) as engine:
        if found := living(live):
            more = f" and {len(found) - _NAMES} more" if len(found) > _NAMES else ""
            raise Conflict(f"nothing is reset while something runs: {'; '.join(found[:_NAMES])}{more}",
                           hint="Stop workers and schedulers first (those that `submit` started end by themselves when idle), and cancel what runs.")
        wiping.wipe(live.broker, dag_ids(engine), by)
        schema.reset(engine)
        retention.remove_all(Path(live.settings.logs.folder))
        for name in _SPOOLS:
            with suppress(FileNotFoundError, NotADirectoryError):
                (Path(live.settings.worker.work_dir) / name).unlink()


def living(live: Live) -> list[str]:
    """Return the workers, schedulers and tasks that run, for people; of this machine those whose process is there."""
    host = this_machine().host
    ours = [one for one in protocol.processes(live.connection) if one.host != host or psutil.pid_exists(one.pid)]
    names = {one.name for one in ours}
    stock = [f"worker {one.name} on {one.host} (pid {one.pid})" for one in background.live_workers(live) if one.name not in names]
    return [*map(str, ours), *stock, *(f"task {one}" for one in wiping.running(live.broker))]


def dag_ids(engine: Engine) -> list[str]:
    """Return the DAGs that may have an alarm; none where the tables are of another release, or are not there."""
    try:
        schema.check(engine)
    except (Conflict, StoreError):
        return []
    with reading(engine) as connection:
        return [record.dag_id for record in dags.search(connection, dags.DagFilter(fileless=True))]
