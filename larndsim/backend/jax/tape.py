"""Derivatives of a chain of compiled functions without tracing the chain.

JAX works out the derivative of what is compiled anew at each call, in Python, which takes longer than a small batch
computes. So the chain is given stand-ins for the arrays that move. For a gradient (`Recorded`) each function notes on a
tape how to go back through it (its vjp); for a Jacobian (`Dual`) it carries along how all moves (its jvp). Stand-ins
know a little arithmetic; whatever else they meet refuses them, and then JAX derives the function by itself.

What is small or only moves numbers about is done by NumPy (`hosted`): nothing is compiled for its shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import compress, islice
from typing import Any, NamedTuple

import jax
import numpy as np

from ...errors import ArgumentError
from .eviction import called, make_room
from .flags import FEWER
from .operations import flat

log = logging.getLogger(__name__)


class Refused(TypeError):
    """A stand-in was given to what cannot take it."""


class StandIn:
    """Stands for an array."""

    array: Any
    __array_ufunc__ = None  # NumPy leaves arithmetic to the stand-in
    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Refused("its derivative would be lost")

    def sum(self) -> Any:
        """The sum of all elements, in double precision on the way."""
        shape, dtype = self.shape, self.dtype
        value = np.asarray(np.asarray(self.array).sum(dtype=np.float64), dtype)

        def jvp(step: np.ndarray) -> np.ndarray:
            return step.reshape(len(step), -1).sum(axis=1, dtype=np.float64).astype(dtype)

        return hosted(
            [self], [value], lambda steps: [jvp(steps[0])], lambda slopes: [np.full(shape, slopes[0], dtype)]
        )[0]


class Recorded(StandIn):
    """Stands for an array that moves with what a gradient is taken by."""

    def __init__(self, array: Any, tape: Tape) -> None:
        self.array, self.tape, self.place = array, tape, Place(array.shape, array.dtype)


class Place:
    """What a tape knows of an array: it does not hold the array itself."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype


class Dual(StandIn):
    """Stands for an array that moves by `steps` (direction, ...)."""

    def __init__(self, array: Any, steps: Any) -> None:
        self.array, self.steps = array, steps


class Call(NamedTuple):
    """A function that was called, and how to go back through it."""

    inputs: list[Place]
    outputs: list[Place]
    vjp: Callable[[list[Any]], list[Any]]  # slopes by the outputs -> by the inputs


