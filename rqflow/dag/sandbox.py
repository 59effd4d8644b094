"""The Jinja2 environment of task templates: sandboxed, with limits of time and size, and following values from outside.

Each place where a template computes text is a hook here (filters, calls, operators, `~`, buffers), so that the marks of taint.py
survive whatever an author does with a value. The deadline is looked at in each turn of a loop, each call and each filter; single
operations that could take for ever by themselves are limited in size.
"""

from __future__ import annotations

import functools
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.ext import do
from jinja2.loaders import BaseLoader
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from rqflow import clock
from rqflow.dag import macros, taint
from rqflow.dag.problems import nearest

T = TypeVar("T")

#: No template makes more text, or a longer list, than this.
MAX_TEXT = 10_000_000
MAX_ITEMS = 1_000_000
_MAX_BITS = 10_000

#: Filters of Jinja2 that hand elements on as they are, and those that take a number as a size.
_PRECISE = frozenset({
    "attr", "batch", "count", "d", "default", "dictsort", "first", "groupby", "items", "last", "length", "list", "map", "max", "min", "random",
    "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
})  # fmt: skip
_SIZED = frozenset({"batch", "center", "indent", "slice", "wordwrap"})


class TooMuch(Exception):
    """A template takes too long, or makes too much."""


class Unknown(StrictUndefined):
    """What an unknown name is: an error as soon as it is used, which tells what is there."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Mapping) and not self._undefined_hint:
            name, known = str(self._undefined_name), [str(key) for key in self._undefined_obj]
            if not known:
                return f"there is no {name!r} in it, since it is empty (values for params and conf are given by -p and --conf)"
            return f"there is no {name!r} among {', '.join(sorted(known)[:10])}{nearest(name, known)}"
        if isinstance(self._undefined_obj, macros.Shown):
            return self._undefined_obj.refusal(str(self._undefined_name))
        return super()._undefined_message


class TaskContext(Context):
    """Looks names up in the variables of a try without copying them, then among Jinja2's and the DAG's own functions."""

    def resolve_or_missing(self, key: str) -> Any:
        """Return the value of a name, or `missing`."""
        found = super().resolve_or_missing(key)
        return self.environment.globals.get(key, missing) if found is missing else found


class _Adapt(NodeTransformer):
    """Put a look at the deadline into each loop, and our joining in place of Jinja2's for `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (the name is Jinja2's)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("check", [], node.lineno), lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("join_values", node.nodes, node.lineno)

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:  # noqa: N802
        """Refuse `{% autoescape %}`: it makes text of another kind, which loses its marks."""
        raise TemplateSyntaxError("autoescape cannot be used in the templates of tasks; use the filter e", node.lineno)


def _call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name, lineno=line), arguments, [], None, None, lineno=line)


