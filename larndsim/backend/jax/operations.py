"""What EagerPy lacks, for JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from itertools import compress
from typing import Any

import eagerpy as ep
import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ..base import unwrap
from ..tree import map_leaves

NEVER = 1.2345e30  # no value that is computed here
FULL = jax.lax.Precision.HIGHEST  # no reduced-precision products on accelerators


def flat(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, traced in half the time: without the functions within that JAX would compile by themselves.

    Loops are kept as they are: with `jax.disable_jit(False)`.
    """

    @wraps(function)
    def run(*arguments: Any) -> Any:
        with jax.disable_jit():
            return function(*arguments)

    return run


cos, sin, erfc = jnp.cos, jnp.sin, jax.scipy.special.erfc
expm1, log1p = jnp.expm1, jnp.log1p


def batched_matmul(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=FULL)


def matmul(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=FULL)


def take(values: Any, index: Any) -> Any:
    return jnp.take(values, index, axis=0, mode="clip")


def cut(values: Any, first: Any, count: int) -> Any:
    return jax.lax.dynamic_slice_in_dim(values, first, count)


def take_along(values: Any, index: Any) -> Any:
    return jnp.take_along_axis(values, index, axis=1, mode="clip")


def add_along(values: Any, index: Any, columns: int) -> Any:
    rows = jnp.arange(len(values), dtype=index.dtype)[:, None]
    return jnp.zeros((len(values), columns), values.dtype).at[rows, index].add(values, mode="promise_in_bounds")


def laid_out(parts: list[Any], firsts: tuple[Any, ...], rows: int) -> Any:
    one = parts[0]
    whole = jnp.pad(one, [(0, rows - one.shape[0]), *[(0, 0)] * (one.ndim - 1)])
    for part, first in zip(parts[1:], firsts[1:], strict=True):
        whole = jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=0)
    return whole


def add_windows(values: Any, first: Any, size: int) -> Any:
    axes = jax.lax.ScatterDimensionNumbers((1, 2), (), (0,))
    zeros = jnp.zeros((size, values.shape[2]), values.dtype)
    return jax.lax.scatter_add(zeros, first[:, None], values, axes, mode="promise_in_bounds")


def windows(values: Any, first: Any, width: int) -> Any:
    axes = jax.lax.GatherDimensionNumbers((1, 2), (), (0,))
    sizes = (width, values.shape[1])
    return jax.lax.gather(values, first[:, None], axes, sizes, mode="promise_in_bounds")


def held_outside(values: Any, first: Any, last: Any, after: Any) -> Any:
    column = jnp.arange(values.shape[1])[None, :, None]
    return jnp.where(
        column >= last[:, None, None], after[:, None], jnp.where(column >= first[:, None, None], values, 0)
    )


def least(values: Any, owner: Any, count: int, otherwise: float) -> Any:
    found = jnp.full(count, otherwise, values.dtype)
    return found.at[owner].min(jax.lax.stop_gradient(values), mode="promise_in_bounds")


def sums_so_far(values: Any, owner: Any, backwards: bool) -> Any:
    row = jnp.arange(len(owner))
    before = row[:, None] <= row if backwards else row[:, None] >= row
    return matmul((before & (owner[:, None] == owner)).astype(values.dtype), values)


def bell(x: Any, far: float) -> Any:
    return jnp.exp(-jnp.minimum(x * x, far))


def not_held(bells: Any, held: float) -> Any:
    return jnp.where(bells > held, bells, 0)


def cleared(values: Any, least: float) -> Any:
    return jnp.where(values > least, values, 0)


def floor(values: Any) -> Any:
    return jnp.floor(jax.lax.stop_gradient(values))


def to_integer(values: Any) -> Any:
    return jax.lax.stop_gradient(values).astype(jnp.int32)


def to_real(values: Any, like: Any) -> Any:
    return values.astype(like.dtype)


def log_sum_exp(values: Any, axis: int) -> Any:
    return jax.nn.logsumexp(values, axis=axis)


def constant(values: Any) -> Any:
    return jax.lax.stop_gradient(values)


def running_maximum(values: Any) -> Any:
    return jax.lax.cummax(jax.lax.stop_gradient(values), axis=1)


