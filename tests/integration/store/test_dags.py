from __future__ import annotations

import base64
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from rqflow.exceptions import DagNotFound
from rqflow.store import dags
from rqflow.store.dags import DagFilter
from rqflow.store.engine import Engine, reading, run_in_transaction, transaction
from rqflow.store.tables import dag
from tests.unit.builders import a_task, a_version


def save(engine: Engine, dag_id: str, **changes: object) -> dags.Saved:
    return run_in_transaction(engine, lambda connection: dags.save_version(connection, a_version(dag_id=dag_id, **changes)))


def found(engine: Engine, **wanted: object) -> list[str]:
    with reading(engine) as connection:
        return [record.dag_id for record in dags.search(connection, DagFilter(**wanted))]


def test_versions_are_numbered_and_the_newest_is_the_latest(engine: Engine) -> None:
    first = save(engine, "d", description="one")
    second = save(engine, "d", description="two")
    assert (first.number, first.is_new, first.is_change) == (1, True, False)
    assert (second.number, second.is_new, second.is_change) == (2, True, True)
    with reading(engine) as connection:
        assert dags.latest_version(connection, "d") == a_version(dag_id="d", description="two")
        assert dags.find(connection, "d").description == "two"


def test_same_version_again_is_not_new(engine: Engine) -> None:
    save(engine, "d")
    assert save(engine, "d") == dags.Saved(number=1, is_new=False, is_change=False)


def test_earlier_version_may_come_back_under_its_number(engine: Engine) -> None:
    save(engine, "d", description="one")
    save(engine, "d", description="two")
    assert save(engine, "d", description="one") == dags.Saved(number=1, is_new=False, is_change=True)
    with reading(engine) as connection:
        assert dags.latest_version(connection, "d") == a_version(dag_id="d", description="one")


def test_version_with_ten_megabytes_of_files_comes_back_whole(engine: Engine) -> None:
    noise = base64.b64encode(random.Random(1).randbytes(10 << 20)).decode()
    version = a_version(dag_id="d", sources={"text.txt": "aé𝄞\"\\\n" * 1_000_000, "noise": {"base64": noise}})
    with transaction(engine) as connection:
        dags.save_version(connection, version)
        assert dags.version(connection, version.sha) == version


def test_two_that_save_at_once_get_different_numbers(engine: Engine) -> None:
    save(engine, "d")
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda n: save(engine, "d", description=str(n)).number, range(8)))
    assert sorted(numbers) == list(range(2, 10))


def test_names_that_differ_only_in_case_or_spaces_are_different_dags(engine: Engine) -> None:
    names = ["A", "a", "a ", " a", "å", "a\u0301", "é" * 250, "🧬"]
    for name in names:
        save(engine, name)
    assert found(engine) == sorted(names)
    with reading(engine) as connection:
        assert all(dags.find(connection, name).dag_id == name for name in names)


def test_pause_outlives_a_submit_and_removal_does_not(engine: Engine) -> None:
    save(engine, "d")
    with transaction(engine) as connection:
        connection.execute(update(dag).values(is_paused=True, is_active=False))
    save(engine, "d", description="new")
    with reading(engine) as connection:
        record = dags.find(connection, "d")
    assert (record.is_paused, record.is_active) == (True, True)


def test_odd_text_about_a_dag_is_written_as_far_as_the_columns_go(engine: Engine) -> None:
    save(engine, "d", description="nul \0", owner="many, " * 100)
    with reading(engine) as connection:
        record = dags.find(connection, "d")
    assert (record.description, len(record.owner)) == ("nul \ufffd", 250)


def test_search_by_tag_owner_and_text(engine: Engine) -> None:
    save(engine, "align", tags=("qc", "rna"), owner="ada", description="Aligns READS")
    save(engine, "report", tags=("qc",), owner="bob", description='100% "Übersicht"')
    assert found(engine, tags=["qc"]) == ["align", "report"]
    assert found(engine, tags=["qc", "rna"]) == ["align"]
    assert found(engine, tags=["q"]) == found(engine, tags=["QC"]) == []
    assert found(engine, owner="bob") == ["report"]
    assert found(engine, text="reads") == ["align"]
    assert found(engine, text="100% ") == found(engine, text='"übersicht') == ["report"]
    assert found(engine, text="%") == ["report"]


def test_unknown_dag_is_not_found_with_the_nearest_name(engine: Engine) -> None:
    save(engine, "align")
    with reading(engine) as connection:
        assert dags.get(connection, "aling") is None
        assert dags.latest_version(connection, "aling") is None
        with pytest.raises(DagNotFound, match=r"there is no DAG aling\nDid you mean align"):
            dags.find(connection, "aling")


def test_task_ids_and_commands_of_any_characters_survive(engine: Engine) -> None:
    version = a_version(dag_id="d", specs=[a_task("t", "printf '\\0'; echo 'naïve' \"𝄞\" \x00\x1b[1m")])
    with transaction(engine) as connection:
        dags.save_version(connection, version)
        assert dags.latest_version(connection, "d") == version
