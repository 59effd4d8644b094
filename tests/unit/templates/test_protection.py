"""Reliability 76: what is given at the trigger reaches bash as data."""

from __future__ import annotations

import base64
import shlex
import subprocess
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag import context
from rqflow.dag.template import Renderer
from rqflow.dag.xcom_view import XComs
from rqflow.exceptions import TemplateError
from tests.unit.builders import a_run, a_task, a_version

EVIL = "$(touch x); '\""
CONF: dict[str, Any] = {
    "x": EVIL,
    "ok": "abc-1.5",
    "list": [EVIL, "fine"],
    "keys": {EVIL: 1},
    "n": 3,
    "json": '{"a": "b;c"}',
    "encoded": "%24%28touch%20x%29",
    "tree": [{"n": "a", "sub": [{"n": EVIL, "sub": []}]}],
}
OWN_FILTERS = {
    "unquote": unquote,
    "b64": lambda text: base64.b64encode(text.encode()).decode(),
    "unb64": lambda text: base64.b64decode(text).decode(),
}
OWN_MACROS = {
    "wrap": lambda text: f"echo '{text}' | wc -c",
    "launder": lambda text: "".join(list(text)),
    "hold": lambda text: SimpleNamespace(text=text),
    "unquote": unquote,
}


def render(template: str, *, field: str = "bash_command", unsafe: bool = False, undefined: str = "error", **changes: Any) -> Any:
    """Render `template` as a field of a DAG with own macros and filters, for a run with CONF."""
    version = a_version(specs=[a_task()], params={"author": "a && b", "sample": "s1"}, undefined=undefined)
    run = a_run(version, **{"conf": CONF, "params": {"author": "a && b", "sample": EVIL}, "run_id": EVIL, "note": EVIL, **changes})
    texts = {"up": {"return_value": '"a;b"', "list": '["x", "y z"]'}}
    variables = context.build(
        version, version.tasks[0], run, xcoms=XComs.of(texts), variables={"v": EVIL, "j": '{"k": "`id`"}'},
        connections={"c": "mysql://me:p%24%28x%29@host/db?a=b"},
    )
    renderer = Renderer(version, unsafe=unsafe, functions=OWN_MACROS, filters=OWN_FILTERS)
    return renderer.value(template, variables, task_id="a", field=field)


