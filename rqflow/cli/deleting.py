"""What `dag delete` and `run delete` share: asking, waiting until all is gone, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from rqflow import clock
from rqflow.actions.delete import Remover
from rqflow.api.dags import OneDeletion, deletion
from rqflow.cli import output
from rqflow.cli.app import App
from rqflow.cli.hub import Ask
from rqflow.cli.output import Column
from rqflow.deploy import background
from rqflow.deploy.services import Services, open_services

COLUMNS = [Column("dag_id", "DAG"), Column("run_id", "RUN"), Column("is_gone", "GONE")]
#: Fields of what is printed.
FIELDS = ("dag_id", "run_id", "is_gone")
#: Seconds between two looks, and between two lines about what is waited for.
EVERY, SAY_EVERY = 0.1, 5.0
#: Seconds between two looks at a hub elsewhere.
AWAY_EVERY = 1.0


def names_of(run_ids: Sequence[str]) -> str:
    """Return some run ids, for people."""
    return ", ".join(run_ids[:3]) + (" …" if len(run_ids) > 3 else "")


def not_ended(run_ids: Sequence[str]) -> str:
    """Return what becomes of runs that have not ended, for people."""
    return f"{names_of(run_ids)} {'have not ended, and are' if len(run_ids) > 1 else 'has not ended, and is'} cancelled"


def carry_through(app: App, ask: Ask, names: Sequence[tuple[str, str]]) -> list[bool]:
    """Wait until these ((kind, name) of tombstones) are gone; return which are. Ctrl-C ends the waiting alone.

    On the embedded default it is done here, unless a hub does it, elsewhere by the leading scheduler: where none is, that is said.
    """
    with nullcontext(None) if app.server else open_services(app.settings) as services:
        step = _own_step(app, services) if services is not None else None
        began = said = clock.monotonic()
        # A hub elsewhere may just be starting its scheduler.
        patience = SAY_EVERY if app.server else 0.0
        try:
            while True:
                if step is not None:
                    step()
                found = [ask(deletion, OneDeletion(kind=kind, name=name)) for kind, name in names]
                gone = [one.is_gone for one in found]
                if all(gone):
                    return gone
                if step is None and not all(one.is_carried_out for one in found) and clock.monotonic() - began >= patience:
                    output.problem("warning: no scheduler is running here; the removal is carried through when one does: rqflow scheduler")
                    return gone
                if clock.monotonic() - said > SAY_EVERY:
                    said = clock.monotonic()
                    output.note("waiting until what runs has ended …")
                clock.sleep(AWAY_EVERY if app.server else EVERY)
        except KeyboardInterrupt:
            output.note("\nNo longer waiting; the removal goes on, and nothing of it starts any more.")
            raise


def _own_step(app: App, services: Services) -> Callable[[], object] | None:
    """Return what carries the removal on here; None: somebody else does."""
    if not services.is_embedded:
        return None
    if background.is_alive(services.state, background.HUB):
        return lambda: None
    if services.broker.live_runs():
        # What runs is ended by a worker, and what it tells is recorded by a hub.
        background.ensure(services, app.file)
    return Remover(services.broker, services.engine, services.settings).step
