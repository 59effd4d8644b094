"""Loading in a child process: its limits, its answers, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest

from rqflow.actions import describe
from rqflow.dag import loader
from rqflow.exceptions import DagLoadError
from tests.profile import PATIENCE
from tests.unit.loading.files import GOOD, load, problems, settings, write
from tests.waiting import until


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos._exit(3)\n", "d.py:1: the file ended Python while it was loaded"),
        ("print('last words', flush=True)\nimport os\nos._exit(0)\n", "d.py:1: the file ended Python while it was loaded: last words"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "d.py:1: Python was killed by SIGSEGV while it loaded the file"),
    ],
)
def test_end_of_python_is_told(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(write(tmp_path, text)) == [expected] or problems(write(tmp_path, text))[0].startswith(expected)


def test_other_encodings_are_read_as_the_file_says(tmp_path: Path) -> None:
    text = "# coding: latin-1\n" + GOOD + "    # \xe4\n"
    (version,) = load(write(tmp_path, text.encode("latin-1"))).versions
    assert set(version.sources["d.py"]) == {"base64"}


def test_missing_file_and_file_outside_of_its_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DagLoadError, match=r"gone\.py: there is no such file"):
        load(tmp_path / "gone.py")
    with pytest.raises(DagLoadError, match="is not below"):
        load(write(tmp_path, GOOD), root=tmp_path / "other")


def test_path_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "import lib.bad\n", "dags/d.py")
    write(tmp_path, "x = y\n", "dags/lib/bad.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DagLoadError, match=r"^dags/lib/bad\.py:1: NameError"):
        load(Path("dags/d.py"))
    with pytest.raises(DagLoadError, match=r"^dags/lib/bad\.py:1: NameError"):
        load(Path("dags/d.py"), root=Path("dags"))


def test_load_writes_nothing_and_takes_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    write(tmp_path, "X = 1\n", "dags/lib.py")
    write(tmp_path, "raise ValueError('not this one')\n", "json.py")
    monkeypatch.chdir(tmp_path)
    load(write(tmp_path, "import lib\n" + GOOD, "dags/d.py"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d.py", "dags", "json.py", "lib.py"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import time\nwhile True:\n    time.sleep(0.01)\n", (2, 3)),
        ("def f():\n    while True:\n        pass\n\nf()\n", (2, 3)),
        ("while True:\n    try:\n        x = 1\n    except BaseException:\n        pass\n", (1, 2, 3)),
        ("x = 1\nx = 9 ** 9 ** 9\n", (2,)),
        ("import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(60)\n", (3,)),
        ("import os\nos.fork()\nwhile True:\n    pass\n", (3, 4)),
    ],
)
def test_endless_load_ends_in_time_and_names_the_line(tmp_path: Path, text: str, line: tuple[int, ...]) -> None:
    began = monotonic()
    (problem,) = problems(write(tmp_path, text), timeout=0.6)
    assert monotonic() - began < PATIENCE
    assert problem in {f"d.py:{number}: loading takes longer than 0.6 s (core.load_timeout); it was at this line" for number in line}


def test_what_a_file_leaves_running_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    text = f"import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\nopen({str(pid_file)!r}, 'w').write(str(child.pid))\n"
    began = monotonic()
    load(write(tmp_path, text + GOOD))
    assert monotonic() - began < PATIENCE
    pid = int(pid_file.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], what="sleep to be gone")


@pytest.mark.parametrize("text", ["x = bytearray(900 << 20)\n", "x = []\nwhile True:\n    x.append('y' * 10_000_000 + str(len(x)))\n"])
def test_memory_is_limited(tmp_path: Path, text: str) -> None:
    (problem,) = problems(write(tmp_path, text), memory="300M")
    assert "MemoryError: loading the file takes more memory than core.load_memory allows" in problem


@pytest.mark.parametrize(
    "statement",
    [
        "print('hello')",
        "import sys; sys.stderr.write('hello\\n')",
        "import os; os.write(1, b'hello\\n')",
        "import os; os.system('echo hello')",
        "import sys; sys.stdout.write('hello'); sys.stdout.close()",
    ],
)
def test_printed_output_is_a_warning_and_disturbs_nothing(tmp_path: Path, statement: str) -> None:
    loaded = load(write(tmp_path, statement + "\n" + GOOD))
    assert [version.dag_id for version in loaded.versions] == ["good"]
    assert any("the file prints while it loads: hello" in str(warning) for warning in loaded.warnings) or "close()" in statement


def test_data_files_that_loading_opened_travel(tmp_path: Path) -> None:
    write(tmp_path, "{}", "config/samples.json")
    write(tmp_path, "secret", ".env")
    write(tmp_path, "x" * 2_000_000, "large.txt")
    text = "import json, os, pathlib\nhere = pathlib.Path(__file__).parent\njson.load(open(here / 'config/samples.json'))\n"
    text += "(here / '.env').read_text()\n(here / 'large.txt').read_text()\nopen(here / 'new.txt', 'w').write('x')\nopen('/etc/hostname').read()\n"
    loaded = load(write(tmp_path, text + GOOD))
    assert set(loaded.versions[0].sources) == {"d.py", "config/samples.json"}
    assert "the file opens large.txt, which is too large to travel to workers" in str(loaded.warnings[0])


def test_files_named_by_tasks_travel(tmp_path: Path) -> None:
    write(tmp_path, "a", "data/a.txt")
    write(tmp_path, "b", "data/sub/b.txt")
    write(tmp_path, b"\xff\0", "raw.bin")
    text = GOOD + "    BashOperator(task_id='b', bash_command='true', files=['data', 'raw.bin'])\n"
    sources = load(write(tmp_path, text)).versions[0].sources
    assert set(sources) == {"d.py", "data/a.txt", "data/sub/b.txt", "raw.bin"}
    assert sources["raw.bin"] == {"base64": "/wA="}


def test_too_many_bytes_do_not_travel(tmp_path: Path) -> None:
    write(tmp_path, "x" * 10_000_001, "large.txt")
    (problem,) = problems(write(tmp_path, GOOD + "    BashOperator(task_id='b', bash_command='true', files=['large.txt'])\n"))
    assert "take 10.0 MB, more than 10 MB; the largest is large.txt" in problem


def test_module_from_elsewhere_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "X = 1\n", "shared/stray.py")
    text = f"import sys\nsys.path.append({str(tmp_path / 'shared')!r})\nimport stray\n"
    (warning,) = load(write(tmp_path / "dags", text + GOOD)).warnings
    assert "module stray comes from" in str(warning)
    assert "it does not travel to workers" in str(warning)
    assert load(write(tmp_path, text + GOOD), root=tmp_path).warnings == ()


def test_running_a_file_as_a_script_validates_it(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "    BashOperator(task_id='b', bash_command='{{ dss }}')\n")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert "d.py:4: task b: bash_command: line 1: unknown variable 'dss'; did you mean ds?" in done.stdout + done.stderr


@pytest.mark.parametrize("generation", ["1", "2"])
def test_macros_and_filters_of_the_dags_own_render_for_people_too(tmp_path: Path, generation: str) -> None:
    text = "from airflow import DAG\nfrom airflow.operators.bash" + ("_operator" if generation == "1" else "") + " import BashOperator\n"
    text += "dag = DAG('d', user_defined_macros={'project': 'genes'}, user_defined_filters={'shout': str.upper})\n"
    text += "BashOperator(task_id='a', bash_command='x.sh', env={'P': '{{ project }}'}, dag=dag)\n"
    text += "BashOperator(task_id='b', bash_command='{{ 1 / 0 }}', dag=dag)\n"
    write(tmp_path, "echo {{ project | shout }} {{ ds }}\n", "x.sh")
    (version,) = load(write(tmp_path, text)).versions
    a, b = describe.dag(version, datetime(2024, 1, 5, tzinfo=UTC), settings=settings())["tasks"]
    assert version.generation == generation
    assert a["rendered"] == {"bash_command": "echo GENES 2024-01-05", "env": {"P": "genes"}}
    assert (a["error"], b["rendered"]) == (None, None)
    assert b["error"] == "task b: bash_command, line 1: ZeroDivisionError: division by zero"


def test_protection_of_commands_holds_for_people_too(tmp_path: Path) -> None:
    text = "from rqflow import DAG, BashOperator\nwith DAG('d', params={'p': 'x'}, user_defined_macros={'m': 1}):\n"
    (version,) = load(write(tmp_path, text + "    BashOperator(task_id='a', bash_command='echo {{ m }} {{ params.p }}')\n")).versions
    run = describe.run_at(version, datetime(2024, 1, 5, tzinfo=UTC), params={"p": "$(id)"})
    assert "comes from outside" in loader.render_source(version, run, settings(), ["a"])["a"]["error"]
    lifted = replace(settings(), core=replace(settings().core, unsafe_templates=True))
    assert loader.render_source(version, run, lifted, ["a"])["a"]["values"]["bash_command"] == "echo 1 $(id)"


def test_template_files_of_own_operators_render_for_people_too(tmp_path: Path) -> None:
    text = "from rqflow import DAG, BaseOperator\nclass Query(BaseOperator):\n    template_fields = ('query', 'more')\n    template_ext = ('.sql',)\n"
    text += "    def __init__(self, query, more, **kwargs):\n        super().__init__(**kwargs)\n        self.query, self.more = query, more\n"
    write(tmp_path, "select {{ ds }}", "q.sql")
    (version,) = load(write(tmp_path, text + "with DAG('d'):\n    Query(task_id='a', query={'of': ['q.sql']}, more='plain')\n")).versions
    (task,) = describe.dag(version, datetime(2024, 1, 5, tzinfo=UTC), settings=settings())["tasks"]
    assert task["rendered"] == {"query": {"of": ["select 2024-01-05"]}, "more": "plain"}


def test_source_that_does_not_load_any_more_is_told(tmp_path: Path) -> None:
    text = "import os\nif 'sources' in __file__:\n    raise ValueError('elsewhere')\n" + GOOD.replace("true", "{{ ds }}")
    (version,) = load(write(tmp_path, text.replace('DAG("good"', 'DAG("good", user_defined_macros={"x": 1}'))).versions
    (task,) = describe.dag(version, datetime(2024, 1, 5, tzinfo=UTC), settings=settings())["tasks"]
    assert task["error"] == "d.py:3: ValueError: elsewhere"


def test_much_output_does_no_harm(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "for i in range(300_000):\n    print('{' * 100)\n" + GOOD))
    assert len(loaded.versions) == 1
    assert len(str(loaded.warnings[0])) < 2000


def test_a_file_that_closes_every_descriptor_is_told(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, "import os\nos.closerange(0, 100)\n" + GOOD), timeout=2)
    assert problem.startswith("d.py:1: ")


def test_child_survives_a_parent_with_few_things_in_its_environment(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = f"from tests.unit.loading.files import load; from pathlib import Path; print(load(Path({str(path)!r})).versions[0].dag_id)"
    done = subprocess.run([sys.executable, "-c", code], env={"PATH": os.defpath}, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout == "good\n", done.stderr


def test_file_without_dag_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(loader.NoDag):
        loader.load(write(tmp_path, "from rqflow import DAG\n"), settings())
    with pytest.raises(DagLoadError) as caught:
        loader.load(write(tmp_path, "from rqflow import DAG\nx = y\n"), settings())
    assert not isinstance(caught.value, loader.NoDag)
