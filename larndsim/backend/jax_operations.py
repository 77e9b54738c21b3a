"""What EagerPy lacks, for JAX."""

from __future__ import annotations

from collections.abc import Callable
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
    return jnp.where(mask.any(axis=1), mask.argmax(axis=1), mask.shape[1]).astype(jnp.int32)


def rounded(values: Any) -> Any:
    return jnp.round(jax.lax.stop_gradient(values))


def scan(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any) -> tuple:
    def native(carry: Any, row: Any) -> Any:
        return unwrap(step(*map_leaves(ep.astensor, (carry, row))))

    return map_leaves(ep.astensor, jax.lax.scan(native, unwrap(carry), unwrap(inputs)))
