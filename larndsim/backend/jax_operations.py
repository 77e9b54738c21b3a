"""What EagerPy lacks, for JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import eagerpy as ep
import jax
import jax.numpy as jnp

from .base import unwrap
from .tree import map_leaves

FULL = jax.lax.Precision.HIGHEST  # no reduced-precision products on accelerators


def batched_matmul(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=FULL)


def matmul(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision=FULL)


def take(values: Any, index: Any) -> Any:
    return jnp.take(values, index, axis=0, mode="clip")


def take_along(values: Any, index: Any) -> Any:
    return jnp.take_along_axis(values, index, axis=1, mode="clip")


def bell(x: Any, far: float) -> Any:
    return jnp.exp(-jnp.minimum(x * x, far))


def part_of(values: Any, first: Any, length: int) -> Any:
    return jax.lax.dynamic_slice_in_dim(values, first, length)


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


def first_true(mask: Any) -> Any:
    return jnp.where(mask, jnp.arange(mask.shape[1], dtype=jnp.int32), mask.shape[1]).min(axis=1)


def rounded(values: Any) -> Any:
    return jnp.round(jax.lax.stop_gradient(values))


def scan(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any) -> tuple:
    return map_leaves(ep.astensor, jax.lax.scan(_on_arrays(step), unwrap(carry), unwrap(inputs)))


def scan_while(step: Callable[[Any, Any], tuple], going: Callable[[Any], Any], carry: Any, inputs: Any) -> Any:
    carry, inputs = jax.lax.stop_gradient(unwrap((carry, inputs)))
    native, count = _on_arrays(step), jax.tree.leaves(inputs)[0].shape[0]

    def row(number: Any) -> Any:
        return jax.tree.map(lambda rows: jax.lax.dynamic_index_in_dim(rows, number, keepdims=False), inputs)

    def body(state: tuple) -> tuple:
        number, _, carry, outputs = state
        carry, output = native(carry, row(number))
        # what is there from here on, too, unless a later row says otherwise
        later = jnp.arange(count) >= number
        outputs = jax.tree.map(
            lambda rows, new: jnp.where(later.reshape(-1, *[1] * new.ndim), new, rows), outputs, output
        )
        return number + 1, going(map_leaves(ep.astensor, output)).raw, carry, outputs

    shapes = jax.eval_shape(native, carry, row(0))[1]
    empty = jax.tree.map(lambda shape: jnp.zeros((count, *shape.shape), shape.dtype), shapes)
    start = (jnp.int32(0), jnp.bool_(True), carry, empty)
    outputs = jax.lax.while_loop(lambda state: state[1] & (state[0] < count), body, start)[3]
    return map_leaves(ep.astensor, outputs)


def _on_arrays(step: Callable[[Any, Any], tuple]) -> Callable[[Any, Any], Any]:
    """A step of tensors as one of native arrays."""
    return lambda carry, row: unwrap(step(*map_leaves(ep.astensor, (carry, row))))


def with_derivative(function: Callable[..., tuple[Any, Any]], *arrays: Any) -> Any:
    return _with_derivative(function)(*arrays)


@cache
def _with_derivative(function: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    def native(*arrays: Any) -> Any:
        return function(*map(ep.astensor, arrays))[0].raw

    def moved(arrays: Any, steps: Any) -> tuple[Any, Any]:
        value, push = function(*map(ep.astensor, arrays))
        still = jax.custom_derivatives.SymbolicZero
        return value.raw, push(*(None if isinstance(step, still) else ep.astensor(step) for step in steps)).raw

    derived = jax.custom_jvp(native)
    derived.defjvp(moved, symbolic_zeros=True)
    return derived
