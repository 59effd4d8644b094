"""Many recorders at once on a server (reliability 80): what deadlocks is repeated, everything is recorded once, no task fails for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import redis
from sqlalchemy.exc import SQLAlchemyError

from rqflow.broker.events import EventStream
from rqflow.exceptions import RqflowError
from rqflow.recorder.recorder import Recorder
from rqflow.states import TaskState
from rqflow.store import events as event_log
from rqflow.store import pools, tasks
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction, transaction
from tests.integration.recorder.events import a_task_event, an_end
from tests.integration.recorder.test_recorder import KEY, recorded, running, tell
from tests.waiting import until

#: A twentieth of 200 workers, each of which records.
RECORDERS, TASKS = 10, 400


def deadlocks(engine: Engine) -> int:
    """How many deadlocks the server has resolved so far by refusing one of the two."""
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").one()[1])


@contextmanager
def others(engine: Engine) -> Iterator[None]:
    """Let two threads lock the same rows in opposite orders again and again, as pages and commands might."""
    stop = threading.Event()
    failed: list[Exception] = []

    def crossing(order: str) -> None:
        def change(connection: Connection) -> None:
            for name in order:
                pools.put(connection, name, next(numbers))

        try:
            while not stop.is_set():
                run_in_transaction(engine, change)
        except (RqflowError, SQLAlchemyError) as error:
            failed.append(error)

    numbers = count()
    threads = [threading.Thread(target=crossing, args=(order,)) for order in ("ab", "ba")]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_r80_ten_recorders_beside_transactions_that_deadlock_record_everything_once(
    db: redis.Redis, mariadb_url: str, emptied: Callable[[str], Engine],
) -> None:
    """Reliability 80, on MariaDB, with real deadlocks that the server counts."""
    engine = emptied(mariadb_url)
    with transaction(engine) as connection:
        for name in "ab":
            pools.put(connection, name, 0)
    before = deadlocks(engine)
    with others(engine), running(*(Recorder(EventStream(db), engine, f"r{number}") for number in range(RECORDERS))):
        for number in range(TASKS):
            tell(db, a_task_event("queued", 0, task=f"t{number}"), a_task_event("running", 1, task=f"t{number}"))
        # Ends come in the other order, so that recorders meet on the rows of a task.
        for number in reversed(range(TASKS)):
            tell(db, an_end("success", 2, task=f"t{number}"))
        until(lambda: EventStream(db).backlog() == 0, what="everything to be recorded")
        until(lambda: deadlocks(engine) > before, what="a deadlock")
    assert recorded(engine) == {TaskState.SUCCESS: TASKS}
    with reading(engine) as connection:
        assert len(event_log.search(connection)) == 3 * TASKS
        assert len(tasks.tries(connection, KEY)) == TASKS
    engine.dispose()
