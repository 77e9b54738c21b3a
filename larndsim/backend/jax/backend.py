"""JAX, on the CPU or on CUDA, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import jax
import numpy as np

from ...errors import ArgumentError
from ..base import Backend, Cost, cache_folder, native
from ..tree import leaves, register_static, with_leaves
from . import eviction
from .flags import own_flags
from .tape import Compiled, StandIn, alone, jacobian, joined, value_and_grad

UNSET = 1.0  # s of compilation: what JAX keeps only takes longer, unless it is told otherwise


@register_static
def _register(kind: type) -> None:
    """A type without leaves, whose value belongs to the structure of a tree."""
    jax.tree_util.register_pytree_node(kind, lambda value: ((), value), lambda value, _: value)


class JAXBackend(Backend):
    """JAX; everything that is compiled here can be differentiated, mapped and compiled again."""

    name = "jax"
    compiles_shapes = True
    at_once = 8
    hits_cost = Cost(rows=480.0, kept=0.8, bells=0.0)
    gradient_cost = Cost(rows=700.0, kept=2.15, bells=0.3)

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        self._device = _device(device)
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)  # global: JAX has no other switch that reaches traced code
        _keep_compiled()

    def asarray(self, value: Any) -> Any:
        if isinstance(value, jax.Array):
            other = value.dtype != self.dtype and jax.numpy.issubdtype(value.dtype, jax.numpy.floating)
            return value.astype(self.dtype) if other else value
        if isinstance(value, StandIn):
            return value
        array = np.asarray(value)
        return jax.device_put(np.asarray(array, dtype=self._dtype_of(array)), self._device)

    def put(self, tree: Any) -> Any:
        """All at once, which takes half as long."""
        arrays = [np.asarray(leaf, dtype=self._dtype_of(np.asarray(leaf))) for leaf in leaves(tree)]
        return with_leaves(tree, jax.device_put(arrays, self._device))

    def scalars(self, values: Iterable[Any]) -> list[Any]:
        """On a processor those of NumPy stay: what is compiled takes them sooner than they could be put there."""
        known = jax.Array | StandIn
        values = [self.asarray(v) if isinstance(v, known) else np.asarray(v, dtype=self.dtype) for v in values]
        if self._device.platform == "cpu":
            return values
        put = iter(jax.device_put([v for v in values if isinstance(v, np.ndarray)], self._device))  # all at once
        return [next(put) if isinstance(v, np.ndarray) else v for v in values]

    def numpy(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    def known(self, value: Any) -> np.ndarray:
        array = value.array if isinstance(value, StandIn) else value
        if isinstance(array, jax.core.Tracer):
            remedy = "Take derivatives with larndsim.value_and_grad or larndsim.jacobian."
            raise ArgumentError("parameters", "be known for a likelihood", "they are being traced", remedy)
        return np.asarray(array)

    def is_concrete(self, value: Any) -> bool:
        return not isinstance(value, jax.core.Tracer | StandIn)

    def compile(
        self, function: Callable[..., Any], moves: tuple[int, ...] = (), small_loops: bool = False
    ) -> Callable[..., Any]:
        return _compiled(function, moves, small_loops)

    def compilations(self) -> int:
        return eviction.compilations()

    def alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Each waits until it is done: JAX would begin the next before memory is free."""

        def run(*trees: Any) -> Any:
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees)):
                return jax.checkpoint(function)(*trees)
            return alone(function, trees)

        return run

    def value_and_grad(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        return value_and_grad(function, dict(zip(values, self.scalars(values.values()), strict=True)))

    def jacobian(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        return jacobian(function, dict(zip(values, self.scalars(values.values()), strict=True)))

    def joined(self, parts: list[Any], counts: tuple[int, ...]) -> Any:
        """By NumPy, unless all is traced."""
        if any(isinstance(part, jax.core.Tracer) for part in parts):
            return jax.numpy.concatenate([part[:count] for part, count in zip(parts, counts, strict=True)])
        return joined(parts, counts, self.asarray)

    def synchronize(self) -> None:
        jax.effects_barrier()


@cache
def _compiled(function: Callable[..., Any], moves: tuple[int, ...], small_loops: bool) -> Callable[..., Any]:
    """Compiled once for all simulators: a function that is the same everywhere is not traced again."""
    return Compiled(native(function), moves, small_loops)


def _keep_compiled() -> None:
    """Keep what is compiled in a folder, for the next process, unless the user has told JAX where, or not at all.

    LARNDSIM_JAX_CACHE names the folder (default: larndsim/jax in the cache folder of the user).
    """
    told = jax.config.jax_compilation_cache_dir is not None  # type: ignore[attr-defined]
    folder = cache_folder("JAX_CACHE", "jax")
    if told or not jax.config.jax_enable_compilation_cache or folder is None:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    if jax.config.jax_persistent_cache_min_compile_time_secs == UNSET:  # type: ignore[attr-defined]
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _device(name: str) -> Any:
    """The device of that name, refused where it is not there."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise ArgumentError("device", "be cpu, cuda or cuda:N", f"it is {name!r}")
    try:
        with own_flags():
            return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError) as error:
        remedy = "Use device='cpu', or install jax with CUDA."
        raise ArgumentError("device", "be there", f"jax finds no {name!r}", remedy) from error


def widest_dtype() -> str:
    """float64 where it is enabled."""
    return "float64" if jax.numpy.zeros(0).dtype == "float64" else "float32"
