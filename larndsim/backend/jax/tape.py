"""Derivatives of a chain of compiled functions without tracing the chain.

JAX works out the derivative of what is compiled anew at each call, in Python, which takes longer than a small batch
computes. So the chain is given stand-ins of what moves. Backwards (`Moving`), compiled functions note on a tape how to
go back; forwards (`Pushed`), they carry along how all moves. Stand-ins know a little arithmetic; whatever else they
meet refuses them, and then JAX derives the function by itself.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import compress, islice
from typing import Any, NamedTuple

import jax
import numpy as np

from .eviction import make_room
from .flags import FEWER
from .operations import flat


class StandIn:
    """Stands for an array."""

    array: Any
    sum: Callable[[], Any]
    __array_ufunc__ = None  # NumPy leaves arithmetic to the stand-in
    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("its derivative would be lost")


class Moving(StandIn):
    """Stands for an array that moves with what a gradient is taken by."""

    def __init__(self, array: Any, tape: Tape) -> None:
        self.array, self.tape, self.place = array, tape, Place(array.shape, array.dtype)


class Place:
    """What a tape knows of an array: it does not hold the array itself."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.kind = shape, dtype


class Pushed(StandIn):
    """Stands for an array that moves by `steps` (direction, ...)."""

    def __init__(self, array: Any, steps: Any) -> None:
        self.array, self.steps = array, steps


class Call(NamedTuple):
    """A function that was called, and how to go back through it."""

    inputs: list[Place]
    outputs: list[Place]
    back: Callable[[list[list[Any]]], list[Any]]  # slopes by each output, which may be several or none -> by the inputs


class Tape:
    """How some arrays were computed from others."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def outputs(self, tree: Any, inputs: list[Moving], back: Callable[[list[list[Any]]], list[Any]]) -> Any:
        """Stand-ins for what came of a call, where it is real numbers."""
        outputs = [Moving(leaf, self) for leaf in _reals(tree)]
        self.calls.append(Call(_places(inputs), _places(outputs), back))
        return _replaced(tree, outputs)

    def pull(self, inputs: list[Moving], outputs: list[Moving], slopes: list[list[Any]]) -> list[Any]:
        """Slopes by the inputs from those by the outputs; what is kept of each call is let go on the way."""
        found: dict[Place, list[Any]] = defaultdict(list)
        for place, some in zip(_places(outputs), slopes, strict=True):
            found[place] += some
        while self.calls:
            call = self.calls.pop()
            slopes = [found.pop(place, []) for place in call.outputs]
            if any(slopes):
                make_room()
                for place, slope in zip(call.inputs, call.back(slopes), strict=True):
                    found[place].append(slope)
        places = _places(inputs)
        return _sums(tuple(place.kind for place in places), [found[place] for place in places])


class Compiled:
    """A function of native trees, compiled; given stand-ins, it notes its call.

    `moves` says which of its arguments a gradient is likely to go back to: what is compiled for the value then serves
    the gradient, too. `small_loops`: the function is made of many.
    """

    def __init__(self, function: Callable[..., Any], moves: tuple[int, ...] = (), small_loops: bool = False) -> None:
        self.moves, self.plain = moves, jax.jit(flat(function))  # within what is traced, JAX takes no options
        compiled = partial(jax.jit, static_argnums=(0, 1), compiler_options=FEWER if small_loops else None)
        self.forwards = compiled(partial(_forwards, function))
        self.pushes = compiled(partial(_pushes, function))

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
        if pushed := [leaf for leaf in leaves if isinstance(leaf, Pushed)]:
            inputs, others = _split(arrays, moves)
            outputs, steps = self.pushes(shapes, tuple(moves), inputs, [leaf.steps for leaf in pushed], others)
            return _replaced(outputs, map(Pushed, _reals(outputs), steps))
        likely = [row in self.moves and _is_real(leaf) for row, part in enumerate(parts) for leaf in part]
        active = tuple(map(operator.or_, likely, moves))
        inputs, others = _split(arrays, active)
        outputs, pull = self.forwards(shapes, active, inputs, others)
        if moving := [leaf for leaf in leaves if isinstance(leaf, Moving)]:
            wanted, given = tuple(compress(moves, active)), pull.needed([*inputs, *others])
            kinds = tuple((leaf.shape, leaf.dtype) for leaf in _reals(outputs))
            return moving[0].tape.outputs(outputs, moving, partial(_backwards, wanted, kinds, pull, given))
        return outputs


def value_and_grad(function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Value and gradient by a tape, if all that meets a stand-in can take it, else by JAX."""
    if not any(isinstance(value, jax.core.Tracer) for value in values.values()):
        tape = Tape()
        inputs = {name: Moving(value, tape) for name, value in values.items()}
        try:
            value = function(inputs)
        except Exception:  # whatever it is, JAX will say so, too
            value = None
        if isinstance(value, Moving) and not value.ndim:
            one = np.ones((), value.dtype)
            return value.array, dict(zip(inputs, tape.pull([*inputs.values()], [value], [[one]]), strict=True))
        tape.calls.clear()  # they and their stand-ins hold each other
    return jax.value_and_grad(function)(values)


