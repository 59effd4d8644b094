"""The command `scripts/soak`: random faults over a load of random DAGs, and an audit of each task's own evidence against SQL."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis

from benchmarks import report, soak_audit, soak_far, soak_lab, soak_plan, soak_task, system
from benchmarks.soak_audit import Audit
from benchmarks.soak_lab import Site
from benchmarks.soak_plan import Plan, PlannedDag, PlannedRun
from rqflow import clock
from rqflow.actions import submit, survey, trigger
from rqflow.broker import keys
from rqflow.broker.events import EventStream
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import Conflict, RqflowError
from rqflow.settings import load
from rqflow.states import RunState
from rqflow.store import runs
from rqflow.store.engine import reading
from rqflow.store.runs import RunFilter

FULL_FAULTS, FULL_MINUTES, FAR_MINUTES = 200, 20.0, 6.0
#: Seconds between two faults on average, where no time is given.
EVERY = 5.0
#: Seconds after the last fault within which all runs must have ended, and after that all logs be archived.
RUNS_END, LOGS_END = 180.0, 60.0
_LOOK_EVERY = 0.05
_SHOWN = 10


@dataclass(slots=True)
class Load:
    """The runs, started in a thread of its own over whatever breaks, each until it is there."""

    site: Site
    plan: Plan
    versions: Sequence[Version]
    started: list[tuple[RunInfo, PlannedDag]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    #: Starts that had to be done again.
    repeated: int = 0

    def work(self) -> None:
        """Start every run at its time."""
        settings = load(home=self.site.lab.home, environ=self.site.lab.environ)
        with ExitStack() as stack:
            services: Services | None = None
            for planned in self.plan.runs:
                run: RunInfo | None = None
                while not self.stop.wait(max(self.site.began + planned.at - time.monotonic(), 0.0)):
                    try:
                        services = services or stack.enter_context(open_services(settings))
                        run = run or self._info(planned)
                        self._start(services, run, planned)
                        break
                    except (RqflowError, redis.exceptions.RedisError):
                        self.repeated += 1
                        self.stop.wait(0.2)

    def _info(self, planned: PlannedRun) -> RunInfo:
        return trigger.by_hand(self.versions[planned.dag], trigger.Given(run_id=planned.run_id), clock.utcnow())

    def _start(self, services: Services, run: RunInfo, planned: PlannedRun) -> None:
        with contextlib.suppress(Conflict):  # an earlier start was told to have failed, and had not
            trigger.start(services.broker, services.engine, run, self.versions[planned.dag], by="soak")
        self.started.append((run, self.plan.dags[planned.dag]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a soak, as text."""

    wrong: Sequence[str]
    lines: Sequence[str]
    #: Runs that were started, and tries of tasks that began.
    runs: int
    tries: int


def soak(plan: Plan, folder: Path, store: str, *, say: Callable[[str], None] = lambda _: None,
         make_site: Callable[[Path, str], AbstractContextManager[Site]] = soak_lab.site) -> Outcome:
    """Do what `plan` says in an empty folder, and audit it; `make_site` makes the system there."""
    evidence = folder / "evidence"
    (evidence / "locks").mkdir(parents=True)
    began = time.monotonic()
    with make_site(folder, store) as site:
        versions = _versions(site, plan, evidence)
        site.start()
        site.began = time.monotonic()
        work = Load(site, plan, versions)
        thread = threading.Thread(target=work.work, name="load")
        thread.start()
        try:
            _strike(site, plan, say)
            wrong = _unfinished(site, work, thread, len(plan.runs))
            audit = Audit() if wrong else _audit(site, plan, work, evidence)
        finally:
            work.stop.set()
            thread.join()
        wrong = [*site.wrong, *wrong, *audit.wrong]
        kinds = Counter(fault.kind for fault in plan.faults)
        lines = [f"{len(plan.faults)} faults: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}",
                 f"{len(work.started)} runs, of which {work.repeated} starts were repeated; {time.monotonic() - began:.0f} s in all"]
        lines += [f"{count:6} {name}" for name, count in sorted(audit.counts.items()) if count]
    return Outcome(wrong=wrong, lines=lines, runs=len(work.started), tries=audit.counts["tries that began"])


