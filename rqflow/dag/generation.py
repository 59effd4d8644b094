"""Which generation of Airflow a DAG file is made for: its imports tell.

1, 2 or 3; "native" for a file that imports rqflow. Defaults that changed over the generations (schedule, data interval, unknown names
in templates) follow from it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

NATIVE = "native"

_THIRD = re.compile(r"airflow\.(sdk|providers\.standard|providers\.common\.compat\.sdk|assets|task)(\.|$)")
#: What came with Airflow 2.
_SECOND = re.compile(
    r"airflow\.(decorators|datasets|providers|timetables|listeners|triggers|utils\.(task_group|edgemodifier|session|context)|models\.(param|xcom_arg)|"
    r"sensors\.(base|python|bash|date_time|time_delta|external_task|filesystem|weekday|time_sensor)|hooks\.(base|filesystem|subprocess)|"
    r"operators\.(bash|branch|datetime|dummy|email|empty|generic_transfer|latest_only|python|smooth|sql|subdag|trigger_dagrun|weekday))(\.|$)"
)
#: What Airflow 2 keeps only as an old name, or dropped.
_FIRST = re.compile(
    r"airflow\.(contrib|operators\.\w+_operators?|operators\.(sensors|docker_operator|[A-Z]\w*)|sensors\.\w+_sensors?|hooks\.\w+_hooks?|"
    r"hooks\.[A-Z]\w*|utils\.apply_defaults|executors\.celery_executor)(\.|$)"
)
_FIRST_NAMES = {"airflow.utils.decorators.apply_defaults", "airflow.utils.helpers.chain", "airflow.utils.helpers.cross_downstream"}


def generation_of(*texts: str | bytes) -> str | None:
    """Return the generation that the imports of source texts tell; None when they import neither rqflow nor airflow.

    Bytes are read as their coding line says. Raises SyntaxError, and ValueError for NUL characters.
    """
    names = {name for text in texts for name in _imported(ast.parse(text))}
    if any(name.split(".")[0] == "rqflow" for name in names):
        return NATIVE
    names = {name for name in names if name.split(".")[0] == "airflow"}
    if not names:
        return None
    if any(map(_THIRD.match, names)):
        return "3"
    if any(map(_SECOND.match, names)):
        return "2"
    return "1" if any(map(_FIRST.match, names)) or names & _FIRST_NAMES else "2"


def _imported(tree: ast.Module) -> Iterator[str]:
    """Give each imported module and name, dotted, and attributes of the package: `airflow.operators.BashOperator`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            dotted = _dotted(node)
            if dotted.startswith("airflow."):
                yield dotted


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        outer = _dotted(node.value)
        return f"{outer}.{node.attr}" if outer else ""
    return node.id if isinstance(node, ast.Name) else ""