def jacobian(function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Value of a function of scalars, and how it moves with each, in the same two ways."""
    unit = np.eye(len(values), dtype=next(iter(values.values())).dtype)
    if not any(isinstance(value, jax.core.Tracer) for value in values.values()):
        inputs = {name: Pushed(value, unit[row]) for row, (name, value) in enumerate(values.items())}
        try:
            leaves, shape = jax.tree.flatten(function(inputs))
        except Exception:  # whatever it is, JAX will say so, too
            pass
        else:
            arrays = [leaf.array if isinstance(leaf, Pushed) else leaf for leaf in leaves]
            still = [np.zeros((len(unit), *np.shape(array)), unit.dtype) for array in arrays]
            steps = [leaf.steps if isinstance(leaf, Pushed) else none for leaf, none in zip(leaves, still, strict=True)]
            columns = (jax.tree.unflatten(shape, row) for row in _rows(steps))
            return jax.tree.unflatten(shape, arrays), dict(zip(values, columns, strict=True))
    value, push = jax.linearize(function, values)
    # all columns at once: they share what a direction does not change; the lambda, since JAX would print `push`
    moved = jax.vmap(lambda step: push(step))(dict(zip(values, unit, strict=True)))
    return value, {name: jax.tree.map(lambda leaf, row=row: leaf[row], moved) for row, name in enumerate(values)}


def alone(function: Callable[..., Any], trees: Any) -> Any:
    """What a function gives, when it is done. On the way back it is called again, and nothing is kept until then."""
    leaves, shape = jax.tree.flatten(trees)
    moving = [leaf for leaf in leaves if isinstance(leaf, Moving)]
    if not moving:
        outputs = function(*trees)
        jax.block_until_ready([leaf.array if isinstance(leaf, Pushed) else leaf for leaf in jax.tree.leaves(outputs)])
        return outputs

    def run(instead: list[Any]) -> Any:
        source = iter(instead)
        given = [next(source) if isinstance(leaf, Moving) else leaf for leaf in leaves]
        return function(*jax.tree.unflatten(shape, given))

    def back(slopes: list[list[Any]]) -> list[Any]:
        tape = Tape()
        again = [Moving(each.array, tape) for each in moving]
        outputs = _reals(run(again))
        moved = [isinstance(output, Moving) for output in outputs]
        return jax.block_until_ready(tape.pull(again, [*compress(outputs, moved)], [*compress(slopes, moved)]))

    outputs = jax.block_until_ready(run([each.array for each in moving]))
    return moving[0].tape.outputs(outputs, moving, back)


def joined(parts: list[Any], counts: tuple[int, ...], put: Callable[[np.ndarray], Any]) -> Any:
    """The first `counts` rows of each array, one after the other, by NumPy; `put` takes it to the device."""
    arrays = [part.array if isinstance(part, StandIn) else part for part in parts]
    whole = put(np.concatenate([np.asarray(array)[:count] for array, count in zip(arrays, counts, strict=True)]))
    if pushed := [part for part in parts if isinstance(part, Pushed)]:
        directions = len(pushed[0].steps)
        steps = [_steps(part, directions)[:, :count] for part, count in zip(parts, counts, strict=True)]
        return Pushed(whole, put(np.concatenate(steps, axis=1)))
    shapes = [part.shape if isinstance(part, Moving) else None for part in parts]

    def back(slopes: list[list[Any]]) -> list[Any]:
        pieces = np.split(sum(map(np.asarray, slopes[0])), np.cumsum(counts)[:-1])
        return [_with_zeros(piece, shape) for piece, shape in zip(pieces, shapes, strict=True) if shape]

    moving = [part for part in parts if isinstance(part, Moving)]
    return moving[0].tape.outputs(whole, moving, back) if moving else whole


def _steps(part: Any, directions: int) -> np.ndarray:
    """How a part moves, whether it does or not."""
    return np.asarray(part.steps) if isinstance(part, Pushed) else np.zeros((directions, *part.shape), part.dtype)


def _with_zeros(piece: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array with more rows."""
    whole = np.zeros(shape, piece.dtype)
    whole[: len(piece)] = piece
    return whole


class Pull:
    """The way back through a function, without those of its arrays that were given to it: they need no copy."""

    def __init__(self, kept: list[Any], shape: Any, sources: tuple[int | None, ...]) -> None:
        self.kept, self.shape, self.sources = kept, shape, sources

    @classmethod
    def made_of(cls, pull: Any, given: list[Any]) -> Pull:
        """Of the way back as JAX gives it, and all that went into the function."""
        leaves, shape = jax.tree.flatten(pull)
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
    Pull, lambda pull: ((pull.kept,), (pull.shape, pull.sources)), lambda fixed, kept: Pull(*kept, *fixed)
)