@pytest.mark.parametrize(
    "template",
    [
        "{{ dag_run.conf.x }}",
        "{{ dag_run.conf['x'] }}",
        "{{ dag_run.conf.get('x') }}",
        "{{ dag_run.conf.get('nothing', dag_run.conf.x) }}",
        "{{ dag_run.conf }}",
        "{{ dag_run.conf.list }}",
        "{{ dag_run.conf.list[0] }}",
        "{{ params.sample }}",
        "{{ params }}",
        "{{ run_id }}",
        "{{ dag_run.run_id }}",
        "{{ dag_run.note }}",
        "{{ ti.run_id }}",
        "{{ dag_run }}",
        "{{ ti }}",
        "{{ ti.xcom_pull('up') }}",
        "{{ task_instance.xcom_pull(task_ids=['up'])[0] }}",
        "{{ ti.xcom_pull(key='return_value') }}",
        "{{ var.value.v }}",
        "{{ var.value.get('v') }}",
        "{{ var.value.get('nothing', run_id) }}",
        "{{ var.json.j.k }}",
        "{{ conn.c.password }}",
        "{{ conn.get('c').get_password() }}",
        "{{ dag_run.conf.x | upper }}",
        "{{ dag_run.conf.x.lower() }}",
        "{{ dag_run.conf.x | replace('touch', 'rm') }}",
        "{{ 'A' | replace('A', dag_run.conf.x) }}",
        "{{ 'A'.replace('A', dag_run.conf.x) }}",
        "{{ 'echo ' ~ dag_run.conf.x }}",
        "{{ 'echo ' + dag_run.conf.x }}",
        "{{ dag_run.conf.x + '' }}",
        "{{ dag_run.conf.x * 2 }}",
        "{{ '%s' % dag_run.conf.x }}",
        "{{ '%s %s' % (1, dag_run.conf.x) }}",
        "{{ '%(x)s' % dag_run.conf }}",
        "{{ '%s' | format(dag_run.conf.x) }}",
        "{{ '{}'.format(dag_run.conf.x) }}",
        "{{ '{0[x]}'.format(dag_run.conf) }}",
        "{{ '{x}'.format_map(dag_run.conf) }}",
        "{{ dag_run.conf.x.format() }}",
        "{{ dag_run.conf.list | join(' ') }}",
        "{{ ' '.join(dag_run.conf.list) }}",
        "{{ dag_run.conf.x.join(['a', 'b']) }}",
        "{{ ['a', 'b'] | join(dag_run.conf.x) }}",
        "{% for c in dag_run.conf.x %}{{ c }}{% endfor %}",
        "{% for c in dag_run.conf.x | list %}{{ c }}{% endfor %}",
        "{{ dag_run.conf.x | list | join }}",
        "{{ dag_run.conf.x[0] }}",
        "{{ dag_run.conf.x[:5] }}",
        "{{ dag_run.conf.x[::-1] }}",
        "{{ dag_run.conf.x | first }}",
        "{{ dag_run.conf.x | reverse }}",
        "{{ dag_run.conf.x | last }}",
        "{% for k in dag_run.conf['keys'] %}{{ k }}{% endfor %}",
        "{% for k, v in dag_run.conf.items() %}{{ v }}{% endfor %}",
        "{% for k, v in dag_run.conf | dictsort %}{{ v }}{% endfor %}",
        "{{ dag_run.conf.list | map('upper') | join(',') }}",
        "{{ dag_run.conf.list | select | first }}",
        "{{ [dag_run.conf] | map(attribute='x') | first }}",
        "{{ dag_run | attr('run_id') }}",
        "{{ dag_run.conf.values() }}",
        "{{ dag_run.conf.values() | join }}",
        "{{ dag_run.conf.list | reverse | join }}",
        "{{ ' '.join(dag_run.conf.list | map('trim')) }}",
        "{{ hold(dag_run.conf.x) }}",
        "{{ [hold(dag_run.conf.x)] }}",
        "{{ namespace(a=dag_run.conf.x) }}",
        "{{ namespace(a=dag_run.conf.x).a }}",
        "{% for k in dict(**dag_run.conf['keys']) %}{{ k }}{% endfor %}",
        "{% for t in dag_run.conf.tree recursive %}{{ t.n }}{{ loop(t.sub) }}{% endfor %}",
        "{% set y = dag_run.conf.x %}{{ y }}",
        "{% set y %}echo {{ dag_run.conf.x }}{% endset %}{{ y }}",
        "{% set y | upper %}{{ dag_run.conf.x }}{% endset %}{{ y | lower }}",
        "{% filter upper %}{{ dag_run.conf.x }}{% endfilter %}",
        "{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(dag_run.conf.x) | replace('<', '') }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ dag_run.conf.x }}{% endcall %}",
        "{% block b %}{{ dag_run.conf.x }}{% endblock %}",
        "{% block b %}{{ dag_run.conf.x }}{% endblock %}{{ self.b() }}",
        "{% set ns = namespace(v='') %}{% for c in dag_run.conf.x %}{% set ns.v = ns.v ~ c %}{% endfor %}{{ ns.v }}",
        "{% set l = [] %}{% do l.append(dag_run.conf.x) %}{{ l[0] }}",
        "{% with y = dag_run.conf.x %}{{ y }}{% endwith %}",
        "{{ dag_run.conf.x or 'a' }}",
        "{{ 'a' if not dag_run.conf.x else dag_run.conf.x }}",
        "{{ (dag_run.conf.x, 1) }}",
        "{{ dict(a=dag_run.conf.x) }}",
        "{{ dict(a=dag_run.conf.x).a }}",
        "{{ cycler(dag_run.conf.x).next() }}",
        "{% for i in [1] %}{{ loop.cycle(dag_run.conf.x) }}{% endfor %}",
        "{{ dag_run.conf.x | default('a') }}",
        "{{ dag_run.conf.nothing | default(dag_run.conf.x) }}",
        "{{ dag_run.conf | tojson }}",
        "{{ dag_run.conf.x | tojson }}",
        "{{ dag_run.conf.x | string }}",
        "{{ dag_run.conf.x | trim }}",
        "{{ dag_run.conf.x | center(80) }}",
        "{{ dag_run.conf.x | indent }}",
        "{{ dag_run.conf.x | truncate(8) }}",
        "{{ dag_run.conf.x | wordwrap(5) }}",
        "{{ dag_run.conf.x | e }}",
        "{{ dag_run.conf.x | safe }}",
        "{{ dag_run.conf.x | pprint }}",
        "{{ dag_run.conf.x | batch(100) | first | join }}",
        "{{ dag_run.conf.list | sort | first }}",
        "{{ dag_run.conf.list | unique | list }}",
        "{{ dag_run.conf.list | groupby(0) | list }}",
        "{{ dag_run.conf.list | max ~ dag_run.conf.list | min }}",
        "{{ dag_run.conf.x.split(' ')[0] }}",
        "{{ dag_run.conf.x.partition(' ')[0] }}",
        "{{ dag_run.conf.x.encode().decode() }}",
        "{{ dag_run.conf.x.encode() }}",
        "{{ dag_run.conf.x.title().swapcase().zfill(50) }}",
        "{{ dag_run.conf.json | replace(' ', '') }}",
        "{{ macros.json.loads(dag_run.conf.json).a }}",
        "{{ macros.json.dumps(dag_run.conf) }}",
        "{{ logical_date.strftime(dag_run.conf.x) }}",
        "{{ macros.ds_format(ds, '%Y-%m-%d', dag_run.conf.x) }}",
        "{{ wrap(dag_run.conf.x) }}",
        "{{ launder(dag_run.conf.x) }}",
        "{{ hold(dag_run.conf.x).text }}",
        "{{ unquote(dag_run.conf.encoded) }}",
        "{{ dag_run.conf.encoded | unquote }}",
        "{{ dag_run.conf.ok ~ (dag_run.conf.x | b64 | unb64) }}",
        "{{ dag_run.conf.x | shquote | replace(\"'\", '') }}",
        "{{ (dag_run.conf.x | shquote)[1:-1] }}",
        "{{ ('--a=' ~ (dag_run.conf.x | shquote)) | replace(\"'\", '') }}",
        "{{ dag_run.conf.x | shquote | upper }}",
        "{{ '%.4s' | format(dag_run.conf.x | shquote) }}",
        "echo '{{ dag_run.conf.x | shquote }}'",
        'echo "{{ dag_run.conf.x | shquote }}"',
        "echo `echo {{ dag_run.conf.x | shquote }}`",
        "cat <<END\n{{ dag_run.conf.x | shquote }}\nEND",
        "true # {{ dag_run.conf.x | shquote }}",
    ],
)  # fmt: skip
def test_value_from_outside_is_refused_in_a_bash_command(template: str) -> None:
    with pytest.raises(TemplateError, match=r"task a: bash_command.*(comes from outside|spliced into)"):
        render(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ params.author }}", "a && b"),
        ("{{ params.get('author') }}", "a && b"),
        ("{{ dag_run.conf.ok }}", "abc-1.5"),
        ("{{ '$HOME/' ~ dag_run.conf.ok }}", "$HOME/abc-1.5"),
        ("{{ ('$HOME/' ~ dag_run.conf.ok) | upper }}", "$HOME/ABC-1.5"),
        ("{{ wrap(dag_run.conf.ok) }}", "echo 'abc-1.5' | wc -c"),
        ("{{ '\"%s\"' % dag_run.conf.ok }}", '"abc-1.5"'),
        ("{{ dag_run.conf.n + 1 }}", "4"),
        ("{{ dag_run.conf.x | length }}", str(len(EVIL))),
        ("{{ dag_run.conf.x | b64 }}", base64.b64encode(EVIL.encode()).decode()),
        ("{{ dag_run.conf.x | replace(EVIL, 'x') if 0 else 'a;b' }}", "a;b"),
        ("{% for t in dag_run.conf.tree recursive %}{{ '; ' }}{{ loop(t.sub) }}{% endfor %}", "; ; "),
        ("{{ 'yes; no' if dag_run.conf.x else '' }}", "yes; no"),
        ("{{ dag_run.conf.get('nothing', 'a;b') }}", "a;b"),
        ("{{ var.value.get('nothing', 'a;b') }}", "a;b"),
        ("{{ cycler('a;b', dag_run.conf.x).next() }}", "a;b"),
        ("{{ ['a;b', dag_run.conf.x][0] }}", "a;b"),
        ("{{ ['a;b', dag_run.conf.x] | first }}", "a;b"),
        ("{{ dict(a='x;y', b=dag_run.conf.x).a }}", "x;y"),
        ("{{ dag_run.conf.x | urlencode }}", "%24%28touch%20x%29%3B%20%27%22"),
        ("{{ ti.xcom_pull('up', key='list') | last }}", "y z"),
        ("{{ dag_run.conf.list | map('shquote') | join(' ') }}", f"{shlex.quote(EVIL)} fine"),
        ("{{ '--a=%s' | format(dag_run.conf.x | shquote) }}", f"--a={shlex.quote(EVIL)}"),
        ("{{ '--a=' ~ (dag_run.conf.x | shquote) }}", f"--a={shlex.quote(EVIL)}"),
        ('x="$(cat {{ dag_run.conf.x | shquote }})"', f'x="$(cat {shlex.quote(EVIL)})"'),
        ("# it's\necho {{ dag_run.conf.x | shquote }}", f"# it's\necho {shlex.quote(EVIL)}"),
        ("echo '{{ dag_run.conf.ok | shquote }}'", "echo 'abc-1.5'"),
        ("{{ params.author | shquote }}", "'a && b'"),
    ],
)
def test_harmless_values_and_quoted_ones_render_as_in_airflow(template: str, expected: str) -> None:
    assert render(template) == expected
    assert type(render(template)) is str


