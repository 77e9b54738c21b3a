"""Gradients of a chain of compiled functions without tracing the chain.

JAX works out the derivative of what is compiled anew at each call, in Python, which takes longer than a small batch
computes. So a chain is recorded: each compiled function runs as a compiled pair, forwards and backwards, and what it
was given and gave is noted. Between compiled functions arrays may be passed on, but not changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax

from .tree import static

_recording: ContextVar[Tape | None] = ContextVar("recording", default=None)


class Compiled:
    """A function of native trees, compiled; it notes its calls on the tape that is running."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.plain = function, jax.jit(function)

    def __call__(self, *trees: Any) -> Any:
        tape = _recording.get()
        return self.plain(*trees) if tape is None else tape.call(self, trees)


class Tape:
    """What was computed from some arrays, and how to go back."""

    def __init__(self, moving: list[Any]) -> None:
        self.inputs = moving
        self.known = {id(array): array for array in moving}  # all arrays that move, by identity
        self.calls: list[tuple[list[Any], Any, Any]] = []  # arrays in, out, and the way back

    @contextmanager
    def running(self) -> Iterator[None]:
        """All compiled functions that are called within are recorded."""
        token = _recording.set(self)
        try:
            yield
        finally:
            _recording.reset(token)

    def call(self, compiled: Compiled, trees: Any) -> Any:
        """What the function gives."""
        leaves, shape = jax.tree.flatten(trees)
        moving = tuple(id(leaf) in self.known for leaf in leaves)
        if not any(moving):
            return compiled.plain(*trees)
        parts = ([leaf for leaf, moves in zip(leaves, moving, strict=True) if moves is own] for own in (True, False))
        active, fixed = parts
        outputs, pull = _forwards(compiled.function, shape, moving, active, fixed)
        smooth = [leaf for leaf in jax.tree.leaves(outputs) if _is_real(leaf)]
        self.known |= {id(array): array for array in smooth}
        self.calls.append((active, smooth, pull))
        return outputs

    def pull(self, outputs: Any, slopes: Any) -> list[Any]:
        """Slopes by the inputs from those by the `outputs`."""
        found: dict[int, list[Any]] = defaultdict(list)

        def add(arrays: list[Any], slopes: list[Any]) -> None:
            for array, slope in zip(arrays, slopes, strict=True):
                found[id(array)].append(slope)

        add(jax.tree.leaves(outputs), jax.tree.leaves(slopes))
        for active, arrays, pull in reversed(self.calls):
            if any(found[id(array)] for array in arrays):
                add(active, _backwards(pull, arrays, [found[id(array)] for array in arrays]))
        return _sums(self.inputs, [found[id(array)] for array in self.inputs])


def derived_by_tape(function: Callable[..., Any], keep: bool) -> Callable[..., Any]:
    """The same function of arrays, whose gradient goes by a tape: kept on the way, or made again on the way back."""

    def recorded(active: tuple[Any, ...]) -> tuple[Tape, Any]:
        tape = Tape(list(active))
        with tape.running():
            return tape, function(*active)

    def forwards(*active: Any) -> tuple[Any, Any]:
        if any(isinstance(array, jax.core.Tracer) for array in active):
            return function(*active), (active, None)
        if keep:
            tape, outputs = recorded(active)
            return outputs, (active, Kept(tape, outputs))
        return jax.block_until_ready(function(*active)), (active, None)

    def backwards(held: tuple[Any, Any], slopes: Any) -> Any:
        active, kept = held
        if any(isinstance(array, jax.core.Tracer) for array in (*active, *jax.tree.leaves(slopes))):
            return jax.vjp(function, *active)[1](slopes)
        tape, outputs = recorded(active) if kept is None else (kept.tape, kept.outputs)
        found = tuple(tape.pull(outputs, slopes))
        return found if keep else jax.block_until_ready(found)

    derived = jax.custom_vjp(function)
    derived.defvjp(forwards, backwards)
    return derived


class Kept:
    """A tape and what came of it, as a thing that JAX does not look into."""

    def __init__(self, tape: Tape, outputs: Any) -> None:
        self.tape, self.outputs = tape, outputs


static(Kept)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _forwards(function: Any, shape: Any, moving: tuple[bool, ...], active: list[Any], fixed: list[Any]) -> Any:
    """What a function gives, and the way back from what of it are real numbers."""

    def of(active: list[Any]) -> tuple[list[Any], Any]:
        sources = iter(active), iter(fixed)
        outputs = function(*jax.tree.unflatten(shape, [next(sources[not moves]) for moves in moving]))
        return [leaf for leaf in jax.tree.leaves(outputs) if _is_real(leaf)], outputs

    _, pull, outputs = jax.vjp(of, active, has_aux=True)
    return outputs, pull


@jax.jit
def _backwards(pull: Any, arrays: list[Any], slopes: list[list[Any]]) -> list[Any]:
    """Slopes by what moves from those by each of the outputs, which may be several or none."""
    return pull(_sums(arrays, slopes))[0]


@jax.jit
def _sums(arrays: list[Any], slopes: list[list[Any]]) -> list[Any]:
    return [sum(some, start=jax.numpy.zeros_like(array)) for array, some in zip(arrays, slopes, strict=True)]


def _is_real(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating))
