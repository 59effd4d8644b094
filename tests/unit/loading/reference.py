"""The reference page of airflow's names, made from the tables: python -m tests.unit.loading.reference > docs/reference/airflow-names.md"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rqflow.dag import context, macros
from rqflow.dag.airflow.names import NAMES

HEAD = """\
# Names of Airflow

What a file may take of `airflow`, of all generations at once, without any airflow being installed. Every other name is a stand-in: it
imports, takes any arguments, keeps its place in the graph, and `dag validate` lists it where it is used. A class that is called
`…Operator`, `…Sensor` or `…Transfer`, or is given a `task_id`, becomes a task that fails when it is run and says why; `.partial(…).expand(…)`
of such a class becomes one task. `@task` functions are such tasks for now, with their edges; `@dag`, `@task_group` and `@task.sensor` work. A
stand-in that a task's own function uses fails that task; `dag validate` warns of it.

This page is made from `rqflow/dag/airflow/names.py` and `rqflow/dag/context.py`; a test compares them.

## The generation of a file

| imports | generation | no schedule | data interval | unknown name in a template | dates print as |
|---|---|---|---|---|---|
| `rqflow` | native | none | from one date to the next | error | `2024-01-31 00:00:00+00:00` |
| `airflow.sdk`, `airflow.providers.standard…` | 3 | none | empty | error | `2024-01-31 00:00:00+00:00` |
| names that came with Airflow 2 (`airflow.operators.bash`, `airflow.decorators`, `airflow.providers…`), or none that tell | 2 | daily | from one date to the next | error | `2024-01-31 00:00:00+00:00` |
| only old names (`airflow.operators.bash_operator`, `from airflow.operators import …`, `airflow.contrib…`) | 1 | daily | from one date to the next | empty | `2024-01-31T00:00:00+00:00` |

## Names

| name | modules |
|---|---|
"""
TEMPLATES = """
## In templates

Jinja2, sandboxed, one second at most a field. These are the variables; a callable gets them by the names of its arguments, or all of
them as `**context`:

{variables}

`macros` has {macros}. Filters besides Jinja2's: {filters}, and `shquote`, which makes one shell word of a value.

Dates are `pendulum.DateTime` when pendulum is installed (`pip install 'rqflow[airflow]'`), else datetimes with its most used methods:
`add`, `subtract`, `start_of`, `end_of`, `in_timezone`, `format`, `to_date_string`, `to_datetime_string`, `int_timestamp` and others.

Variables (`var.value.x`, `var.json.x`, `Variable.get`) and Connections (`conn.x`, `BaseHook.get_connection`) are read from
`AIRFLOW_VAR_X` and `AIRFLOW_CONN_X`, or with `RQFLOW_` in front; `conf.get(section, key)` from `AIRFLOW__SECTION__KEY`.

## Values from outside in bash commands

What the author of a DAG did not write (conf, params given at the trigger, run_id, XComs, Variables, Connections) is data. Spliced into
`bash_command` with characters that the shell acts on, it fails the task with a message that names the value. Blanks pass: they can split
a word, not start anything; write `--` before a value that might begin with a dash. Two ways carry any value to the letter:

```python
BashOperator(task_id="a", bash_command="wc -c {{{{ params.file | shquote }}}}")
BashOperator(task_id="b", bash_command='wc -c "$FILE"', env={{"FILE": "{{{{ params.file }}}}"}}, append_env=True)
```

`shquote` makes its own quotes, so it must stand outside of quotes, comments and here-documents; inside of them it is refused. What a
filter or macro computes from such a value is data too. `core.unsafe_templates` lifts the protection. Other fields are not protected.
"""


def names() -> Mapping[str, list[str]]:
    """{name: modules that have it}, in the order of the table."""
    found: dict[str, list[str]] = {}
    for module, table in NAMES.items():
        for name in table:
            found.setdefault(name, []).append(module)
    return found


def page() -> str:
    """The whole page."""
    rows = [f"| `{name}` | {', '.join(f'`{module}`' for module in modules)} |" for name, modules in sorted(names().items())]
    variables = ", ".join(f"`{name}`" for name in sorted(context.names()))
    of_macros = ", ".join(f"`{name}`" for name in sorted(vars(macros.NAMESPACE)))
    filters = ", ".join(f"`{name}`" for name in macros.FILTERS)
    return HEAD + "\n".join(rows) + "\n" + TEMPLATES.format(variables=variables, macros=of_macros, filters=filters)


if __name__ == "__main__":
    sys.stdout.write(page())
