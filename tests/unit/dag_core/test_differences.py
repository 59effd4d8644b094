"""What is different between two versions of a DAG, as people are shown it."""

from __future__ import annotations

from rqflow.dag.differences import of_source, of_task
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
