"""Gradients of a chain of compiled functions without tracing the chain.

JAX works out the derivative of what is compiled anew at each call, in Python, which takes longer than a small batch
computes. So a chain is recorded: each compiled function runs as a compiled pair, forwards and backwards, and what it
was given and gave is noted. Between compiled functions arrays may be passed on, but not changed.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import compress, islice
from typing import Any, NamedTuple

import jax

from .tree import static

_recording: ContextVar[Tape | None] = ContextVar("recording", default=None)


class Compiled:
    """A function of native trees, compiled; it notes its calls on the tape that is running.

    `moves` says which of its arguments a gradient is likely to go back to: what is compiled for the value then serves
    the gradient, too.
    """

    def __init__(self, function: Callable[..., Any], moves: tuple[int, ...]) -> None:
        self.moves, self.plain = moves, jax.jit(function)
        self.forwards = jax.jit(partial(_forwards, function), static_argnums=(0, 1))

    def __call__(self, *trees: Any) -> Any:
        tape = _recording.get()
        if tape is None and not self.moves:
            return self.plain(*trees)
        parts, shapes = zip(*map(jax.tree.flatten, trees), strict=True)
        leaves = [leaf for part in parts for leaf in part]
        likely = [row in self.moves and _is_real(leaf) for row, part in enumerate(parts) for leaf in part]
        moving = [tape is not None and id(leaf) in tape.known for leaf in leaves]
        active = tuple(map(operator.or_, likely, moving))
        if not any(active) or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self.plain(*trees)
        inputs, others = (list(compress(leaves, chosen)) for chosen in (active, map(operator.not_, active)))
        outputs, pull = self.forwards(shapes, active, inputs, others)
        if tape is not None and any(moving):
            tape.note(Call(inputs, tuple(compress(moving, active)), _reals(outputs), pull))
        return outputs


class Call(NamedTuple):
    """How to go back through a call."""

    inputs: list[Any]
    wanted: tuple[bool, ...]  # which of them move
    outputs: list[Any]
    pull: Any


class Tape:
    """What was computed from some arrays, and how to go back."""

    def __init__(self, moving: list[Any]) -> None:
        self.inputs = moving
        self.known = {id(array): array for array in moving}  # all arrays that move, by identity
        self.calls: list[Call] = []

    def note(self, call: Call) -> None:
        self.known |= {id(array): array for array in call.outputs}
        self.calls.append(call)

    @contextmanager
    def running(self) -> Iterator[None]:
        """All compiled functions that are called within are recorded."""
        token = _recording.set(self)
        try:
            yield
        finally:
            _recording.reset(token)

    def pull(self, outputs: Any, slopes: Any) -> list[Any]:
        """Slopes by the inputs from those by the `outputs`."""
        found: dict[int, list[Any]] = defaultdict(list)

        def add(arrays: list[Any], slopes: list[Any]) -> None:
            for array, slope in zip(arrays, slopes, strict=True):
                found[id(array)].append(slope)

        add(jax.tree.leaves(outputs), jax.tree.leaves(slopes))
        for call in reversed(self.calls):
            slopes = [found.pop(id(array), []) for array in call.outputs]  # JAX may give an input back as it is
            if any(slopes):
                add(list(compress(call.inputs, call.wanted)), _backwards(call.wanted, call.pull, call.outputs, slopes))
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


def _forwards(function: Any, shapes: Any, active: tuple[bool, ...], inputs: list[Any], others: list[Any]) -> Any:
    """What a function gives, and the way back to its `inputs` from what of it are real numbers."""

    def of(inputs: list[Any]) -> tuple[list[Any], Any]:
        sources = {True: iter(inputs), False: iter(others)}
        leaves = iter([next(sources[moves]) for moves in active])
        outputs = function(*(jax.tree.unflatten(shape, islice(leaves, shape.num_leaves)) for shape in shapes))
        return _reals(outputs), outputs

    _, pull, outputs = jax.vjp(of, inputs, has_aux=True)
    return outputs, pull


@partial(jax.jit, static_argnums=0)
def _backwards(wanted: tuple[bool, ...], pull: Any, outputs: list[Any], slopes: list[list[Any]]) -> list[Any]:
    """Slopes by the inputs that are wanted from those by each of the outputs, which may be several or none."""
    return list(compress(pull(_sums(outputs, slopes))[0], wanted))


@jax.jit
def _sums(arrays: list[Any], slopes: list[list[Any]]) -> list[Any]:
    return [sum(some, start=jax.numpy.zeros_like(array)) for array, some in zip(arrays, slopes, strict=True)]


def _reals(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_real(leaf)]


def _is_real(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating))
