"""What somebody may mean who types a piece of a name: pages, DAGs, tasks, runs. Bounded, the likeliest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from rqflow.actions.sights.overlay import laid_over
from rqflow.broker.broker import Broker
from rqflow.states import RunState
from rqflow.store import dags, finding
from rqflow.store.engine import Engine, reading

#: Answers of each kind when nobody says how many; characters of a text that are looked at; versions whose tasks are read for one question.
MOST, LONGEST, READ_AT_ONCE = 8, 200, 300
#: Versions of which the names of tasks are kept before those are forgotten that were not asked for last.
_KEPT = 5_000
#: {path of a page: (its name, other words for it)}.
PAGES: dict[str, tuple[str, str]] = {
    "/": ("Home", "overview dashboard running failed"), "/dags": ("DAGs", "workflows pipelines"), "/runs": ("Runs", "dag runs jobs"),
    "/workers": ("Workers and queues", "machines hosts"), "/pools": ("Pools", "slots"), "/variables": ("Variables", "settings"),
    "/connections": ("Connections", "hosts secrets"), "/backfills": ("Backfills", "catch-up"), "/slas": ("SLA misses", "late"),
    "/users": ("Users", "people accounts roles"), "/tokens": ("API tokens", "keys"), "/sessions": ("Sessions", "logins"),
    "/audit": ("Audit log", "history who did"), "/health": ("Health", "status doctor"), "/account": ("My account", "password"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PageHit:
    """A page."""

    path: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DagHit:
    """A DAG."""

    dag_id: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskHit:
    """A task of the newest version of a DAG."""

    dag_id: str
    task_id: str
    operator: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHit:
    """A run."""

    run_key: str
    dag_id: str
    run_id: str
    state: RunState
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hits:
    """What was found; of each kind at most as many as were asked for."""

    text: str
    pages: tuple[PageHit, ...]
    dags: tuple[DagHit, ...]
    tasks: tuple[TaskHit, ...]
    runs: tuple[RunHit, ...]
    #: False: among the tasks of some DAGs it was not looked yet; it is when the question is asked again.
    is_complete: bool = True


def search(broker: Broker | None, engine: Engine, text: str, *, sees: Callable[[str], bool] | None = None, most: int = MOST) -> Hits:
    """Return what `text` may mean, at most so many of each kind; `sees` says of which dag_ids the person may know, None: of all.

    All its words must be found, in any case and order. `DAG TASK` and `DAG.TASK` find the tasks of that DAG.
    """
    text = " ".join(text[:LONGEST].split())
    if not text:
        return Hits(text="", pages=(), dags=(), tasks=(), runs=())
    words = text.casefold().split()
    may_see = sees or (lambda _: True)
    with reading(engine) as connection:
        known = [row for row in finding.dag_texts(connection) if may_see(row[0])]
        # Some more, for of those may be some that the person may not see.
        lines = [line for line in finding.runs_named(connection, text, most if sees is None else most * 8) if may_see(line.dag_id)][:most]
    pages = [PageHit(path=path, name=name) for path, (name, others) in PAGES.items() if _has(f"{name} {others}", words)]
    meant = sorted((DagHit(dag_id=dag_id, description=description) for dag_id, description, _ in known if _has(f"{dag_id} {description}", words)),
                   key=lambda hit: _rank(hit.dag_id, words))
    shas = [version for _, _, version in known if version]
    names = TASK_NAMES.of(engine, shas, READ_AT_ONCE)
    overlaid = laid_over(broker, engine, lines)
    runs = [RunHit(run_key=line.run_key, dag_id=line.dag_id, run_id=line.run_id, state=line.state, created_at=line.created_at)
            for line in overlaid.lines]
    return Hits(text=text, pages=tuple(pages[:most]), dags=tuple(meant[:most]), tasks=tuple(_tasks(names, known, words)[:most]), runs=tuple(runs),
                is_complete=len(names) == len(set(shas)))


class TaskNames:
    """The names of the tasks of versions, kept for the whole process. For all threads."""

    def __init__(self) -> None:
        """Know none yet."""
        self._lock = Lock()
        self._kept: dict[str, tuple[tuple[str, str], ...]] = {}

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept = {}

    def of(self, engine: Engine, shas: Sequence[str], most: int) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return {sha: (task_id, operator) of its tasks} of these versions; at most so many that were not known are read."""
        with self._lock:
            found = {sha: self._kept[sha] for sha in shas if sha in self._kept}
        missing = [sha for sha in shas if sha not in found][:most]
        if missing:
            with reading(engine) as connection:
                found |= dict.fromkeys(missing, ()) | dags.task_names(connection, missing)
        with self._lock:
            self._kept = self._kept | found if len(self._kept) < _KEPT else found
        return found


TASK_NAMES = TaskNames()


def _tasks(names: Mapping[str, Sequence[tuple[str, str]]], known: Iterable[tuple[str, str, str | None]], words: list[str]) -> list[TaskHit]:
    """Return all tasks that may be meant, the likeliest first: all words are in the task's id, or in it and its DAG's, one of them in its own."""
    found = []
    for dag_id, _, version in known:
        others = [word for word in words if word not in dag_id.casefold()] or words[-1:]
        found += [TaskHit(dag_id=dag_id, task_id=task_id, operator=operator) for task_id, operator in names.get(version or "", ())
                  if _has(task_id, others) or _has(f"{dag_id}.{task_id}", [".".join(words)])]
    return sorted(found, key=lambda hit: (_rank(hit.task_id, words[-1:]), hit.dag_id))


def _has(text: str, words: list[str]) -> bool:
    folded = text.casefold()
    return all(word in folded for word in words)


def _rank(name: str, words: list[str]) -> tuple[int, str]:
    """Return the place of a name among what was found: the one meant, then those that begin so, then the others."""
    folded, wanted = name.casefold(), " ".join(words)
    return 0 if folded == wanted else 1 if folded.startswith(words[0]) else 2, folded
