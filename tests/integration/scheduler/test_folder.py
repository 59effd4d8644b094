"""The folder of DAGs: what is executed when, what is taken over, and what people see of it. Files are loaded by real child processes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from rqflow import clock
from rqflow.actions import dag_files as origins
from rqflow.actions import delete, pools, schedule, submit, survey, trigger, variables
from rqflow.actions import folder as dags_folder
from rqflow.actions.folder import DagsFolder, Outcome
from rqflow.broker.broker import Broker
from rqflow.dag import outside
from rqflow.dag.series import Interval
from rqflow.dag.version import Version
from rqflow.deploy import known
from rqflow.exceptions import DagNotFound
from rqflow.scheduler.ticks import Ticker
from rqflow.security.entries import VAR
from rqflow.security.keyring import Keyring
from rqflow.security.masking import Masker
from rqflow.settings import Core, Settings
from rqflow.store import dag_files, dags, deletions, runs
from rqflow.store.engine import Engine, open_engine, reading, run_in_transaction
from rqflow.values import Graces
from tests.waiting import until

HEAD = "from datetime import datetime, timedelta\nfrom rqflow import DAG, BashOperator\nopen({log!r}, 'a').write('x')\n"
DAG = "with DAG({name!r}, schedule={schedule!r}, start_date={start}{more}):\n    BashOperator(task_id='a', bash_command={command!r})\n"


@pytest.fixture
def engine(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    """SQLite alone: what the databases do differently is tried in tests/integration/store."""
    shutil.copy(sqlite_template, tmp_path / "rqflow.db")
    opened = open_engine(f"sqlite:///{tmp_path / 'rqflow.db'}")
    yield opened
    opened.dispose()


class World:
    """A folder, and what watches it."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path, **core: object) -> None:
        self.settings = Settings(home=home, core=Core(**core))  # type: ignore[arg-type]
        self.db, self.engine, self.broker = db, engine, Broker(db, self.settings)
        self.path = home / "dags"
        self.path.mkdir(exist_ok=True)
        #: Grows by one with each execution; outside of the folder, so that it is no input.
        self.log = home / "executed"
        self.watched = self.another()

    def another(self) -> DagsFolder:
        """Another leader, which knows only what SQL knows."""
        return DagsFolder(self.broker, self.engine, self.settings)

    def dag(self, name: str = "d", schedule: str | None = None, start: str = "None", command: str = "true", more: str = "") -> str:
        return DAG.format(name=name, schedule=schedule, start=start, command=command, more=more)

    def write(self, text: str, name: str = "d.py") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD.format(log=str(self.log)) + text)
        return path

    def look(self, watched: DagsFolder | None = None) -> list[Outcome]:
        outcomes, has_more = (watched or self.watched).step(threading.Event())
        assert not has_more
        return outcomes

    @property
    def executions(self) -> int:
        return len(self.log.read_text()) if self.log.exists() else 0

    def record(self, name: str = "d") -> dags.DagRecord:
        with reading(self.engine) as connection:
            return dags.find(connection, name)

    def errors(self) -> list[str]:
        with reading(self.engine) as connection:
            return [error.replace(f"{self.path}/", "") for one in dag_files.broken(connection) for error in one.errors]

    def submit(self, path: Path) -> list[submit.Registered]:
        files, _ = origins.settled(self.engine, survey.read([path], self.settings).files)
        return submit.register(self.broker, self.engine, [version for report in files for version in report.versions], files=files)

    def run_ids(self) -> list[str]:
        with reading(self.engine) as connection:
            return [run.run_id for run in runs.search(connection)]

    def ticker(self) -> Ticker:
        def start(version: Version, interval: Interval) -> bool:
            return trigger.start_scheduled(self.broker, self.engine, trigger.scheduled(version, interval, clock.utcnow()), version)

        return Ticker(self.broker, self.engine, start, catchup_by_default=False)


@pytest.fixture
def world(db: redis.Redis, engine: Engine, home: Path) -> World:
    return World(db, engine, home)


def test_a_file_is_executed_when_its_bytes_have_changed_and_never_because_time_passed(world: World) -> None:
    path = world.write(world.dag())
    found, = world.look()
    assert (found.path, found.dag_ids, found.word) == ("d.py", ("d",), "loaded")
    assert found.news == ("d: 1 task, schedule none, version 1; nothing starts by itself: rqflow run start d",)
    assert world.look() == []
    path.touch()
    assert world.look() == []
    assert world.look(world.another()) == []
    assert world.executions == 1
    world.write(world.dag(command="date"))
    assert len(world.look()) == 1
    assert world.executions == 2


