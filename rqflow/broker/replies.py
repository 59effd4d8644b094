"""What Redis replies, as Python has it."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """Return a reply of Redis as text; redis-py gives bytes, or text when told to decode."""
    return value.decode() if isinstance(value, bytes) else str(value)


def items(value: Any) -> list[Any]:
    """Return a list that a step replied; an empty one arrives as {} because Lua cannot tell them apart."""
    return value if isinstance(value, list) else []
