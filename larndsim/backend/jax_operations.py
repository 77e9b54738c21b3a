"""What EagerPy lacks, for JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

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


def constant(values: Any) -> Any:
    return jax.lax.stop_gradient(values)
