"""What an operation is: one thing that a person asks of a hub, with what it takes, what it gives, and who may.

The REST API makes a route of each, its input from path, query and body; a command line that talks to a server makes a request of each; the
page calls them. All go through `perform`, so that none of them lets anybody do what another one would not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar, get_type_hints

from rqflow.api.hub import Hub
from rqflow.exceptions import NotPermitted, UsageError
from rqflow.security.roles import Role
from rqflow.values import is_text

I = TypeVar("I")  # noqa: E741 - input and output
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")

#: The largest number that an input may be: what every database takes.
LARGEST = (1 << 31) - 1
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Operation(Generic[I, O]):
    """One thing that can be asked. `asked` is the dataclass of its input: fields named in `path` come from there; of the others, those of a GET or
    DELETE from the query, those of another method from the JSON body.
    """

    #: Noun and verb, such as runs.start; unique.
    name: str
    method: Method
    #: Below /api/v1, with {fields} of the input.
    path: str
    #: The least role that may.
    role: Role
    asked: type[I]
    given: Any
    run: Callable[[Hub, I], O]
    #: The first line of its docstring, and the rest.
    summary: str
    description: str = ""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """Some of many: `next` is what `after` takes to get those that follow; None: there are no more."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Nothing:
    """What an operation takes, or gives, that takes or gives nothing."""


def about(text: str, default: Any = ..., *, most: int = LARGEST) -> Any:
    """Return a field of an input with what it means, for people; without a default it must be given. No number in it is larger than `most`."""
    metadata = {"about": text, "most": most}
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def operation(name: str, method: Method, path: str, role: Role) -> Callable[[Callable[[Hub, I], O]], Operation[I, O]]:
    """Make an operation of a function of a hub and an input; its docstring tells people what it does."""
    def made(function: Callable[[Hub, I], O]) -> Operation[I, O]:
        hints = get_type_hints(function)
        given = hints.pop("return")
        asked = next(kind for place, kind in hints.items() if place != "hub")
        summary, _, description = (function.__doc__ or "").strip().partition("\n")
        return Operation(name, method, path, role, asked, given, function, summary.rstrip("."), " ".join(description.split()))

    return made


def perform(hub: Hub, wanted: Operation[I, O], asked: I) -> O:
    """Carry out an operation for the person of `hub`, and return what it gives.

    Raises NotPermitted when the person's role is too low, UsageError for what is no text or too large a number, and what the operation raises.
    """
    must_permit(hub, wanted)
    for one in fields(asked):  # type: ignore[arg-type]  # inputs are dataclasses
        given = getattr(asked, one.name)
        for value in given if isinstance(given, list | tuple) else (given,):
            if isinstance(value, str) and not is_text(value):
                raise UsageError(f"{one.name}: it has characters in it that are no text")
            if isinstance(value, int) and abs(value) > (most := one.metadata.get("most", LARGEST)):
                raise UsageError(f"{one.name}: {value} is too large, {most} at most")
    return wanted.run(hub, asked)


def must_permit(hub: Hub, wanted: Operation[Any, Any]) -> None:
    """Raise NotPermitted when the person's role is too low for an operation."""
    if not hub.person.role.allows(wanted.role):
        raise NotPermitted(f"{hub.person.name} is {hub.person.role.value}, and {wanted.name} takes {wanted.role.value}",
                           hint="An admin may give another role: `rqflow user edit NAME --role ROLE`.")
