"""Files of the folder of DAGs, on each kind of database."""

from __future__ import annotations

from datetime import UTC, datetime

from rqflow.store import dag_files, dags
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import Connection, Engine, run_in_transaction
from tests.unit.builders import a_version

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_file(**changes: object) -> DagFileRecord:
    known = {"path": "sub/d.py", "is_present": True, "dag_ids": ("a", "b"), "errors": (), "inputs": {"files": {"sub/d.py": "0"}, "variables": {"x": None}},
             "loaded_by": "1 default", "loaded_at": NOW}
    return DagFileRecord(**{**known, **changes})  # type: ignore[arg-type]


def test_a_file_is_kept_with_its_dags_until_it_is_forgotten(engine: Engine) -> None:
    def play(connection: Connection) -> None:
        for dag_id in ("a", "b", "c"):
            dags.save_version(connection, a_version(dag_id=dag_id), inputs="1")
        dag_files.put(connection, a_file())
        dag_files.put(connection, a_file())
        dag_files.claim(connection, ["a", "b"], "sub/d.py")
        assert dag_files.get(connection, "sub/d.py") == a_file()
        assert dag_files.get(connection, "d.py") is None
        assert dag_files.owners(connection, ["a", "b", "c"]) == {"a": "sub/d.py", "b": "sub/d.py"}
        assert dag_files.broken(connection) == []
        dag_files.put(connection, a_file(dag_ids=("a",), errors=("sub/d.py:1: so",)))
        assert dag_files.retire(connection, "sub/d.py", ["a"], NOW) == ["b"]
        assert dag_files.retire(connection, "sub/d.py", ["a"], NOW) == []
        assert dag_files.owners(connection, ["a", "b", "c"]) == {"a": "sub/d.py"}
        assert [one.errors for one in dag_files.broken(connection)] == [("sub/d.py:1: so",)]
        assert {one.dag_id: one.status for one in dags.search(connection)} == {"a": "active", "b": "file removed", "c": "active"}
        dag_files.forget_removed(connection)
        dag_files.put(connection, a_file(is_present=False))
        assert dag_files.owners(connection, ["a"]) == {}
        dag_files.forget_removed(connection)
        assert dag_files.list_all(connection) == []

    run_in_transaction(engine, play)


def test_the_version_of_the_same_inputs_is_found_and_of_others_is_not(engine: Engine) -> None:
    def play(connection: Connection) -> None:
        dags.save_version(connection, a_version(), inputs="1", pause_reason="so")
        assert dags.with_inputs(connection, "d", "1") == a_version()
        assert dags.with_inputs(connection, "d", "2") is None
        dags.save_version(connection, a_version(description="new"))
        assert dags.find(connection, "d").paused_because == "so"

    run_in_transaction(engine, play)
