"""Values from outside that remember where they came from: what was given at the trigger, XComs, Variables, Connections.

The author's signature does not cover them, so they must reach bash as data (architecture section 10). Each string among them is
`Tainted`; what a template computes from tainted strings is tainted again. A tainted string is *hot* when characters that the shell acts
on may have come from outside; a hot piece spliced into a bash command fails the task. `| shquote` makes it cold as long as the quoted
text stays whole.

Only text is followed. Numbers, booleans and dates cannot hold shell characters.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from types import FunctionType, ModuleType
from typing import Any

#: What bash acts on when it stands unquoted, or inside double quotes: all of ASCII's signs but `% + , - . / : = @ _`, and control
#: characters but the tab. Blanks may split a word in two, they never start anything, so values with blanks render as in Airflow.
SHELL_CHARACTERS = re.compile(r"[\x00-\x08\x0a-\x1f!-$&-*;<>?\[-^`{-\x9f\ud800-\udfff]")
_MAX_DEPTH = 20
#: The attributes of objects in containers are looked at down to this depth, those of objects in them never: they may lead anywhere.
_OBJECT_DEPTH = 10


class Tainted(str):
    """Text from outside, or computed from such text. Equal to, and hashed as, the plain text."""

    __slots__ = ("hot", "origin", "quoted")

    #: How a template names the value: "params.x", "dag_run.conf['x']".
    origin: str
    #: Whether shell characters in it may come from outside.
    hot: bool
    #: Pieces made by `quote` that are in this text.
    quoted: tuple[str, ...]

    def __new__(cls, text: str = "", origin: str = "a value from outside", *, hot: bool | None = None, quoted: tuple[str, ...] = ()) -> Tainted:
        """Mark `text`; it is hot when it has shell characters, unless `hot` says otherwise."""
        self = super().__new__(cls, text)
        self.origin = origin
        self.hot = bool(SHELL_CHARACTERS.search(text)) if hot is None else hot
        self.quoted = quoted
        return self

    def __str__(self) -> Tainted:
        """Return itself, so that str() keeps the mark."""
        return self

    def __iter__(self) -> Iterator[Tainted]:
        """Yield the characters, each marked."""
        return (self._part(character) for character in str.__iter__(self))

    def __getitem__(self, key: Any) -> Tainted:
        """Return a character or a slice, marked."""
        return self._part(str.__getitem__(self, key))

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Copy and pickle as plain text."""
        return str, (str.__str__(self),)

    def _part(self, text: str) -> Tainted:
        return mark(text, [self], textual=True)


class TaintedBytes(bytes):
    """A Tainted, encoded; only its `source` matters, for what is computed from it."""

    source: Tainted