def _versions(site: Site, plan: Plan, evidence: Path) -> Sequence[Version]:
    """Load the DAG files and register them."""
    program = shlex.join([sys.executable, "-I", "-S", soak_task.__file__, str(evidence)])
    paths = [site.lab.dag(dag.source(program), f"{dag.dag_id}.py") for dag in plan.dags]
    services = site.lab.services
    found = {version.dag_id: version for version in survey.read(paths, services.settings).versions}
    submit.register(services.broker, services.engine, list(found.values()))
    return [found[dag.dag_id] for dag in plan.dags]


def _strike(site: Site, plan: Plan, say: Callable[[str], None]) -> None:
    """Let all faults happen, each at its time; return when the last one is mended."""
    for fault in plan.faults:
        _turn_until(site, lambda fault=fault: time.monotonic() >= site.began + fault.at, float("inf"))  # type: ignore[misc]
        site.strike(fault)
        say(site.diary[-1])
    _turn_until(site, lambda: not site.later, float("inf"))
    site.heal()
    site.note("all is mended")
    say(site.diary[-1])


def _turn_until(site: Site, condition: Callable[[], object], seconds: float) -> bool:
    """Look after the processes until `condition` is true; False when it is not in so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        site.turn()
        time.sleep(_LOOK_EVERY)
    return True


def _unfinished(site: Site, work: Load, thread: threading.Thread, count: int) -> list[str]:
    """Wait for the end of all runs and of their recording; return what hangs, and what rqflow says of it."""
    if not _turn_until(site, lambda: not thread.is_alive(), RUNS_END):
        return [f"only {len(work.started)} of {count} runs could be started"]
    site.lab.reopen()
    ended = _seldom(lambda: not _open_runs(site) and EventStream(site.lab.services.connection).backlog() == 0)
    if _turn_until(site, ended, RUNS_END):
        return []
    left = _open_runs(site)
    backlog = EventStream(site.lab.services.connection).backlog()
    lines = [f"{len(left)} runs have not ended {RUNS_END:g} s after the last fault; {backlog} events are not recorded"]
    for run_id, run_key in left[:_SHOWN]:
        said = site.lab.run("run", "show", run_key, code=None)
        lines.append(f"{run_id} ({run_key}):\n{said.stdout}{said.stderr}")
    return [*lines, *(f"{name} said last: {site.said(name)}" for name in site.members)]


def _seldom(condition: Callable[[], bool], every: float = 0.3) -> Callable[[], bool]:
    """Return `condition`, asked every so many seconds only, and false as long as the servers do not answer."""
    asked = 0.0

    def answer() -> bool:
        nonlocal asked
        if time.monotonic() < asked + every:
            return False
        asked = time.monotonic()
        try:
            return condition()
        except (RqflowError, redis.exceptions.RedisError):
            return False

    return answer


def _open_runs(site: Site) -> list[tuple[str, str]]:
    with reading(site.lab.services.engine) as connection:
        found = runs.search(connection, RunFilter(states={RunState.QUEUED, RunState.RUNNING}))
    return [(f"{one.dag_id} {one.run_id}", one.run_key) for one in found]


def _audit(site: Site, plan: Plan, work: Load, evidence: Path) -> Audit:
    """Compare, until nothing is wrong or the logs have had their time."""
    services = site.lab.services
    killed = Counter(fault.kind for fault in plan.faults)
    found = Audit()

    def is_clean() -> bool:
        nonlocal found
        if services.connection.xlen(keys.LOGS):
            return False
        auditor = soak_audit.Auditor(services.engine, Path(services.settings.logs.folder), soak_audit.read(evidence), killed)
        found = auditor.run(work.started)
        return not found.wrong

    if not _turn_until(site, _seldom(is_clean, 1.0), LOGS_END) and not found.wrong:
        found.wrong.append(f"{services.connection.xlen(keys.LOGS)} pieces of logs are not archived {LOGS_END:g} s after the last run ended")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print, write the file; return the exit code."""
    asked = parser().parse_args(arguments)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 32)
    full_minutes = FAR_MINUTES if asked.far else FULL_MINUTES
    faults = asked.faults or ((int(FAR_MINUTES * 60 / EVERY) if asked.far else FULL_FAULTS) if asked.full else 12)
    minutes = asked.minutes or (full_minutes if asked.full else faults * EVERY / 60)
    store, = system.stores([system.SQLITE if asked.far else asked.store]) or [system.SQLITE]
    kinds = [kind for kind in soak_plan.FAULTS if store == system.MARIADB or kind != soak_plan.DATABASE]
    plan = soak_plan.make(seed, faults=faults, seconds=minutes * 60, kinds=list(soak_plan.FAR_FAULTS) if asked.far else kinds,
                          dags=24 if asked.full else 8, queues=soak_plan.FAR_QUEUES if asked.far else None)
    console = report.console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    logging.getLogger("rqflow").setLevel(logging.ERROR)
    # So that a soak that is ended ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    about = report.surroundings()
    commit = f"commit {about['commit'][:12]}{' and changes' if about['changed'] else ''}"
    machine = f"{about['cores']} processors, Python {about['python']}, {about['redis'].partition(' sha')[0]}"
    if asked.far and os.geteuid() != 0:
        say("--far makes network namespaces, which needs root")
        return 2
    head = [f"scripts/soak{' --far' if asked.far else ''} --seed {seed} --faults {faults} --minutes {minutes:g} --store {store}",
            f"{about['date'][:19]} UTC, {commit}, {machine}"]
    for text in head:
        say(text)
    folder = Path(tempfile.mkdtemp(prefix="rqflow-soak-"))
    outcome = soak(plan, folder, store, say=say, make_site=soak_far.site if asked.far else soak_lab.site)
    verdict = ["Nothing lost, nothing doubled, no run unfinished, all logs byte for byte."] if not outcome.wrong else [
        f"{len(outcome.wrong)} THINGS ARE WRONG:", *outcome.wrong]
    for text in (*outcome.lines, *verdict):
        say(text)
    if asked.output:
        asked.output.write_text("\n".join([*head, *outcome.lines, *verdict]) + "\n", encoding="utf-8")
    if asked.keep or outcome.wrong:
        say(f"kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.wrong else 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    about = "Random faults over a load of random DAGs, and an audit of the tasks' own evidence; see benchmarks/README.md."
    made = argparse.ArgumentParser(prog="scripts/soak", description=about)
    made.add_argument("--seed", type=int, metavar="N", help="do again what this seed decides; a random one when not given")
    made.add_argument("--faults", type=int, metavar="N", help="number of faults (12)")
    made.add_argument("--minutes", type=float, metavar="M", help=f"time for them ({EVERY:g} s for each)")
    made.add_argument("--full", action="store_true", help=f"{FULL_FAULTS} faults in {FULL_MINUTES:g} minutes; with --far {FAR_MINUTES:g} minutes")
    made.add_argument("--far", action="store_true", help="a hub and two workers that only ssh reaches, in network namespaces, as root; with SQLite")
    made.add_argument("--store", choices=[system.SQLITE, system.MARIADB], default=system.MARIADB, help="database of the history (mariadb)")
    made.add_argument("--keep", action="store_true", help="keep the folder with evidence and logs; it is kept when anything is wrong")
    made.add_argument("--output", type=Path, metavar="FILE", help="write what is found there too")
    return made


if __name__ == "__main__":
    sys.exit(main())
