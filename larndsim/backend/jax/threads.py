"""Several calls at once, in threads, for XLA does not use all cores for what is small; and the way back likewise."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, reduce
from itertools import chain
from typing import Any

import jax

from .tape import Call, Recorded, StandIn, Tape, places, summed


def each(functions: Sequence[Callable[..., Any]], trees: Any) -> list[Any]:
    """What each function makes of the same trees, several at once, in threads. So is the way back."""
    leaves, shape = jax.tree.flatten(trees)
    if len(functions) == 1 or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return [function(*trees) for function in functions]
    recorded = [leaf for leaf in leaves if isinstance(leaf, Recorded)]

    def run(function: Callable[..., Any]) -> tuple[Any, list[Recorded], Tape]:
        tape = Tape()
        again = [Recorded(leaf.array, tape) for leaf in recorded]
        source = iter(again)
        given = [next(source) if isinstance(leaf, Recorded) else leaf for leaf in leaves]
        outputs = function(*jax.tree.unflatten(shape, given))
        jax.block_until_ready([leaf.array if isinstance(leaf, StandIn) else leaf for leaf in jax.tree.leaves(outputs)])
        return outputs, again, tape

    found = [*_threads().map(run, functions)]
    if not recorded:
        return [outputs for outputs, _, _ in found]
    moved = [[leaf for leaf in jax.tree.leaves(outputs) if isinstance(leaf, Recorded)] for outputs, _, _ in found]

    def vjp(slopes: list[Any]) -> list[Any]:
        source = iter(slopes)
        own = [[next(source) for _ in leaves] for leaves in moved]

        def back(number: int) -> list[Any]:
            _, again, tape = found[number]
            return jax.block_until_ready(tape.vjp(again, moved[number], own[number]))

        parts = [*_threads().map(back, range(len(found)))]
        return [reduce(summed, column) for column in zip(*parts, strict=True)]

    outside = [[Recorded(leaf.array, recorded[0].tape) for leaf in leaves] for leaves in moved]
    recorded[0].tape.calls.append(Call(places(recorded), places(chain.from_iterable(outside)), vjp))
    return [_standing(outputs, leaves) for (outputs, _, _), leaves in zip(found, outside, strict=True)]


def _standing(outputs: Any, instead: list[Recorded]) -> Any:
    """The same tree with other stand-ins."""
    source = iter(instead)
    return jax.tree.map(lambda leaf: next(source) if isinstance(leaf, Recorded) else leaf, outputs)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
