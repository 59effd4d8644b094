"""Rendering the template fields of tasks, within limits, and with the protection of bash commands against values from outside."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import FunctionLoader, Template, TemplateNotFound, TemplateSyntaxError, UndefinedError

from rqflow import clock
from rqflow.dag import context as variables
from rqflow.dag import shell, taint, template_files
from rqflow.dag.problems import nearest
from rqflow.dag.sandbox import MAX_TEXT, NativeEnvironment, TaskEnvironment, TooMuch
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcomarg import XComArg
from rqflow.exceptions import TemplateError

#: Time of the processor that one field may take.
LIMIT = timedelta(seconds=1)
#: Fields whose text a shell reads.
PROTECTED = frozenset({"bash_command"})
_CACHED = 512
_MARKS = ("{{", "{%", "{#")


def is_plain(text: str) -> bool:
    """Tell whether `text` renders to itself."""
    return "{" not in text or not any(mark in text for mark in _MARKS)


class Renderer:
    """Renders the fields of the tasks of one version; keeps what it compiled. One render at a time, whatever the threads."""

    def __init__(
        self,
        version: Version,
        *,
        unsafe: bool = False,
        limit: timedelta | None = LIMIT,
        functions: Mapping[str, Any] | None = None,
        filters: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        """Render for `version`, each field within `limit` of the processor; `unsafe` lifts the protection of bash commands.

        `functions` and `filters` are the DAG's user_defined_macros and _filters, which only exist where its source is loaded.
        """
        self.version = version
        self._unsafe = unsafe
        self._limit = float("inf") if limit is None else limit.total_seconds()
        loader = FunctionLoader(self._included)
        options: dict[str, Any] = {"undefined": version.undefined, "loader": loader, "functions": functions, "filters": filters}
        self._environment = TaskEnvironment(**options)
        self._native = NativeEnvironment(**options) if version.render_native else self._environment
        self._compiled = lru_cache(_CACHED)(self._compile)
        self._lock = threading.Lock()

    def fields(self, task: TaskSpec, context: Mapping[str, Any], *, endings: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the arguments of `task` with its template fields rendered.

        `endings` are those by which values name template files, for operators of an author's own. Raises TemplateError naming task,
        field, line and what is wrong.
        """
        rendered = dict(task.fields)
        for name in task.template_fields:
            if name in rendered:
                rendered[name] = self.value(rendered[name], context, task_id=task.task_id, field=name, endings=endings)
        return rendered

    def value(
        self, value: Any, context: Mapping[str, Any], *, task_id: str = "", field: str = "", endings: Sequence[str] | None = None
    ) -> Any:
        """Return one template, or a list, tuple or mapping of them, rendered; other values as they are.

        The output of another task is what that task left, never a template.
        """
        if isinstance(value, XComArg):
            return taint.plain(value.resolve(context))
        if isinstance(value, str):
            ends = template_files.ENDINGS.get(field, ()) if endings is None else endings
            text = self._file(value, task_id, field) if ends and template_files.is_file_name(value, ends) else value
            return self._text(text, context, (task_id, field))
        if isinstance(value, list | tuple | set):
            items = [self.value(item, context, task_id=task_id, field=field, endings=endings) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, dict):
            return {key: self.value(item, context, task_id=task_id, field=field, endings=endings) for key, item in value.items()}
        return value

    def _file(self, name: str, task_id: str, field: str) -> str:
        """Return the text of the template file `name`, or `name` itself when it can only be a command."""
        text = self._included(name)
        if text is not None:
            return text
        if template_files.is_command(name):
            return name
        raise TemplateError(
            f"task {task_id}: {field}: there is no template file {name}",
            hint="Put it beside the DAG file or into template_searchpath; to run it as a command, write a blank after it.",
        )

    def _included(self, name: str) -> str | None:
        key = template_files.find(name, self.version)
        return None if key is None else template_files.text_of(self.version.sources[key])

    def _compile(self, text: str, native: bool) -> Template:
        return (self._native if native else self._environment).from_string(text)

    def _text(self, text: str, context: Mapping[str, Any], place: tuple[str, str]) -> Any:
        protected = place[1] in PROTECTED
        native = self.version.render_native and not protected
        if is_plain(text) and not native:
            return text.removesuffix("\n") if "\r" not in text else re.sub(r"\r\n?", "\n", text).removesuffix("\n")
        try:
            template = self._compiled(text, native)
        except TemplateSyntaxError as error:
            raise TemplateError(f"{_said(place, error.lineno)}: the template does not compile: {error.message}") from error
        except RecursionError as error:
            raise TemplateError(f"{_said(place)}: the template is nested too deeply") from error
        with self._lock:
            return self._run(template, context, place, protected=protected and not self._unsafe)

    def _run(self, template: Template, context: Mapping[str, Any], place: tuple[str, str], *, protected: bool) -> Any:
        environment = template.environment
        assert isinstance(environment, TaskEnvironment)
        environment.deadline = clock.thread_seconds() + self._limit
        stream = template.root_render_func(template.new_context(context, shared=True))  # type: ignore[arg-type]
        pieces: list[Any] = []
        size = 0
        try:
            for piece in stream:
                if protected and isinstance(piece, taint.Tainted):
                    _check(piece, pieces, _said(place, _line_of(template, stream)))
                pieces.append(piece)
                size += len(piece) if isinstance(piece, str) else 1
                if size > MAX_TEXT:
                    raise TooMuch(f"it makes a text of more than {MAX_TEXT:,} characters")
            return taint.plain(environment.concat(pieces))
        except TemplateError:
            raise
        except Exception as error:  # An author's expression may raise whatever it likes.
            raise _explained(error, place) from error
        finally:
            environment.deadline = float("inf")


