"""What can be seen of a version to be wrong before any of its tasks runs: templates and names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes

from rqflow.dag import context, template_files
from rqflow.dag.problems import Place, nearest, report
from rqflow.dag.sandbox import TaskEnvironment
from rqflow.dag.template import is_plain
from rqflow.dag.version import TaskSpec, Version

_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|\{[{%#]", re.DOTALL)


def check_text(version: Version, place: Place | None) -> bool:
    """Report at `place` the first text that UTF-8 cannot say, such as the name of a file that is no UTF-8; True when there is none."""
    try:
        version.json.encode()
    except UnicodeEncodeError as error:
        around = error.object[max(error.start - 30, 0):error.end + 10]
        report(f"DAG {version.dag_id} holds characters that are no Unicode text: …{ascii(around)[1:-1]}…", place)
        return False
    return True


class Checker:
    """Checks the templates of one DAG; the same expressions in thousands of tasks are looked at once."""

    def __init__(self, version: Version, *, functions: Collection[str] = (), filters: Mapping[str, Callable[..., Any]] | None = None) -> None:
        """Check for a DAG whose own macros are called `functions` and whose own filters are `filters`."""
        self._version = version
        self._environment = TaskEnvironment(filters=filters)
        self._known = {*context.names(), *functions, *self._environment.globals}
        self._seen: dict[tuple[str, ...], str] = {}

    def check(self, places: Mapping[str, Place]) -> None:
        """Report what is wrong, each at the line of its task in `places`."""
        for task in self._version.tasks:
            place = places.get(task.task_id)
            for kind, name in (("queue", task.queue), ("pool", task.pool)):
                if not _NAME.fullmatch(name):
                    report(f"task {task.task_id}: {kind} {name!r} may only hold letters, digits and _ . : @ -", place)
            if not task.unsupported:
                for field, text, file in self._templates(task):
                    self._check_template(text, f"task {task.task_id}: {field}{f' ({file})' if file else ''}", place)

    def _templates(self, task: TaskSpec) -> Iterator[tuple[str, str, str]]:
        """Give (field, text, template file) of each template of a task."""
        for field in task.template_fields:
            endings = template_files.ENDINGS.get(field, ())
            for text in template_files.texts(task.fields.get(field)):
                if endings and template_files.is_file_name(text, endings):
                    key = template_files.find(text, self._version)
                    if key is not None:
                        yield field, template_files.text_of(self._version.sources[key]), text
                else:
                    yield field, text, ""

    def _check_template(self, text: str, what: str, place: Place | None) -> None:
        if is_plain(text):
            return
        expressions = tuple(_EXPRESSION.findall(text))
        if self._seen.get(expressions) != "":
            self._seen[expressions] = wrong = self._wrong_with(text)
            if wrong:
                report(f"{what}: {wrong}", place)

    def _wrong_with(self, text: str) -> str:
        """Return what is wrong with a template; empty when nothing is."""
        try:
            tree = self._environment.parse(text)
            names = meta.find_undeclared_variables(tree) - self._known
        except TemplateSyntaxError as error:
            return f"line {error.lineno}: the template does not compile: {error.message}"
        except RecursionError:
            return "the template is nested too deeply"
        for include in meta.find_referenced_templates(tree):
            if include and template_files.find(include, self._version) is None:
                return f"there is no template file {include}"
        unknown = sorted(names - _guarded(tree)) if self._version.undefined != "empty" else []
        if not unknown:
            return ""
        line = next((node.lineno for node in tree.find_all(nodes.Name) if node.name == unknown[0]), 1)
        return f"line {line}: unknown variable {unknown[0]!r}{nearest(unknown[0], self._known)}"


def _guarded(tree: nodes.Template) -> set[str]:
    """Return the names whose absence a template provides for: `x is defined`, `x | default(…)`."""
    tests = (test.node for test in tree.find_all(nodes.Test) if test.name in {"defined", "undefined"})
    filters = (one.node for one in tree.find_all(nodes.Filter) if one.name in {"default", "d"})
    return {node.name for node in (*tests, *filters) if isinstance(node, nodes.Name)}