@flat
def _forwards(function: Any, shapes: Any, active: tuple[bool, ...], inputs: list[Any], others: list[Any]) -> Any:
    """What a function gives, and the way back to its `inputs` from what of it are real numbers."""
    _, pull, outputs = jax.vjp(partial(_on_leaves, function, shapes, active, others), inputs, has_aux=True)
    return outputs, Pull.made_of(pull, [*inputs, *others])


@flat
def _pushes(
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


@partial(jax.jit, static_argnums=(0, 1), compiler_options=FEWER)
@flat
def _backwards(
    wanted: tuple[bool, ...], kinds: tuple[Any, ...], pull: Pull, given: list[Any], slopes: list[list[Any]]
) -> list[Any]:
    """Slopes by the inputs that are wanted from those by each of the outputs, of these `kinds`."""
    return list(compress(pull.whole(given)(_sums(kinds, slopes))[0], wanted))


@partial(jax.jit, static_argnums=0)
def _sums(kinds: tuple[Any, ...], slopes: list[list[Any]]) -> list[Any]:
    return [sum(some, start=jax.numpy.zeros(*kind)) for kind, some in zip(kinds, slopes, strict=True)]


@jax.jit
def _rows(arrays: list[Any]) -> list[list[Any]]:
    return [[array[row] for array in arrays] for row in range(len(arrays[0]))]


def _places(some: Iterable[Moving]) -> list[Place]:
    return [moving.place for moving in some]


def _split(arrays: list[Any], chosen: Iterable[bool]) -> tuple[list[Any], list[Any]]:
    """Those that are chosen, and the others."""
    return [*compress(arrays, chosen)], [*compress(arrays, map(operator.not_, chosen))]


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
StandIn.sum = _noted("sum")