def taint(value: Any, origin: str) -> Any:
    """Return JSON-like `value` with each string in it, keys too, marked as coming from `origin`."""
    if isinstance(value, str):
        return value if isinstance(value, Tainted) else Tainted(value, origin)
    if isinstance(value, Mapping):
        return {taint(key, origin): taint(item, f"{origin}[{str(key)!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(taint(item, f"{origin}[{index}]") for index, item in enumerate(value))
    return value


def plain(value: Any) -> Any:
    """Return `value` with every mark removed from the text in it."""
    if isinstance(value, Tainted):
        return str.__str__(value)
    if isinstance(value, TaintedBytes):
        return bytes(value)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    if type(value) in {list, tuple, set, frozenset}:
        return type(value)(plain(item) for item in value)
    return value


def find(value: Any, depth: int = 0) -> Iterator[Tainted]:
    """Yield the tainted strings in `value`: in containers, in attributes, and in objects that tell theirs by a method `outside_values`."""
    if isinstance(value, Tainted):
        yield value
    elif isinstance(value, TaintedBytes):
        yield value.source
    elif isinstance(value, str | int | float | type | FunctionType | ModuleType) or value is None or depth > _MAX_DEPTH:
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find(key, depth + 1)
            yield from find(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset | deque | KeysView | ValuesView | ItemsView):
        for item in value:
            yield from find(item, depth + 1)
    elif hasattr(type(value), "outside_values"):
        yield from find(value.outside_values(), depth + 1)
    elif depth < _OBJECT_DEPTH:
        for item in _attributes(value):
            yield from find(item, depth + _OBJECT_DEPTH)


def _attributes(value: Any) -> Iterator[Any]:
    """Yield what an object holds, whatever its class makes of attribute access."""
    for name in ("__dict__", *getattr(type(value), "__slots__", ())):
        try:
            held = object.__getattribute__(value, name)
        except AttributeError:
            continue
        yield from held.values() if name == "__dict__" else (held,)


def settled(value: Any) -> Any:
    """Return `value`, an iterator as the list of what it gives, so that it can be looked into before it is used up."""
    return list(value) if isinstance(value, Iterator) else value


def mark(text: str, inputs: Iterable[Tainted], *, textual: bool) -> Tainted:
    """Return `text`, which was computed from `inputs` among others, marked.

    `textual` says that each shell character in `text` was in an input or was put there by the author, as is so for joining, replacing
    and formatting. Otherwise (a macro that may decode) it must hold the inputs to the letter to be cold.
    """
    text = str.__str__(text)
    found = list(inputs)
    origin = next((one.origin for one in found if one.hot), found[0].origin)
    if not SHELL_CHARACTERS.search(text):
        return Tainted(text, origin, hot=False)
    quoted = tuple(dict.fromkeys(piece for one in found for piece in one.quoted))
    hot = any(one.hot for one in found) or any(piece not in text for piece in quoted)
    if not textual:
        hot = hot or any(str.__str__(one) not in text for one in found)
    return Tainted(text, origin, hot=hot, quoted=() if hot else quoted)


def spread(result: Any, inputs: list[Tainted], *, textual: bool, passed: tuple[Any, ...] = ()) -> Any:
    """Return `result` of an operation on `inputs` with the text in it marked; what is one of the `passed` objects stays as it is."""
    if isinstance(result, Tainted | TaintedBytes) or not inputs or any(result is one for one in passed):
        return result
    if isinstance(result, str):
        return mark(result, inputs, textual=textual)
    if isinstance(result, bytes | bytearray):
        encoded = TaintedBytes(result)
        encoded.source = mark(result.decode("latin-1"), inputs, textual=False)
        return encoded
    if isinstance(result, dict):
        return {spread(k, inputs, textual=textual): spread(v, inputs, textual=textual) for k, v in result.items()}
    if type(result) in {list, tuple, set, frozenset}:
        return type(result)(spread(item, inputs, textual=textual) for item in result)
    if isinstance(result, Iterator):
        return (spread(item, inputs, textual=textual) for item in result)
    return result


def join(pieces: Iterable[str]) -> str:
    """Return the pieces as one text, marked when one of them is."""
    parts = list(pieces)
    inputs = [piece for piece in parts if isinstance(piece, Tainted)]
    text = "".join(parts)
    return mark(text, inputs, textual=True) if inputs else text


def show(value: Any) -> str:
    """Return `value` as a template prints it, marked when something in it is."""
    if isinstance(value, str):
        return value
    text = str(value)
    if isinstance(text, Tainted):
        return text
    inputs = list(find(value))
    return mark(text, inputs, textual=True) if inputs else text


def quote(value: Any) -> str:
    """Return `value` as one shell word that means it to the letter. Raises ValueError for a NUL, which no word can hold."""
    text = show(value)
    word = shlex.quote(str.__str__(text))
    if "\0" in word:
        raise ValueError("a NUL character cannot be given to a command")
    if not isinstance(text, Tainted):
        return word
    return Tainted(word, text.origin, hot=False, quoted=(word,) if SHELL_CHARACTERS.search(word) else ())