class TaskEnvironment(SandboxedEnvironment):
    """Compiles and runs the templates of one DAG."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    context_class = TaskContext

    def __init__(
        self, *, undefined: str = "error", loader: BaseLoader | None = None, functions: Mapping[str, Any] | None = None,
        filters: Mapping[str, Callable[..., Any]] | None = None, finalize: Callable[[Any], Any] | None = taint.show,
    ) -> None:  # fmt: skip
        """Make an environment. Unknown names fail, or are '' when `undefined` is "empty"; `functions` and `filters` are the DAG's own."""
        kind = Undefined if undefined == "empty" else Unknown
        super().__init__(undefined=kind, finalize=finalize, loader=loader, cache_size=64, auto_reload=False, extensions=[do])
        #: In seconds of the processor that the thread which renders has used; infinite outside of a render with a limit. What it waits for a
        #: value from Redis, or for its turn on a busy machine, says nothing of a template.
        self.deadline = float("inf")
        del self.globals["lipsum"]
        self.globals.update(functions or {})
        built_in = {name: self._follow(function, name) for name, function in self.filters.items()}
        own = {name: self._follow(function, "") for name, function in {**macros.FILTERS, **(filters or {})}.items()}
        self.filters = {**built_in, "shquote": taint.quote, **own}

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Return what a block or macro wrote as one text."""
        return _limited(taint.join(pieces))

    def check(self) -> None:
        """Raise TooMuch when the deadline is over."""
        if clock.thread_seconds() > self.deadline:
            raise TooMuch("it takes longer than the limit for templates; look for an endless loop")

    def join_values(self, *values: Any) -> str:
        """Return the values as one text: what `~` does."""
        return _limited(taint.join(taint.show(value) for value in values))

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        """Adapt a template's tree before it is compiled (a hook of Jinja2)."""
        return super()._generate(_Adapt().visit(source), name, filename, defer_init)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as Jinja2 has it, so that no keyword clashes)
        """Call what a template calls, and follow values from outside through it."""
        __self.check()
        args = tuple(map(taint.settled, args))
        bound = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        of_text = isinstance(bound, str | bytes)
        if of_text or isinstance(bound, list):
            _check_method(__obj, bound, args)
        result = super().call(__context, __obj, *args, **kwargs)
        if _hands_on(__obj, bound) and not isinstance(result, bytes):
            return result
        inputs = [*taint.find(bound if of_text else None), *taint.find(args), *taint.find(kwargs)]
        return taint.spread(result, inputs, textual=of_text, passed=(*args, *kwargs.values()))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right` within limits of size."""
        _check_operands(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, list | tuple):
            return result
        return taint.spread(result, [*taint.find(left), *taint.find(right)], textual=True)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse private attributes, and modules that some object happens to hold."""
        return super().is_safe_attribute(obj, attr, value) and not isinstance(value, ModuleType)

    def _follow(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a filter (one of Jinja2's when it has a `name`) that looks at the deadline and marks what it makes of marked values."""

        @functools.wraps(function)
        def follow(*args: Any, **kwargs: Any) -> Any:
            self.check()
            args = tuple(map(taint.settled, args))
            if name in _SIZED or name in {"replace", "format"}:
                _check_filter(name, args, kwargs)
            result = function(*args, **kwargs)
            if name in _PRECISE:
                return result
            return taint.spread(_limited(result), [*taint.find(args), *taint.find(kwargs)], textual=bool(name))

        return follow


class NativeEnvironment(TaskEnvironment):
    """Gives values in place of text, for DAGs with render_template_as_native_obj."""

    code_generator_class = NativeCodeGenerator

    def __init__(self, **options: Any) -> None:
        """Make an environment; the options are TaskEnvironment's."""
        super().__init__(**options, finalize=None)

    @staticmethod
    def concat(pieces: Iterable[Any]) -> Any:
        """Return a single value as it is, and text that reads like a Python literal as what it says."""
        parts = list(pieces)
        if not parts:
            return None
        if len(parts) == 1 and not isinstance(parts[0], str):
            return parts[0]
        text = _limited(taint.join(taint.show(part) for part in parts))
        try:
            value = literal_eval(taint.plain(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return taint.spread(value, list(taint.find(text)), textual=False)


def _hands_on(called: Any, bound: Any) -> bool:
    """Tell whether a call returns elements as they are, each with its own mark: containers, loops, classes, our views, template macros."""
    if isinstance(called, type | Macro | LoopContext | BlockReference):
        return True
    return isinstance(bound, dict | list | tuple | set | LoopContext | TaskEnvironment) or hasattr(type(bound), "outside_values")


def _limited(result: T) -> T:
    if isinstance(result, str) and len(result) > MAX_TEXT:
        raise TooMuch(f"it makes a text of more than {MAX_TEXT:,} characters")
    return result


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Raise TooMuch when `left operator right` would take too long or too much memory in one step."""
    if operator == "**" and isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise TooMuch("it computes a number that is too large")
    sizes = [len(side) for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
    if operator == "*" and sizes:
        sizes = [sizes[0] * next((side for side in (left, right) if isinstance(side, int)), 1)]
    if operator in {"+", "*"} and sum(sizes) > (MAX_TEXT if isinstance(left, str) or isinstance(right, str) else MAX_ITEMS):
        raise TooMuch("it makes a text or a list that is too long")
    if operator == "%" and isinstance(left, str):
        _check_format(left, right if isinstance(right, tuple) else (right,))


def _check_format(text: str, values: Iterable[Any]) -> None:
    widths = [int(number) for number in re.findall(r"\d{1,18}", text)]
    widths += [value for value in values if isinstance(value, int) and ("*" in text or "{" in text)]
    if any(width > MAX_ITEMS for width in widths):
        raise TooMuch("it formats to a text that is too long")


def _check_method(method: Any, bound: Any, args: tuple[Any, ...]) -> None:
    """Raise TooMuch for a call of a method of a text or list whose result would be too long."""
    name = getattr(method, "__name__", "")
    if isinstance(bound, list):
        more = max((len(arg) for arg in args if isinstance(arg, list | str)), default=0)
        if name in {"extend", "append", "insert"} and len(bound) + more > MAX_ITEMS:
            raise TooMuch("it makes a list that is too long")
    elif name in {"format", "format_map"} and isinstance(bound, str):
        _check_format(bound, args)
    elif any(isinstance(arg, int) and arg > MAX_ITEMS for arg in args):
        raise TooMuch("it makes a text that is too long")
    elif name == "replace" and len(args) > 1:
        _check_replace(bound, args[0], args[1])


def _check_filter(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    texts = [arg for arg in args if isinstance(arg, str)]
    if name == "format" and texts:
        _check_format(texts[0], (*args, *kwargs.values()))
    elif name == "replace" and len(texts) == 3:
        _check_replace(*texts)
    elif any(isinstance(value, int) and value > MAX_ITEMS for value in (*args, *kwargs.values())):
        raise TooMuch(f"the filter {name} makes a text or a list that is too long")


def _check_replace(text: Any, old: Any, new: Any) -> None:
    if text.count(old) * len(new) > MAX_TEXT:
        raise TooMuch("it makes a text that is too long")
