"""The recorder of a worker: with the URL of a database server a worker writes its results into the history itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from rqflow.deploy.live import Live, another_broker

#: Seconds that an ending worker gives its recorder to finish what it has begun; the rest stays in the stream for another one.
_PATIENCE = 5.0


@contextmanager
def recording(live: Live) -> Iterator[None]:
    """Record during the block, in a thread; does nothing on SQLite, where only the leading hub writes. Raises ConfigError for a bad URL."""
    if live.settings.database.url.startswith("sqlite"):
        yield
        return
    # Here, because SQLAlchemy takes half of a worker's memory and most workers have no database.
    from rqflow.recorder.recorder import open_recorder

    connection = another_broker(live, client_name="rqflow-recorder").connection
    recorder = open_recorder(connection, live.settings.database.url, f"worker-{uuid4().hex[:12]}")
    stop = threading.Event()
    thread = threading.Thread(target=recorder.run, args=(stop,), name="recorder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_PATIENCE)
        recorder.engine.dispose()
        connection.close()
