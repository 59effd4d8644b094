"""What is different between two versions of a DAG, as people are shown it."""

from __future__ import annotations

from rqflow.dag.differences import of_source, of_task, of_version
from tests.unit.builders import a_task, a_version


def test_a_field_that_differs_is_shown_as_it_was_and_as_it_is() -> None:
    before = a_version(["a", "b"], specs=[a_task("a", "sort x", retries=1)])
    after = a_version({"b": [], "a": ["b"]}, specs=[a_task("a", "sort -u x", retries=3)])
    assert of_task(before, after, "a") == [
        "a:", "  - retries = 1", "  + retries = 3", '  - bash_command = "sort x"', '  + bash_command = "sort -u x"']
    assert of_task(before, after, "b") == [], "where it stands in the DAG is no difference of the task"


def test_of_long_texts_only_the_lines_that_differ_are_shown() -> None:
    script = [f"line {number}" for number in range(30)]
    before = a_version(specs=[a_task("a", "\n".join(script))])
    after = a_version(specs=[a_task("a", "\n".join([*script[:20], "new", *script[20:]]))])
    lines = of_task(before, after, "a")
    assert [line for line in lines if line.startswith("  +") and "now" not in line] == ["  +new"]
    assert len(lines) < 12


def test_a_task_that_runs_python_differs_when_the_file_does_and_one_that_does_not_stays() -> None:
    before = a_version(specs=[a_task("a", needs_source=True), a_task("b")], file="d.py", sources={"d.py": "x = 1\n"})
    after = a_version(specs=[a_task("a", needs_source=True), a_task("b")], file="d.py", sources={"d.py": "x = 2\n"})
    assert of_task(before, after, "a") == ["a:", "  --- d.py (before)", "  +++ d.py (now)", "  @@ -1 +1 @@", "  -x = 1", "  +x = 2"]
    assert of_task(before, after, "b") == []
    assert of_source(before, after, most=2) == ["--- d.py (before)", "+++ d.py (now)", "… and 3 lines more"]


def test_a_task_that_is_gone_is_said_to_run_as_it_was() -> None:
    assert of_task(a_version(["a"]), a_version(["b"]), "a") == ["a: the DAG does not have it any more; it runs as it was"]


def test_of_two_versions_all_files_are_compared_the_dag_file_first() -> None:
    before = a_version(["a"], file="d.py", sources={"a.txt": "1\n", "d.py": "x = 1\n", "old.txt": ""})
    after = a_version(["a"], file="d.py", sources={"a.txt": "2\n", "d.py": "x = 2\n"})
    lines = of_version(before, after, ("version 1", "version 2"))
    assert [line for line in lines if not line.startswith("@@")] == [
        "--- d.py (version 1)", "+++ d.py (version 2)", "-x = 1", "+x = 2", "--- a.txt (version 1)", "+++ a.txt (version 2)", "-1", "+2",
        "old.txt: only in version 1"]
    assert of_version(before, before, ("version 1", "version 1")) == []


def test_of_versions_that_equal_files_made_the_fields_are_compared() -> None:
    before = a_version({"a": [], "b": ["a"], "c": []}, specs=[a_task("b", retries=1)], schedule="@daily")
    after = a_version({"a": [], "b": []}, specs=[a_task("b", retries=2)], schedule="@hourly")
    assert of_version(before, after, ("version 1", "version 2")) == [
        '- schedule = "@daily"', '+ schedule = "@hourly"',
        "b:", "  - retries = 1", "  + retries = 2", '  - upstream = ["a"]', "  + upstream = []", "- task c"]