def test_new_dags_wait_paused_unless_they_say_so(world: World) -> None:
    world.write(world.dag("a") + world.dag("b", more=", is_paused_upon_creation=False"))
    world.look()
    assert (world.record("a").is_paused, world.record("b").is_paused) == (True, False)
    assert world.record("a").paused_because == "as every new DAG of the folder"


def test_new_dags_start_where_the_setting_says_so(db: redis.Redis, engine: Engine, home: Path) -> None:
    world = World(db, engine, home, dags_are_paused_at_creation=False)
    world.write(world.dag("a") + world.dag("b", more=", is_paused_upon_creation=True"))
    world.look()
    assert (world.record("a").is_paused, world.record("b").is_paused) == (False, True)


def test_a_line_in_a_file_beside_it_makes_another_dag(world: World) -> None:
    (world.path / "names.txt").write_text("one")
    world.write("from pathlib import Path\nfor name in Path(__file__).with_name('names.txt').read_text().split():\n"
                "    with DAG(name, schedule=None):\n        BashOperator(task_id='a', bash_command='true')\n")
    world.look()
    (world.path / "names.txt").write_text("one two")
    assert [found.dag_ids for found in world.look()] == [("one", "two")]
    (world.path / "names.txt").write_text("two")
    assert [found.gone for found in world.look()] == [("one",)]
    assert (world.record("one").status, world.record("two").status) == ("file removed", "paused")


def test_a_module_and_a_variable_count_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.path / "helper.py").write_text("COMMAND = 'true'\n")
    world.write("from airflow.models import Variable\nfrom helper import COMMAND\nVariable.get('city', default_var='')\n"
                "with DAG('d', schedule=None):\n    BashOperator(task_id='a', bash_command=COMMAND)\n")
    world.look()
    (world.path / "helper.py").write_text("COMMAND = 'date'\n")
    assert [found.path for found in world.look()] == ["d.py"]
    monkeypatch.setenv("AIRFLOW_VAR_CITY", "Bern")
    assert [found.path for found in world.look()] == ["d.py"]
    assert world.look() == []
    assert world.executions == 3


def test_a_stored_variable_is_given_to_a_file_and_executes_it_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(world.settings, database=replace(world.settings.database, url=str(world.engine.url)))
    monkeypatch.setattr(known, "_LASTS", 0.0)
    outside.provide(variables=known.Known(settings, Masker()).view(VAR))
    try:
        set_variable(world, "city", "Bern")
        world.write("from airflow.models import Variable\nwith DAG('d_' + Variable.get('city'), schedule=None):\n"
                    "    BashOperator(task_id='a', bash_command='true')\n")
        assert world.look()[0].dag_ids == ("d_Bern",)
        set_variable(world, "other", "x")
        assert world.look() == []
        set_variable(world, "city", "Basel")
        found, = world.look()
        assert (found.dag_ids, found.gone) == (("d_Basel",), ("d_Bern",))
        assert world.look() == world.look(world.another()) == []
        assert world.executions == 2
    finally:
        outside.provide()


def set_variable(world: World, name: str, value: str) -> None:
    variables.put(world.broker, world.engine, Keyring.of(world.settings), {name: variables.Given(value=value)}, by="me")


def test_a_deleted_dag_comes_back_when_a_person_says_so_and_not_before(world: World) -> None:
    path = world.write(world.dag() + world.dag("other"))
    world.look()
    delete.delete_dag(world.broker, world.engine, "d", by="me", keeps_logs=False)
    with pytest.raises(DagNotFound):
        world.record()
    remover = delete.Remover(world.broker, world.engine, world.settings)
    until(lambda: remover.step() or is_gone(world), what="the removal to be done")
    assert world.look() == world.look(world.another()) == []
    world.write(world.dag(command="date") + world.dag("other", command="date"))
    found, = world.look()
    assert "d: it was deleted, and stays so; `rqflow dag sync --restore` brings it back" in found.news
    assert found.errors == ()
    assert world.record("other").version
    assert path.exists()
    with pytest.raises(DagNotFound):
        world.record()
    assert world.look() == world.another().sync() == []
    assert [one.word for one in world.another().sync(restore=True)] == ["loaded"]
    assert world.record().status == "paused"
    assert world.another().sync(restore=True) == world.look() == []


def is_gone(world: World) -> bool:
    with reading(world.engine) as connection:
        return deletions.stage(connection, deletions.DAG, "d") != deletions.Stage.GOING