def test_refusal_names_field_line_value_and_the_way_out() -> None:
    with pytest.raises(TemplateError) as caught:
        render("true\n\necho {{ dag_run.conf['x'] }}")
    assert str(caught.value).startswith("task a: bash_command, line 3: dag_run.conf['x'] comes from outside of the DAG")
    assert "shquote" in caught.value.hint


def test_refusal_shows_the_value_as_it_is_written() -> None:
    with pytest.raises(TemplateError, match="act on: 'grün; \\\\x1b'"):
        render("echo {{ dag_run.conf.y }}", conf={"y": "grün; \x1b"})


def test_setting_lifts_the_protection() -> None:
    assert render("{{ dag_run.conf.x }}", unsafe=True) == EVIL


@pytest.mark.parametrize("value", ["Hello World", "a/b c.txt", "näher, 50 %", "2024-01-01T00:00:00+00:00", "k=v", "日本"])
def test_values_without_shell_characters_pass_raw(value: str) -> None:
    assert render("echo {{ dag_run.conf.m }}", conf={"m": value}) == f"echo {value}"


@pytest.mark.parametrize(
    "value", ["a\nb", "a;b", "a|b", "a&b", "`a`", "$a", "a>b", "a\\b", "~a", "*", "{a,b}", "a'b", 'a"b', "a\0b", "!a", "#a", "\x1b[0m", "\ud800"]
)
def test_values_with_a_shell_character_are_refused(value: str) -> None:
    with pytest.raises(TemplateError, match="comes from outside"):
        render("echo {{ dag_run.conf.m }}", conf={"m": value})


