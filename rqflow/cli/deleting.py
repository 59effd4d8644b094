"""What `dag delete` and `run delete` share: asking, waiting until all is gone, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from rqflow import clock
from rqflow.actions.delete import Remover
from rqflow.broker.lock import has_leader
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.output import Column
from rqflow.deploy import background
from rqflow.deploy.services import Services
from rqflow.store import deletions
from rqflow.store.deletions import Stage
from rqflow.store.engine import reading
from rqflow.store.runs import RunRecord

COLUMNS = [Column("dag_id", "DAG"), Column("run_id", "RUN"), Column("is_gone", "GONE")]
#: Fields of what is printed.
FIELDS = ("dag_id", "run_id", "is_gone")
#: Seconds between two looks, and between two lines about what is waited for.
EVERY, SAY_EVERY = 0.1, 5.0


def names_of(runs: Sequence[RunRecord]) -> str:
    """Return some run ids, for people."""
    return ", ".join(run.run_id for run in runs[:3]) + (" …" if len(runs) > 3 else "")


def not_ended(runs: Sequence[RunRecord]) -> str:
    """Return what becomes of runs that have not ended, for people."""
    return f"{names_of(runs)} {'have not ended, and are' if len(runs) > 1 else 'has not ended, and is'} cancelled"


def carry_through(app: App, services: Services, names: Sequence[tuple[str, str]]) -> list[bool]:
    """Wait until these ((kind, name) of tombstones) are gone; return which are. Ctrl-C ends the waiting alone.

    On the embedded default it is done here, unless a hub does it, elsewhere by the leading scheduler: where none is, that is said.
    """
    own = Remover(services.broker, services.engine, services.settings)
    is_here = services.is_embedded and not background.is_alive(services.state, background.HUB)
    if is_here and services.broker.live_runs():
        # What runs is ended by a worker, and what it tells is recorded by a hub.
        background.ensure(services, app.file)
    said = clock.monotonic()
    try:
        while True:
            if is_here:
                own.step()
            gone = _gone(services, names)
            if all(gone):
                return gone
            if not services.is_embedded and not has_leader(services.connection):
                output.problem("warning: no scheduler is running here; the removal is carried through when one does: rqflow scheduler")
                return gone
            if clock.monotonic() - said > SAY_EVERY:
                said = clock.monotonic()
                output.note("waiting until what runs has ended …")
            clock.sleep(EVERY)
    except KeyboardInterrupt:
        output.note("\nNo longer waiting; the removal goes on, and nothing of it starts any more.")
        raise


def _gone(services: Services, names: Sequence[tuple[str, str]]) -> list[bool]:
    with reading(services.engine) as connection:
        return [deletions.stage(connection, kind, name) is not Stage.GOING for kind, name in names]
