"""Nested named tuples of arrays: map over their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_static: list[type] = []  # types of what no transformation of a framework looks into
_registrars: list[Callable[[type], None]] = []  # of the frameworks that have to be told of them


def static(kind: type) -> type:
    """Objects of this type pass through the transformations of a framework as they are."""
    _static.append(kind)
    for register in _registrars:
        register(kind)
    return kind


def register_static(register: Callable[[type], None]) -> None:
    """Have a framework register each static type: those that there are now, and those to come."""
    _registrars.append(register)
    for kind in _static:
        register(kind)


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