def test_environment_carries_the_value_to_the_letter() -> None:
    rendered = render({"X": "{{ dag_run.conf.x }}", "Y": "{{ dag_run.conf }}"}, field="env")  # type: ignore[arg-type]
    assert rendered == {"X": EVIL, "Y": str(CONF)}
    assert {type(value) for value in rendered.values()} == {str}


def test_template_file_is_protected_too() -> None:
    version = a_version(specs=[a_task(command="x.sh")], sources={"x.sh": "true\necho {{ run_id }}\n"})
    variables = context.build(version, version.tasks[0], a_run(version, run_id="$(id)"))
    with pytest.raises(TemplateError, match="line 2: run_id comes from outside"):
        Renderer(version).fields(version.tasks[0], variables)


def test_nul_cannot_be_quoted() -> None:
    with pytest.raises(TemplateError, match="NUL"):
        render("{{ dag_run.conf.m | shquote }}", conf={"m": "a\0b"})


def test_native_rendering_does_not_lose_the_protection() -> None:
    version = a_version(specs=[a_task(command="echo {{ dag_run.conf.x }}")], render_native=True)
    variables = context.build(version, version.tasks[0], a_run(version, conf=CONF))
    with pytest.raises(TemplateError, match="comes from outside"):
        Renderer(version).fields(version.tasks[0], variables)


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(words)
def test_quoted_value_reaches_a_command_to_the_letter(value: str) -> None:
    command = render("printf %s {{ dag_run.conf.m | shquote }}", conf={"m": value})
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout.decode() == value


@given(words)
def test_what_renders_raw_prints_as_itself(value: str) -> None:
    try:
        command = render("echo pre-{{ dag_run.conf.m }}-post", conf={"m": value})
    except TemplateError:
        return
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode().split() == f"pre-{value}-post".split(" ") or done.stdout.decode().split() == f"pre-{value}-post".split()
    assert done.stderr == b""