def _check(piece: taint.Tainted, before: Sequence[Any], place: str) -> None:
    """Raise TemplateError when a shell would act on what came from outside in `piece`."""
    if piece.hot:
        shown = repr(taint.plain(piece))
        raise TemplateError(
            f"{place}: {piece.origin} comes from outside of the DAG and has characters that the shell would act on: "
            f"{shown if len(shown) < 100 else shown[:97] + '…'}",
            hint="Write {{ … | shquote }}, outside of quotes, or hand it over in env and use it as \"$NAME\".",
        )
    text = taint.plain(piece)
    for word in piece.quoted:
        at = text.find(word)
        while at >= 0:
            if where := shell.inside("".join(map(taint.plain, before)) + text[:at]):
                raise TemplateError(
                    f"{place}: {piece.origin} is spliced into {where}, where | shquote does not protect it",
                    hint="Take the quotes around {{ … | shquote }} away; it makes its own.",
                )
            at = text.find(word, at + 1)


def _said(place: tuple[str, str], line: int | None = None) -> str:
    """Return "task a: bash_command, line 3"."""
    task_id, field = place
    parts = [f"task {task_id}" if task_id else "", field]
    return ": ".join(part for part in parts if part) + (f", line {line}" if line else "")


def _line_of(template: Template, stream: Any) -> int | None:
    frame = getattr(stream, "gi_frame", None)
    return template.get_corresponding_lineno(frame.f_lineno) if frame is not None else None


def _line_in(trace: TracebackType | None) -> tuple[int | None, str]:
    """Return the line, and the file if it is an included one, of the innermost template in a traceback."""
    line, name = None, ""
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line, name = template.get_corresponding_lineno(trace.tb_lineno), template.name or ""
        trace = trace.tb_next
    return line, name


def _explained(error: Exception, place: tuple[str, str]) -> TemplateError:
    """Return the error that says what went wrong in a render, and where."""
    line, name = _line_in(error.__traceback__)
    said = _said(place, line) + (f" of {name}" if name else "")
    if isinstance(error, UndefinedError):
        unknown = re.fullmatch(r"'(\w+)' is undefined", error.message or "")
        what = f"unknown variable {unknown[1]!r}{nearest(unknown[1], variables.names())}" if unknown else str(error)
    elif isinstance(error, TemplateNotFound):
        what = f"there is no template file {error.name}"
    elif isinstance(error, TemplateSyntaxError):
        what = f"{error.name or 'an included template'} line {error.lineno} does not compile: {error.message}"
    elif isinstance(error, RecursionError):
        what = "it recurses too deeply"
    elif isinstance(error, KeyError) and error.args:
        what = str(error.args[0]) if " " in str(error.args[0]) else f"no key {error.args[0]!r}"
    elif isinstance(error, TooMuch):
        what = str(error)
    else:
        what = f"{type(error).__name__}: {error}"
    return TemplateError(f"{said}: {what}")