class Tape:
    """How some arrays were computed from others."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def outputs(self, tree: Any, inputs: list[Recorded], vjp: Callable[[list[Any]], list[Any]]) -> Any:
        """Stand-ins for what came of a call, where it is real numbers."""
        outputs = [Recorded(leaf, self) for leaf in _reals(tree)]
        self.calls.append(Call(places(inputs), places(outputs), vjp))
        return _replaced(tree, outputs)

    def vjp(self, inputs: list[Recorded], outputs: list[Recorded], slopes: list[Any]) -> list[Any]:
        """Slopes by the inputs from those by the outputs; what is kept of each call is let go on the way."""
        found: dict[Place, Any] = {}
        for place, slope in zip(places(outputs), slopes, strict=True):
            found[place] = summed(found.get(place), slope)
        while self.calls:
            call = self.calls.pop()
            if any(place in found for place in call.outputs):
                slopes = [_slope(found, place) for place in call.outputs]
                for place, slope in zip(call.inputs, call.vjp(slopes), strict=True):
                    found[place] = summed(found.get(place), slope)
        return [_slope(found, place) for place in places(inputs)]


def _slope(found: dict[Place, Any], place: Place) -> Any:
    """The slope by an array, which is no longer needed afterwards; zeros where nothing depends on it."""
    slope = found.pop(place, None)
    return np.zeros(place.shape, place.dtype) if slope is None else slope


def summed(before: Any, more: Any) -> Any:
    """The sum of slopes; parameters get one from each chunk, so NumPy adds them: nothing is compiled."""
    return more if before is None else np.asarray(before) + np.asarray(more)


class Compiled:
    """A function of native trees, compiled; given stand-ins, it notes its call.

    `moves` says which of its arguments a gradient is likely to go back to: what is compiled for the value then serves
    the gradient, too. `small_loops`: the function is made of many.
    """

    def __init__(self, function: Callable[..., Any], moves: tuple[int, ...] = (), small_loops: bool = False) -> None:
        self.moves, self.plain = moves, jax.jit(flat(function))  # within what is traced, JAX takes no options
        compiled = partial(jax.jit, static_argnums=(0, 1), compiler_options=FEWER if small_loops else None)
        self.forwards = compiled(partial(_forwards, function))
        self.jvp = compiled(partial(_jvp, function))

    def __call__(self, *trees: Any) -> Any:
        parts, shapes = zip(*map(jax.tree.flatten, trees), strict=True)
        leaves = [leaf for part in parts for leaf in part]
        moves = [isinstance(leaf, StandIn) for leaf in leaves]
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self.plain(*trees)
        make_room()
        if not (any(moves) or self.moves):
            return self.plain(*trees)
        arrays = [leaf.array if isinstance(leaf, StandIn) else leaf for leaf in leaves]
        if duals := [leaf for leaf in leaves if isinstance(leaf, Dual)]:
            inputs, others = _split(arrays, moves)
            steps = [leaf.steps for leaf in duals]
            outputs, steps = called(self.jvp, shapes, tuple(moves), inputs, steps, others)
            return _replaced(outputs, map(Dual, _reals(outputs), steps))
        likely = [row in self.moves and _is_real(leaf) for row, part in enumerate(parts) for leaf in part]
        active = tuple(one or other for one, other in zip(likely, moves, strict=True))
        inputs, others = _split(arrays, active)
        outputs, pullback = called(self.forwards, shapes, active, inputs, others)
        if recorded := [leaf for leaf in leaves if isinstance(leaf, Recorded)]:
            wanted, given = tuple(compress(moves, active)), pullback.needed([*inputs, *others])
            return recorded[0].tape.outputs(
                outputs, recorded, partial(_back, wanted, pullback, given, _device(outputs))
            )
        return outputs


def value_and_grad(function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Value and gradient by a tape, if all that meets a stand-in can take it, else by JAX."""
    if not any(isinstance(value, jax.core.Tracer) for value in values.values()):
        tape = Tape()
        inputs = {name: Recorded(value, tape) for name, value in values.items()}
        value = _tried(function, inputs)
        if isinstance(value, Recorded) and not value.ndim:
            gradient = tape.vjp([*inputs.values()], [value], [np.ones((), value.dtype)])
            return value.array, dict(zip(inputs, jax.device_put(gradient), strict=True))
        tape.calls.clear()  # they and their stand-ins hold each other
    return jax.value_and_grad(function)(values)