def first_true(mask: Any) -> Any:
    return jnp.where(mask, jnp.arange(mask.shape[1], dtype=jnp.int32), mask.shape[1]).min(axis=1)


def rounded(values: Any) -> Any:
    return jnp.round(jax.lax.stop_gradient(values))


def recomputed(function: Callable[..., Any], *trees: Any) -> Any:
    native = jax.checkpoint(lambda *trees: unwrap(function(*map_leaves(ep.astensor, trees))))
    return map_leaves(ep.astensor, native(*unwrap(trees)))


def scan(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any) -> tuple:
    with jax.disable_jit(False):
        return map_leaves(ep.astensor, jax.lax.scan(_on_arrays(step), unwrap(carry), unwrap(inputs)))


def scan_while(step: Callable[[Any, Any], tuple], going: Callable[[Any], Any], carry: Any, inputs: Any) -> Any:
    native, (carry, inputs) = _on_arrays(step), unwrap((carry, inputs))

    def body(state: tuple, row: Any) -> tuple:
        goes_on, carry, last = state
        carry, output = jax.lax.cond(goes_on, native, lambda carry, _: (carry, last), carry, row)
        return (going(map_leaves(ep.astensor, output)).raw, carry, output), output

    shapes = jax.eval_shape(native, carry, jax.tree.map(lambda rows: rows[0], inputs))[1]
    nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    with jax.disable_jit(False):
        outputs = jax.lax.scan(flat(body), (jnp.bool_(True), carry, nothing), inputs)[1]
    return map_leaves(ep.astensor, outputs)


def computed_once(tree: Any) -> Any:
    """A loop that never begins, which XLA cannot know: on processors it drops barriers before it fuses."""

    def looped(values: Any) -> Any:
        one = jax.tree.leaves(values)[0].ravel()[0]
        start = (one == NEVER, values)
        return jax.lax.while_loop(
            lambda state: state[0], lambda state: (False, jax.tree.map(jnp.negative, state[1])), start
        )[1]

    with jax.disable_jit(False):
        values = jax.lax.platform_dependent(unwrap(tree), cpu=looped, default=jax.lax.optimization_barrier)
    return map_leaves(ep.astensor, values)


def each_layer(function: Callable[[Any], Any], inputs: Any, wanted: Any) -> Any:
    native = flat(lambda row: unwrap(function(map_leaves(ep.astensor, row))))
    inputs, wanted = unwrap((inputs, wanted))
    shapes = jax.eval_shape(native, jax.tree.map(lambda rows: rows[0], inputs))

    def nothing(_: Any) -> Any:
        return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def body(_: Any, row: Any) -> tuple[None, Any]:
        return None, jax.lax.cond(row[0], native, nothing, row[1])

    with jax.disable_jit(False):
        return map_leaves(ep.astensor, jax.lax.scan(flat(body), None, (wanted, inputs))[1])


def scan_where(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any, wanted: Any, nothing: Any) -> tuple:
    native, (carry, inputs, wanted, nothing) = _on_arrays(step), unwrap((carry, inputs, wanted, nothing))

    def body(carry: Any, row: Any) -> tuple:
        return jax.lax.cond(row[0], native, lambda carry, _: (carry, nothing), carry, row[1])

    with jax.disable_jit(False):
        return map_leaves(ep.astensor, jax.lax.scan(flat(body), carry, (wanted, inputs)))


def _on_arrays(step: Callable[[Any, Any], tuple]) -> Callable[[Any, Any], Any]:
    """A step of tensors as one of native arrays."""
    return flat(lambda carry, row: unwrap(step(*map_leaves(ep.astensor, (carry, row)))))


def if_any(values: Any, function: Callable[[Any, Any], Any], otherwise: Any) -> Any:
    def where_needed(otherwise: Any, values: Any) -> Any:
        return jax.lax.cond(values.any(), function, lambda otherwise, _: otherwise, otherwise, values)

    return jax.lax.platform_dependent(otherwise, values, cpu=where_needed, default=function)


def with_derivative(derived: Any, *arrays: Any) -> Any:
    return _with_derivative(derived)(*arrays)