def test_a_broken_file_keeps_its_last_good_version_and_is_mended(world: World) -> None:
    world.write(world.dag())
    world.look()
    before = world.record().version
    world.write(world.dag() + "oops(\n")
    found, = world.look()
    assert found.word == "broken"
    assert world.errors() == ["d.py:6: SyntaxError: '(' was never closed"]
    assert (world.record().version, world.record().status) == (before, "paused")
    assert world.look() == []
    # What it lacks may have come meanwhile, like a package: another leader, or `dag sync`, tries it again.
    assert [one.word for one in world.look(world.another())] == ["broken"]
    world.write(world.dag())
    assert world.look()[0].word == "loaded"
    assert world.errors() == []
    assert world.record().version == before


def test_a_file_that_is_removed_is_flagged_and_comes_back(world: World) -> None:
    path = world.write(world.dag(schedule="@hourly", start="datetime(2026, 1, 1)", more=", is_paused_upon_creation=False"))
    world.write(world.dag("other"), "other.py")
    world.look()
    text = path.read_text()
    path.unlink()
    found, = world.look()
    assert (found.word, found.gone) == ("removed", ("d",))
    assert world.record().status == "file removed"
    assert world.ticker().step() == 0
    path.write_text(text)
    assert world.look()[0].word == "loaded"
    assert world.record().status == "active"


def test_a_run_by_hand_of_a_dag_without_a_file_lets_no_scheduled_ones_start(world: World) -> None:
    path = world.write(world.dag())
    world.write(world.dag("other"), "other.py")
    world.look()
    path.unlink()
    world.look()
    with reading(world.engine) as connection:
        version = dags.latest_version(connection, "d")
    assert version is not None
    trigger.start(world.broker, world.engine, trigger.by_hand(version, trigger.Given(), clock.utcnow()), version, by="me")
    assert world.record().status == "file removed"


def test_a_folder_that_is_suddenly_empty_is_not_believed_by_who_never_saw_it_full(world: World) -> None:
    path = world.write(world.dag())
    world.look()
    path.unlink()
    another = world.another()
    assert world.look(another) == []
    assert "is something to be mounted there?" in another.problems[0]
    assert [found.word for found in another.sync(prune=True)] == ["removed"]
    with reading(world.engine) as connection:
        assert dag_files.list_all(connection) == []


def test_a_renamed_file_takes_its_dags_along(world: World) -> None:
    path = world.write(world.dag())
    world.look()
    path.rename(world.path / "e.py")
    assert sorted(found.path for found in world.look()) == ["d.py", "e.py"]
    assert (world.record().status, world.record().file) == ("paused", "e.py")


def test_a_dag_of_two_files_is_an_error_that_names_both_until_one_is_gone(world: World) -> None:
    first = world.write(world.dag())
    world.look()
    world.write(world.dag(), "sub/e.py")
    world.look()
    assert world.errors() == ["sub/e.py:1: the DAG d comes from d.py in the folder of DAGs"]
    elsewhere = world.path.parent / "x.py"
    elsewhere.write_text(first.read_text())
    with pytest.raises(origins.Taken, match=r"x\.py:1: the DAG d comes from d\.py in the folder"):
        world.submit(elsewhere)
    first.unlink()
    assert {found.path: found.word for found in world.look()} == {"d.py": "removed", "sub/e.py": "loaded"}
    assert world.errors() == []


def test_a_file_that_a_person_submits_is_not_executed_again_by_the_watch(world: World) -> None:
    path = world.write(world.dag(), "sub/d.py")
    registered, = world.submit(path)
    assert (registered.version.file, registered.pause_reason) == ("sub/d.py", None)
    assert world.look() == []
    assert world.executions == 1


def test_an_unknown_pool_holds_a_file_until_there_is_one(world: World) -> None:
    path = world.write("with DAG('d', schedule=None):\n    BashOperator(task_id='a', bash_command='true', pool='gpu')\n")
    assert world.look()[0].errors == (f"{path}:5: task a of DAG d: there is no pool gpu",)
    assert world.look() == []
    pools.put(world.broker, world.engine, "gpu", 2, by="ann")
    assert world.look()[0].word == "loaded"


def test_files_that_no_one_should_load_are_errors_or_nothing(world: World) -> None:
    (world.path / "big.py").write_bytes(b"# dag rqflow\n" * 800_000)
    (world.path / "latin.py").write_bytes("x = 'dag rqflow, sch\xf6n'\n".encode("latin-1"))
    (world.path / "nodag.py").write_text("import rqflow  # no dag here\n")
    (world.path / "tool.py").write_text("raise SystemExit('not to be executed')\n")
    found = {one.path: one.word for one in world.look()}
    assert found == {"big.py": "broken", "latin.py": "broken", "nodag.py": "loaded"}
    assert [error.partition(": ")[0] for error in world.errors()] == ["big.py:1", "latin.py:1"]


