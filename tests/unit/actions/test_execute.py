from __future__ import annotations

import pytest

from rqflow.actions import execute
from rqflow.exceptions import UsageError


def test_a_command_is_one_bash_task_without_templates() -> None:
    version = execute.a_version(["echo", "{{ ds }}", "a b", "$X"], env={"X": "1"}, cwd="/tmp", queue="gpu")
    task, = version.tasks
    assert task.fields == {"bash_command": "echo '{{ ds }}' 'a b' '$X'", "skip_exit_code": [], "env": {"X": "1"}, "cwd": "/tmp"}
    assert (task.task_id, task.queue, task.template_fields, version.file, version.schedule) == ("echo", "gpu", (), "", None)


def test_each_command_is_a_dag_of_its_own_and_the_same_one_is_the_same() -> None:
    assert execute.a_version(["ls", "-l"]).dag_id == execute.a_version(["ls", "-l"]).dag_id != execute.a_version(["ls"]).dag_id
    assert execute.a_version(["/opt/my tool/run it!"]).dag_id.startswith("run-exec.run_it.")
    assert execute.a_version(["!"]).tasks[0].task_id == "command"


@pytest.mark.parametrize(("given", "message"), [
    ({"command": []}, "a command is missing"), ({"command": ["ls"], "name": "a b"}, "--name a b"), ({"command": ["ls"], "name": "x" * 101}, "1 to 100"),
    ({"command": ["ls"], "queue": "a b"}, "the queue 'a b'"), ({"command": ["ls", "\udcff"]}, "no UTF-8"),
])
def test_a_command_that_cannot_be_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        execute.a_version(**given)


def test_env_is_read_from_pairs() -> None:
    assert execute.read_env(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    for pair in ("A", "=1", "1A=2", "A B=3"):
        with pytest.raises(UsageError, match="NAME=value"):
            execute.read_env([pair])