@cache
def _with_derivative(derived: Any) -> Callable[..., Any]:
    def native(*arrays: Any) -> Any:
        return derived.value(*map(ep.astensor, arrays))[0].raw

    def moved(arrays: Any, steps: Any) -> tuple[Any, Any]:
        value, kept = derived.value(*map(ep.astensor, arrays))
        steps = steps[: derived.movers]
        moving = tuple(not isinstance(step, jax.custom_derivatives.SymbolicZero) for step in steps)
        if not any(moving):
            return value.raw, jnp.zeros_like(value.raw)
        arrays = arrays if derived.again else ()
        shared = {"derived": derived, "count": len(arrays), "moving": moving, "shape": value.shape, "many": False}
        return value.raw, linear.bind(*arrays, *unwrap(tuple(kept)), *compress(steps, moving), **shared)

    function = jax.custom_jvp(native)
    function.defjvp(moved, symbolic_zeros=True)
    return function


# The derivative of a value as a linear map of its own, whose transposed and whose many directions JAX need not work out
linear = Primitive("linear")


def _split(operands: Any, count: int, moving: tuple[bool, ...]) -> tuple[list[Any], list[Any], list[Any]]:
    """So many arrays, what is kept of the value, and the steps that there are."""
    ends = count, len(operands) - sum(moving)
    return list(operands[: ends[0]]), list(operands[ends[0] : ends[1]]), list(operands[ends[1] :])


def _jvp(*operands: Any, derived: Any, count: int, moving: tuple[bool, ...], many: bool, **_: Any) -> Any:
    arrays, kept, steps = _split(operands, count, moving)
    given = iter(steps if many else [step[None] for step in steps])
    arrays, kept = map_leaves(ep.astensor, (tuple(arrays), tuple(kept)))
    pushed = derived.jvp(arrays, kept, *(ep.astensor(next(given)) if moves else None for moves in moving)).raw
    return pushed if many else pushed[0]


def _vjp(
    slope: Any, *operands: Any, derived: Any, count: int, moving: tuple[bool, ...], many: bool, **_: Any
) -> list[Any]:
    arrays, kept, steps = _split(operands, count, moving)
    fixed = map_leaves(ep.astensor, (tuple(arrays), tuple(kept)))

    def pulled(slope: Any) -> list[Any]:
        found = [slope.raw for slope in derived.vjp(*fixed, ep.astensor(slope), moving) if slope is not None]
        # else XLA draws their sums into loops that run on one thread
        return [jax.lax.optimization_barrier(slope) for slope in found]

    nothing = [None] * (len(arrays) + len(kept))
    if isinstance(slope, ad.Zero):
        return [*nothing, *(ad.Zero(step.aval) for step in steps)]
    return [*nothing, *(jax.vmap(pulled)(slope) if many else pulled(slope))]


def _batch(operands: Any, axes: Any, *, many: bool, moving: tuple[bool, ...], **shared: Any) -> tuple[Any, int]:
    """Many directions at one place are one more axis; many places are left to JAX."""
    run = partial(_jvp, many=many, moving=moving, **shared)
    fixed = len(operands) - sum(moving)
    if many or any(axis is not None for axis in axes[:fixed]):
        return jax.vmap(run, in_axes=tuple(axes))(*operands), 0
    count = next(array.shape[axis] for array, axis in zip(operands, axes, strict=True) if axis is not None)
    steps = [
        jnp.broadcast_to(step, (count, *step.shape)) if axis is None else jnp.moveaxis(step, axis, 0)
        for step, axis in zip(operands[fixed:], axes[fixed:], strict=True)
    ]
    return linear.bind(*operands[:fixed], *steps, many=True, moving=moving, **shared), 0


def _shape(*operands: Any, shape: tuple[int, ...], many: bool, **_: Any) -> Any:
    return jax.core.ShapedArray((operands[-1].shape[0], *shape) if many else shape, operands[-1].dtype)


linear.def_impl(_jvp)
linear.def_abstract_eval(_shape)
mlir.register_lowering(linear, mlir.lower_fun(_jvp, multiple_results=False))
ad.primitive_transposes[linear] = _vjp
ad.primitive_jvps[linear] = lambda values, steps, **shared: jax.jvp(
    partial(_jvp, **shared), values, tuple(map(ad.instantiate_zeros, steps))
)
batching.primitive_batchers[linear] = _batch