def jacobian(function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Value of a function of scalars, and how it moves with each, in the same two ways."""
    unit = np.eye(len(values), dtype=next(iter(values.values())).dtype)
    if not any(isinstance(value, jax.core.Tracer) for value in values.values()):
        found = _tried(function, {name: Dual(value, unit[row]) for row, (name, value) in enumerate(values.items())})
        if found is not None:
            leaves, shape = jax.tree.flatten(found)
            arrays = [leaf.array if isinstance(leaf, Dual) else leaf for leaf in leaves]
            steps = [known(_steps(leaf, len(unit))) for leaf in leaves]
            rows = (jax.device_put([step[row] for step in steps]) for row in range(len(unit)))
            columns = (jax.tree.unflatten(shape, row) for row in rows)
            return jax.tree.unflatten(shape, arrays), dict(zip(values, columns, strict=True))
    value, push = jax.linearize(function, values)
    # all columns at once: they share what a direction does not change; the lambda, since JAX would print `push`
    moved = jax.vmap(lambda step: push(step))(dict(zip(values, unit, strict=True)))
    return value, {name: jax.tree.map(lambda leaf, row=row: leaf[row], moved) for row, name in enumerate(values)}


def _tried(function: Callable[[dict[str, Any]], Any], inputs: dict[str, Any]) -> Any:
    """What a function makes of stand-ins, or None where something in it refuses them."""
    try:
        return function(inputs)
    except ArgumentError:
        raise
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:  # so do Python, NumPy, EagerPy, JAX
        log.debug("derived by JAX itself, which takes longer: %s", error)
        return None


def alone(function: Callable[..., Any], trees: Any) -> Any:
    """What a function gives, when it is done. On the way back it is called again, and nothing is kept until then."""
    leaves, shape = jax.tree.flatten(trees)
    recorded = [leaf for leaf in leaves if isinstance(leaf, Recorded)]
    if not recorded:
        outputs = function(*trees)
        jax.block_until_ready([leaf.array if isinstance(leaf, Dual) else leaf for leaf in jax.tree.leaves(outputs)])
        return outputs

    def run(instead: list[Any]) -> Any:
        source = iter(instead)
        given = [next(source) if isinstance(leaf, Recorded) else leaf for leaf in leaves]
        return function(*jax.tree.unflatten(shape, given))

    def vjp(slopes: list[Any]) -> list[Any]:
        tape = Tape()
        again = [Recorded(each.array, tape) for each in recorded]
        outputs = _reals(run(again))
        moved = [isinstance(output, Recorded) for output in outputs]
        return jax.block_until_ready(tape.vjp(again, [*compress(outputs, moved)], [*compress(slopes, moved)]))

    outputs = jax.block_until_ready(run([each.array for each in recorded]))
    return recorded[0].tape.outputs(outputs, recorded, vjp)


def hosted(
    inputs: list[Any],
    values: list[np.ndarray],
    jvp: Callable[[list[np.ndarray]], list[np.ndarray]],
    vjp: Callable[[list[np.ndarray]], list[np.ndarray]],
) -> list[Any]:
    """Values that NumPy has found from some inputs, stand-ins or not, with their derivative.

    `jvp` is given how each input moves (direction, ...), `vjp` the slope by each value.
    """
    if duals := [leaf for leaf in inputs if isinstance(leaf, Dual)]:
        steps = [np.asarray(_steps(leaf, len(duals[0].steps))) for leaf in inputs]
        return [Dual(value, step) for value, step in zip(values, jvp(steps), strict=True)]
    if recorded := [leaf for leaf in inputs if isinstance(leaf, Recorded)]:
        moves = [isinstance(leaf, Recorded) for leaf in inputs]

        def back(slopes: list[Any]) -> list[Any]:
            return [*compress(vjp([np.asarray(slope) for slope in slopes]), moves)]

        return recorded[0].tape.outputs(values, recorded, back)
    return [*values]


def known(leaf: Any) -> np.ndarray:
    """What an array, or what stands for it, is now."""
    return np.asarray(leaf.array if isinstance(leaf, StandIn) else leaf)


def _steps(leaf: Any, directions: int) -> Any:
    """How something moves, whether it does or not."""
    return leaf.steps if isinstance(leaf, Dual) else np.zeros((directions, *np.shape(leaf)), np.asarray(leaf).dtype)


class Pullback:
    """The way back through a function, without those of its arrays that were given to it: they need no copy."""

    def __init__(self, kept: list[Any], shape: Any, sources: tuple[int | None, ...]) -> None:
        self.kept, self.shape, self.sources = kept, shape, sources

    @classmethod
    def made_of(cls, vjp: Any, given: list[Any]) -> Pullback:
        """Of the way back as JAX gives it, and all that went into the function."""
        leaves, shape = jax.tree.flatten(vjp)
        rows = {id(array): row for row, array in enumerate(given)}
        sources = tuple(rows.get(id(leaf)) for leaf in leaves)
        return cls([leaf for leaf, source in zip(leaves, sources, strict=True) if source is None], shape, sources)

    def needed(self, given: list[Any]) -> list[Any]:
        """What `whole` wants of all that went into the function."""
        return [given[source] for source in self.sources if source is not None]

    def whole(self, needed: list[Any]) -> Callable[[list[Any]], Any]:
        """The way back as JAX gives it."""
        kept, rest = iter(self.kept), iter(needed)
        leaves = [next(kept) if source is None else next(rest) for source in self.sources]
        return jax.tree.unflatten(self.shape, leaves)


jax.tree_util.register_pytree_node(
    Pullback, lambda p: ((p.kept,), (p.shape, p.sources)), lambda fixed, kept: Pullback(*kept, *fixed)
)


@flat
def _forwards(function: Any, shapes: Any, active: tuple[bool, ...], inputs: list[Any], others: list[Any]) -> Any:
    """What a function gives, and the way back to its `inputs` from what of it are real numbers."""
    _, vjp, outputs = jax.vjp(partial(_on_leaves, function, shapes, active, others), inputs, has_aux=True)
    return outputs, Pullback.made_of(vjp, [*inputs, *others])


@flat
def _jvp(
    function: Any, shapes: Any, active: tuple[bool, ...], inputs: list[Any], steps: list[Any], others: list[Any]
) -> tuple[Any, list[Any]]:
    """What a function gives, and how what of it are real numbers moves by `steps` of its inputs."""
    _, push, outputs = jax.linearize(partial(_on_leaves, function, shapes, active, others), inputs, has_aux=True)
    return outputs, jax.vmap(push)(steps)


def _on_leaves(
    function: Any, shapes: Any, active: tuple[bool, ...], others: list[Any], inputs: list[Any]
) -> tuple[list[Any], Any]:
    """What a function of trees gives, of whose leaves the `active` ones are `inputs`: real numbers, and all."""
    sources = {True: iter(inputs), False: iter(others)}
    leaves = iter([next(sources[moves]) for moves in active])
    outputs = function(*(jax.tree.unflatten(shape, islice(leaves, shape.num_leaves)) for shape in shapes))
    return _reals(outputs), outputs


def _back(wanted: tuple[bool, ...], pullback: Pullback, given: list[Any], device: Any, slopes: list[Any]) -> list[Any]:
    """The same, with slopes that NumPy may have found: JAX compiles anew for arrays that are not on the device yet."""
    return called(_backwards, wanted, pullback, given, jax.device_put(slopes, device))


def _device(outputs: Any) -> Any:
    """Where some arrays are."""
    return next(iter(jax.tree.leaves(outputs)[0].devices()))


@partial(jax.jit, static_argnums=0, compiler_options=FEWER)
@flat
def _backwards(wanted: tuple[bool, ...], pullback: Pullback, given: list[Any], slopes: list[Any]) -> list[Any]:
    """Slopes by the inputs that are wanted from those by the outputs."""
    return list(compress(pullback.whole(given)(slopes)[0], wanted))


def places(some: Iterable[Recorded]) -> list[Place]:
    return [recorded.place for recorded in some]


def _split(arrays: list[Any], chosen: Iterable[bool]) -> tuple[list[Any], list[Any]]:
    """Those that are chosen, and the others."""
    chosen = list(chosen)
    return [*compress(arrays, chosen)], [*compress(arrays, [not each for each in chosen])]


def _replaced(tree: Any, instead: Iterable[Any]) -> Any:
    """The same tree with other leaves, where it has real numbers."""
    source = iter(instead)
    return jax.tree.map(lambda leaf: next(source) if _is_real(leaf) else leaf, tree)


def _reals(tree: Any) -> list[Any]:
    return list(filter(_is_real, jax.tree.leaves(tree)))


def _is_real(leaf: Any) -> bool:
    return _is_real_type(leaf.dtype)


@cache
def _is_real_type(dtype: Any) -> bool:
    return bool(jax.numpy.issubdtype(dtype, jax.numpy.floating))


def _noted(name: str) -> Callable[..., Any]:
    """A method of arrays as one of stand-ins."""
    compiled = Compiled(lambda array, *others: getattr(array, name)(*others))
    return lambda *operands: compiled(*operands)


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "neg"):
    setattr(StandIn, f"__{_name}__", _noted(f"__{_name}__"))