def test_many_past_runs_wait_until_somebody_says_how_many(world: World) -> None:
    world.write(world.dag(schedule="@hourly", start="datetime.now() - timedelta(hours=50)", more=", catchup=True, is_paused_upon_creation=False"))
    found, = world.look()
    assert "50 past dates wait" in found.news[0] or "49 past dates wait" in found.news[0]
    assert world.record().is_paused
    assert "past runs, for it has catchup=True" in str(world.record().paused_because)
    with reading(world.engine) as connection:
        version = dags.latest_version(connection, "d")
    assert version is not None

    def unpause(wanted: str | None) -> bool:
        assert version is not None
        return run_in_transaction(world.engine, lambda connection: schedule.unpause(connection, version, by="me", catchup_by_default=False, wanted=wanted))

    with pytest.raises(schedule.ManyRuns):
        unpause(None)
    assert world.record().is_paused
    assert unpause("3")
    assert world.ticker().step() == 3


def test_the_one_run_of_an_once_starts_when_it_is_unpaused(world: World) -> None:
    world.write(world.dag(schedule="@once", start="datetime(2026, 1, 1)"))
    world.look()
    assert world.ticker().step() == 0
    with reading(world.engine) as connection:
        version = dags.latest_version(connection, "d")
    assert version is not None
    run_in_transaction(world.engine, lambda connection: schedule.unpause(connection, version, by="me", catchup_by_default=False))
    assert world.ticker().step() == 1
    assert world.ticker().step() == 0
    assert world.run_ids() == ["scheduled__2026-01-01T00:00:00+00:00"]
    world.write(world.dag(schedule="@once", start="datetime(2026, 2, 1)"))
    world.look()
    assert world.ticker().step() == 0


def test_a_file_that_asks_the_network_is_executed_again_after_its_interval(db: redis.Redis, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch,
                                                                           ) -> None:
    world = World(db, engine, home, reparse_interval=Graces(None, {"remote": timedelta(minutes=10)}))
    world.write(world.dag(), "d.py")
    world.write(world.dag("r", start="datetime.now()"), "remote/r.py")
    world.look()
    before = world.record("r").version
    later = clock.utcnow() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "utcnow", lambda: later)
    assert [found.path for found in world.look()] == ["remote/r.py"]
    assert world.look() == []
    assert world.record("r").version == before


def test_looks_take_a_hundredth_of_the_time_at_most_but_come_every_twenty_seconds() -> None:
    assert dags_folder.pause_between(0.001, timedelta(seconds=10)) == 10
    assert dags_folder.pause_between(0.15, timedelta(seconds=10)) == 15
    assert dags_folder.pause_between(5, timedelta(seconds=10)) == 20


MIDNIGHT = '''
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator
one_min_ago = datetime.combine(datetime.today() - timedelta(minutes=1), datetime.min.time())
args = {"owner": "me", "start_date": one_min_ago}
with DAG("d", default_args=args, schedule_interval="@once"):
    BashOperator(task_id="a", bash_command="true")
'''
#: What a file sees of the clock: a module that Python imports at its start, in the test's own folder.
CLOCK = '''
import datetime, os
real = datetime.datetime
class Fake(real):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(float(os.environ["A_MOMENT"]), tz)
    today = now
datetime.datetime = Fake
'''


@pytest.mark.parametrize("way", ["folder", "submit"])
def test_a_start_date_from_the_clock_makes_one_version_and_one_run_over_three_midnights(way: str, world: World, tmp_path: Path,
                                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clock"))
    path = (world.path if way == "folder" else tmp_path) / "midnight.py"
    path.write_text(MIDNIGHT)
    started = 0
    for day in (1, 2, 3, 4):
        now = datetime(2026, 1, day, 0, 5, tzinfo=UTC)
        monkeypatch.setenv("A_MOMENT", str(now.timestamp()))
        monkeypatch.setattr(clock, "utcnow", lambda now=now: now)
        if way == "folder":
            world.another().sync()
            with reading(world.engine) as connection:
                version = dags.latest_version(connection, "d")
            assert version is not None
            run_in_transaction(world.engine, lambda connection, version=version: schedule.unpause(connection, version, by="me", catchup_by_default=False))
        else:
            registered, = world.submit(path)
            assert registered.saved.is_new == (day == 1)
        started += world.ticker().step()
    with reading(world.engine) as connection:
        version = dags.latest_version(connection, "d")
        assert dags.numbered_version(connection, "d", 2) is None
    assert version is not None
    assert version.start_date == "2026-01-01T00:00:00+00:00"
    assert started == 1
    assert world.run_ids() == ["scheduled__2026-01-01T00:00:00+00:00"]
