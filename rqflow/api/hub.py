"""A hub as one person meets it: the live state and the history, opened when they are needed, and what that person may see and change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

from rqflow.actions import query
from rqflow.actions.people import ownership
from rqflow.actions.people.ownership import Claims
from rqflow.broker import faults
from rqflow.broker.absent import Absent
from rqflow.broker.broker import Broker
from rqflow.exceptions import BrokerError, NotPermitted, RunNotFound
from rqflow.security.roles import Person
from rqflow.settings import Settings
from rqflow.store import dags, deletions, runs
from rqflow.store.dags import DagFilter, DagRecord
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunRecord
from rqflow.values import is_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a hub comes from: its settings, and what opens its two halves, each of which may be away."""

    settings: Settings
    engine: Callable[[], Engine]
    broker: Callable[[], AbstractContextManager[Broker]]
    #: Sees to it that somebody carries out what was set free, where nobody else does: on the embedded default.
    carry: Callable[[Broker], None] = lambda _: None
    #: Nothing is shown while Redis is away, but said: of a command, which can be called again.
    needs_live: bool = False


class Hub:
    """Of one request or one command; for one thread. Made by `meet`."""

    def __init__(self, source: Source, person: Person, stack: ExitStack) -> None:
        """Open nothing; what is opened later is closed with `stack`."""
        self.settings, self.person = source.settings, person
        self._source, self._stack = source, stack
        self._dags: dict[str, DagRecord | None] = {}

    @cached_property
    def engine(self) -> Engine:
        """The history. Raises StoreError or Conflict."""
        return self._source.engine()

    @cached_property
    def broker(self) -> Broker:
        """The live state, to be changed. Raises BrokerError while Redis is away."""
        return self._stack.enter_context(self._source.broker())

    @cached_property
    def live(self) -> Broker:
        """The live state, to be read: while Redis is away, one of which nothing is known (broker/absent.py)."""
        try:
            return self.broker
        except BrokerError as error:
            if self._source.needs_live:
                raise
            return Absent(error)

    @property
    def away(self) -> str:
        """Why the live state is not known; empty: it is."""
        return str(self.live.error) if isinstance(self.live, Absent) else ""

    def go_on(self) -> None:
        """See that somebody carries out what was set free."""
        self._source.carry(self.broker)

    def refusal(self) -> str:
        """Return why Redis takes no writes though it answers; empty when it does take them."""
        return faults.refusal(self.broker.connection)

    @cached_property
    def claims(self) -> Claims:
        """What makes DAGs the person's."""
        with reading(self.engine) as connection:
            return ownership.claims(connection, self.person)

    def sees(self, dag: DagRecord) -> bool:
        """Tell whether the person may see a DAG and its runs."""
        return not self.settings.webserver.filter_by_owner or self.claims.may_see(dag, filter_by_owner=True)

    def visible_dag_ids(self) -> frozenset[str] | None:
        """Return the ids of the DAGs that the person may see; None: all."""
        if self.person.is_admin or not self.settings.webserver.filter_by_owner:
            return None
        with reading(self.engine) as connection:
            return frozenset(one.dag_id for one in dags.search(connection, DagFilter(fileless=True)) if self.sees(one))

    def dag(self, dag_id: str, *, changes: bool = False) -> DagRecord:
        """Return a DAG that the person may see, or change. Raises DagNotFound, also for one that is not to be seen, and NotPermitted."""
        with reading(self.engine) as connection:
            found = dags.get(connection, dag_id) if is_text(dag_id) else None
        if found is None or not self.sees(found):
            visible = self.visible_dag_ids()
            with reading(self.engine) as connection:
                raise dags.missing(connection, dag_id, among=visible)
        if changes and not self.claims.may_change_dag(found):
            raise NotPermitted(f"{dag_id} is {_whose(found)}, and {self.person.name} may not change it",
                               hint=f"`rqflow dag share {dag_id} {self.person.name}` lets you, where an admin or its owner says so.")
        return found

    def run(self, text: str, *, changes: bool = False) -> RunRecord:
        """Return the run that a RUN argument, or a run key, names, as `dag` does. Raises RunNotFound, NotPermitted, UsageError for several."""
        if not is_text(text):
            raise RunNotFound("there is no such run")
        with reading(self.engine) as connection:
            found = runs.by_key(connection, text)
        found = found or query.find_run(self.engine, text, among=self.visible_dag_ids())
        with reading(self.engine) as connection:
            dag = self._dags[found.dag_id] = dags.get(connection, found.dag_id)
            is_gone = bool(deletions.of_runs(connection, [found.run_key]))
        if not self._sees_run(dag, found):
            raise RunNotFound(f"there is no run {text}", hint="`rqflow run list` shows those that you may see.")
        if is_gone:
            raise RunNotFound(f"run {found.run_id} of {found.dag_id} was deleted")
        if changes:
            self.must_change([found])
        return found

    def _sees_run(self, dag: DagRecord | None, run: RunRecord) -> bool:
        """Tell whether the person may see a run: of a DAG that they see, or one that they started, as a command that another started before."""
        if dag is not None and self.sees(dag):
            return True
        return self.person.is_admin or run.started_by == self.person.name or not self.settings.webserver.filter_by_owner

    def dag_of(self, run: RunRecord) -> DagRecord | None:
        """Return the DAG of a run, which is asked for once; None: it is not known any more."""
        if run.dag_id not in self._dags:
            with reading(self.engine) as connection:
                self._dags[run.dag_id] = dags.get(connection, run.dag_id)
        return self._dags[run.dag_id]

    def must_change(self, found: Iterable[RunRecord]) -> None:
        """Raise NotPermitted when one of these runs is not the person's to change."""
        for run in found:
            if not self.claims.may_change_run(self.dag_of(run), run):
                raise NotPermitted(f"run {run.run_id} of {run.dag_id} is not {self.person.name}'s to change"
                                   + (f": {run.started_by} started it" if run.started_by else ""),
                                   hint=f"`rqflow dag share {run.dag_id} {self.person.name}` lets you, where an admin or the DAG's owner says so.")


def _whose(dag: DagRecord) -> str:
    return f"{dag.submitted_by}'s" if dag.submitted_by else "the administrators'"


@contextmanager
def meet(source: Source, person: Person) -> Iterator[Hub]:
    """Give a hub to a person for the block."""
    with ExitStack() as stack:
        yield Hub(source, person, stack)
