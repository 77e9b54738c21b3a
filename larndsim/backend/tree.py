"""Nested named tuples of arrays: map over their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

STATIC: list[type] = []  # types of what no transformation of a framework looks into


def static(kind: type) -> type:
    """Objects of this type pass through the transformations of a framework as they are."""
    STATIC.append(kind)
    return kind


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of tuples, with `function` applied to everything that is not a tuple or None."""
    if tree is None:
        return None
    if isinstance(tree, tuple):
        parts = [map_leaves(function, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return function(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Everything in the nesting that is not a tuple or None, in order."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        yield tree


def with_leaves(tree: Any, values: Iterable[Any]) -> Any:
    """The same nesting of tuples with other leaves, in order."""
    source = iter(values)
    return map_leaves(lambda _: next(source), tree)
