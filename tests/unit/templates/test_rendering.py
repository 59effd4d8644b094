"""Rendering: what comes out, what is an error, and what is limited."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter, sleep
from typing import Any

import pytest

from rqflow.dag import context
from rqflow.dag.template import Renderer
from rqflow.dag.version import Version
from rqflow.dag.xcom_view import XComs
from rqflow.exceptions import TemplateError
from tests.unit.builders import a_run, a_task, a_version


def render(template: Any, *, version: Version | None = None, field: str = "env", limit: float = 1, **changes: Any) -> Any:
    """Render `template` as the field `field` of the first task of `version`."""
    version = version or a_version()
    renderer = Renderer(version, limit=timedelta(seconds=limit))
    return renderer.value(template, context.build(version, version.tasks[0], a_run(version, **changes)), task_id="a", field=field)


def failure(template: str, **more: Any) -> str:
    """The message with which rendering `template` fails."""
    with pytest.raises(TemplateError) as caught:
        render(template, **more)
    return str(caught.value)


def test_all_template_fields_and_only_these_are_rendered() -> None:
    fields = {"env": {"{{ ds }}": "{{ ds }}", "n": 3, "l": ["{{ ds }}", ("{{ ts }}", None)]}, "other": "{{ ds }}"}
    version = a_version(specs=[a_task(command="echo {{ ds }}", fields=fields)])
    rendered = Renderer(version).fields(version.tasks[0], context.build(version, version.tasks[0], a_run(version)))
    assert rendered["bash_command"] == "echo 2024-01-01"
    assert rendered["env"] == {"{{ ds }}": "2024-01-01", "n": 3, "l": ["2024-01-01", ("2024-01-01T00:00:00+00:00", None)]}
    assert rendered["other"] == "{{ ds }}"


@pytest.mark.parametrize("text", ["", "a\n", "a\n\n", "a\r\nb", "{ x }", "${x}", "a {x} b", "{\n}"])
def test_plain_text_renders_as_jinja_would(text: str) -> None:
    assert render(text) == render(text + "{# #}" if not text.endswith("\n") else "{# #}" + text)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ foo }}", "task a: env, line 1: unknown variable 'foo'"),
        ("\n\n{{ execution_dat }}", "line 3: unknown variable 'execution_dat'; did you mean execution_date?"),
        ("{% for i in [1] %}\n{{ i.x }}{% endfor %}", "line 2: 'int object' has no attribute 'x'"),
        ("{{ params.smaple }}", "line 1: there is no 'smaple' among sample; did you mean sample?"),
        ("{{ dag_run.conf.x }}", "line 1: there is no 'x' in it, since it is empty (values for params and conf are given by -p and --conf)"),
        ("{{ ", "task a: env, line 1: the template does not compile"),
        ("a\n{% if x %}", "line 2: the template does not compile: Unexpected end of template"),
        ("{{ ds | nosuch }}", "does not compile: No filter named 'nosuch'"),
        ("{{ 1/0 }}", "ZeroDivisionError: division by zero"),
        ("{{ ds + 1 }}", "TypeError"),
        ("{% include 'no.sh' %}", "there is no template file no.sh"),
        ("{{ var.value.gone }}", "Variable gone does not exist; `rqflow var set gone VALUE`, set AIRFLOW_VAR_GONE"),
        ("{{ var.json.bad }}", "JSONDecodeError"),
        ("{{ conn.gone.host }}", "Connection gone does not exist"),
        ("{{ conf.get('no', 'such') }}", "section/key [no/such] is not set"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ ti.log.root.manager }}", "'None' has no attribute 'root'"),
        ("{{ macros.time.sleep(9) }}", "time.sleep cannot be used in templates"),
        ("{{ macros.uuid.os.system('id') }}", "uuid.os cannot be used in templates"),
        ("{{ macros.dateutil.parser.io.open('/etc/passwd') }}", "cannot be used in templates"),
        ("{{ ti.xcom_pull('a', dag_id='other') }}", "not supported yet"),
    ],
)
def test_error_names_task_field_line_and_what_is_wrong(template: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_BAD", "{")
    assert message in failure(template, version=a_version(params={"sample": 1}))


def test_unknown_names_are_empty_where_the_version_says_so() -> None:
    version = a_version(undefined="empty")
    assert render("[{{ foo }}{{ params.foo }}]", version=version) == "[]"
    assert "'foo' is undefined" in failure("{{ foo.bar }}", version=version) or "unknown variable 'foo'" in failure("{{ foo.bar }}", version=version)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) if 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% for i in [1, 2] %}{{ f(n - 1) if n }}{% endfor %}{% endmacro %}{{ f(40) }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ range(99999) | map('string') | map('upper') | map('lower') | map('center', 900) | map('upper') | map('wordwrap', 2) | list | length }}",
        "{{ 'x' * 10**10 }}",
        "{{ [1] * 10**10 }}",
        "{{ 2 ** (10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 1000000000) }}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ 'x' | center(10**10) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
        "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
        "{% set ns = namespace(t='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
        "{% set ns = namespace(t='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
        "{% set l = [1] %}{% for i in range(40) %}{% do l.extend(l) %}{% endfor %}",
        "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}",
        "{% set x %}{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}{% endset %}",
        "{{ lipsum(10**6) }}",
    ],
)
def test_endless_and_huge_templates_end_within_the_limit(template: str) -> None:
    began = monotonic()
    failure(template, limit=0.2)
    assert monotonic() - began < 8


def test_limit_counts_from_each_render() -> None:
    version = a_version()
    renderer = Renderer(version, limit=timedelta(seconds=0.05))
    variables = context.build(version, version.tasks[0], a_run(version))
    slow = "{% for i in range(99999) %}{% for j in range(9) %}{% endfor %}{% endfor %}"
    for _ in range(2):
        with pytest.raises(TemplateError, match="takes longer"):
            renderer.value(slow, variables)
        assert renderer.value("{{ ds }}", variables) == "2024-01-01"


def test_waiting_for_what_another_task_left_is_no_endless_loop() -> None:
    """Redis may be behind a slow link, and the machine busy."""
    def of_redis(_: Collection[str] | None) -> dict[str, dict[str, str]]:
        sleep(0.2)
        return {"other": {"return_value": '"far"'}}

    version = a_version()
    renderer = Renderer(version, limit=timedelta(seconds=0.1))
    variables = context.build(version, version.tasks[0], a_run(version), xcoms=XComs(of_redis))
    assert renderer.value("{{ ti.xcom_pull('other') }} {{ ds | trim }}", variables) == "far 2024-01-01"


FILES = {"dags/x.sh": "echo {{ ds }}\n", "dags/lib/part.txt": "part {{ ds }}", ".rqflow-searchpath/0/q.sql": "select '{{ ds }}'", "y.bash": "top"}


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("x.sh", "bash_command", "echo 2024-01-01"),
        ("./x.sh", "bash_command", "echo 2024-01-01"),
        ("x.sh ", "bash_command", "x.sh "),
        ("y.bash", "bash_command", "top"),
        ("/x/y.sh", "bash_command", "/x/y.sh"),
        ("bash /x/y.sh", "bash_command", "bash /x/y.sh"),
        ("cd a && ./z.sh", "bash_command", "cd a && ./z.sh"),
        ("{{ ds }}.sh", "bash_command", "2024-01-01.sh"),
        ("q.sql", "sql", "select '2024-01-01'"),
        (["q.sql", "select 1"], "sql", ["select '2024-01-01'", "select 1"]),
        ("x.sh", "env", "x.sh"),
        ("{% include 'lib/part.txt' %}", "env", "part 2024-01-01"),
    ],
)
def test_template_files_are_found_beside_the_dag_file_and_in_the_searchpath(value: Any, field: str, expected: Any) -> None:
    version = a_version(file="dags/d.py", sources=FILES, template_searchpath=("/srv/sql",))
    assert render(value, field=field, version=version) == expected


@pytest.mark.parametrize("name", ["gone.sh", "../secret.sh", "lib/../../x.sh"])
def test_missing_template_file_is_named(name: str) -> None:
    assert f"there is no template file {name}" in failure(name, field="bash_command", version=a_version(file="dags/d.py", sources=FILES))


def test_error_in_an_included_file_names_it() -> None:
    version = a_version(sources={"part.txt": "a\n{{ foo }}"})
    assert "env, line 2 of part.txt: unknown variable 'foo'" in failure("{% include 'part.txt' %}", version=version)
    assert "does not compile" in failure("{% include 'bad' %}", version=a_version(sources={"bad": "{{"}))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ params.l }}", [1, 2]),
        ("{{ 1 + 1 }}", 2),
        ("{{ params.s }}-{{ 1 }}", "a-1"),
        ("1", 1),
        ("{{ None }}", None),
        ("{{ dag_run.conf }}", {"a": ["b;c"]}),
        ("{{ dag_run.conf['a'] }}", ["b;c"]),
    ],
)
def test_native_dags_get_values_in_place_of_text(template: str, expected: Any) -> None:
    value = render(template, version=a_version(render_native=True, params={"l": [1, 2], "s": "a"}), conf={"a": ["b;c"]})
    assert value == expected
    assert type(value) is type(expected)


def test_a_template_cannot_change_the_version() -> None:
    version = a_version(specs=[a_task(params={"t": [1]}, fields={"env": {"A": [1]}})], params={"l": [1]}, default_args={"d": [1]})
    change = "{% do params.l.append(2) %}{% do params.t.append(2) %}{% do dag.default_args.d.append(2) %}{% do task.env.A.append(2) %}"
    before = version._plain()
    assert render(change + "{{ params.l }}", version=version) == "[1, 2]"
    assert version._plain() == before


def test_autoescape_is_refused() -> None:
    assert "autoescape cannot be used" in failure("{% autoescape true %}{{ run_id }}{% endautoescape %}")


def test_own_functions_and_filters_are_used() -> None:
    version = a_version()
    renderer = Renderer(version, functions={"greet": lambda name: f"hi {name}", "ds": "hidden", "X": 1}, filters={"twice": lambda text: text * 2})
    variables = context.build(version, version.tasks[0], a_run(version))
    assert renderer.value("{{ greet('x') | twice }} {{ ds }} {{ X }}", variables) == "hi xhi x 2024-01-01 1"


def test_plain_fields_cost_nothing_and_common_ones_little() -> None:
    version = a_version(commands={"a": "echo {{ ds }}"})
    renderer, run = Renderer(version), a_run(version)

    def cost(action: Any, times: int = 300) -> float:
        def once() -> float:
            began = perf_counter()
            for _ in range(times):
                action()
            return (perf_counter() - began) / times

        return min(once() for _ in range(7))

    assert cost(lambda: renderer.value("true", {}, field="bash_command")) < 5e-6
    assert cost(lambda: renderer.fields(version.tasks[0], context.build(version, version.tasks[0], run))) < 100e-6


def test_renderer_forgets_old_templates() -> None:
    version = a_version()
    renderer = Renderer(version)
    variables = context.build(version, version.tasks[0], a_run(version, logical_date=datetime(2024, 2, 3, tzinfo=UTC)))
    assert {renderer.value(f"{{{{ ds }}}}{number}", variables) for number in range(600)} == {f"2024-02-03{number}" for number in range(600)}
