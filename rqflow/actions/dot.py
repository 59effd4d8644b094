"""Graphs in the language of Graphviz, which `dot` and viz-js draw. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class DotNode:
    """A node; `attributes` as they are written, texts in quotes (`quoted`)."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: The frame that it is in; empty: none.
    frame: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DotFrame:
    """A frame around nodes, and other frames."""

    name: str
    label: str
    #: The frame around it; empty: none.
    parent: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class DotEdge:
    """An edge between two nodes, by their names."""

    above: str
    below: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def digraph(name: str, *, head: Sequence[str], frames: Sequence[DotFrame], nodes: Sequence[DotNode], edges: Sequence[DotEdge]) -> str:
    """Return a directed graph; `head` are lines that say how all of it looks. Nodes without a frame stand first, frames in the order given."""
    lines = [f"digraph {quoted(name)} {{", *(f"  {line}" for line in head)]
    lines += _inside("", frames, nodes, "  ", {frame.name: number for number, frame in enumerate(frames, start=1)})
    lines += [f"  {quoted(edge.above)} -> {quoted(edge.below)}{_attributes(edge.attributes)};" for edge in edges]
    return "\n".join([*lines, "}"]) + "\n"


def quoted(text: str) -> str:
    """Return a text in quotes, as Graphviz takes it."""
    return json.dumps(text, ensure_ascii=False)


def _inside(frame: str, frames: Sequence[DotFrame], nodes: Sequence[DotNode], indent: str, numbers: Mapping[str, int]) -> Iterator[str]:
    for node in nodes:
        if node.frame == frame:
            yield f"{indent}{quoted(node.name)}{_attributes(node.attributes)};"
    for inner in frames:
        if inner.parent == frame:
            yield f"{indent}subgraph cluster_{numbers[inner.name]} {{"
            yield f"{indent}  label={quoted(inner.label)};"
            yield from (f"{indent}  {name}={value};" for name, value in inner.attributes.items())
            yield from _inside(inner.name, frames, nodes, f"{indent}  ", numbers)
            yield f"{indent}}}"


def _attributes(attributes: Mapping[str, str]) -> str:
    return f" [{', '.join(f'{name}={value}' for name, value in attributes.items())}]" if attributes else ""
