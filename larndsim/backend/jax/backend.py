"""JAX, on the CPU or on CUDA, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import eagerpy as ep
import jax
import numpy as np

from ...errors import ArgumentError
from ..base import Backend, Cost, Sizes, cache_folder, native, unwrap
from ..tree import leaves, map_leaves, register_static, with_leaves
from . import eviction
from .flags import own_flags
from .tape import Compiled, StandIn, alone, hosted, jacobian, known, value_and_grad
from .threads import each

UNSET = 1.0  # s of compilation: what JAX keeps only takes longer, unless it is told otherwise


@register_static
def _register(kind: type) -> None:
    """A type without leaves, whose value belongs to the structure of a tree."""
    jax.tree_util.register_pytree_node(kind, lambda value: ((), value), lambda value, _: value)


GPU = 64  # times larger are the layers of a GPU, which waits for calls
ROOMY = 1e9  # bytes: with less memory a GPU, too, has chunks as small as a processor


class JAXBackend(Backend):
    """JAX; everything that is compiled here can be differentiated, mapped and compiled again."""

    name = "jax"
    compiles_shapes = True
    hits_cost = Cost(ticks=1.5, kept=0.3, bells=0.0)
    gradient_cost = Cost(ticks=2.4, kept=1.7, bells=0.3)

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
        return known(value)

    def known(self, value: Any) -> np.ndarray:
        if isinstance(value, jax.core.Tracer):
            remedy = "Take derivatives with larndsim.value_and_grad or larndsim.jacobian."
            raise ArgumentError("parameters", "be known for a likelihood", "they are being traced", remedy)
        return known(value)

    def is_concrete(self, value: Any) -> bool:
        return not isinstance(value, jax.core.Tracer)

    def moves(self, value: Any) -> bool:
        return isinstance(value, jax.core.Tracer | StandIn)

    def compile(
        self, function: Callable[..., Any], moves: tuple[int, ...] = (), small_loops: bool = False, **static: Any
    ) -> Callable[..., Any]:
        return _compiled(function, moves, small_loops, tuple(static.items()))

    def compilations(self) -> int:
        return eviction.compilations()

    def alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Each waits until it is done: JAX would begin the next before memory is free."""

        def run(*trees: Any) -> Any:
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees)):
                return jax.checkpoint(function)(*trees)
            return alone(function, trees)

        return run

    def each(self, functions: Sequence[Callable[..., Any]], *trees: Any) -> list[Any]:
        """On a processor in threads: XLA does not use all cores for what is small."""
        return each(functions, trees) if self._device.platform == "cpu" else super().each(functions, *trees)

    def value_and_grad(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        return value_and_grad(function, dict(zip(values, self.scalars(values.values()), strict=True)))

    def jacobian(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        return jacobian(function, dict(zip(values, self.scalars(values.values()), strict=True)))

    def sizes(self, memory: float) -> Sizes:
        small = self._device.platform == "cpu" or memory < ROOMY
        return Sizes(padded=True, scale=1 if small else GPU)

    def lines(self, function: Callable[..., Any], *trees: Any) -> Any:
        """By NumPy, unless something moves: then it is compiled for just so many segments."""
        if any(map(self.moves, leaves(trees))):
            return self.compile(function)(*trees)
        return unwrap(function(*map_leaves(lambda leaf: ep.astensor(known(leaf)), trees)))

    def derived(self, derived: Any, *arrays: Any) -> Any:
        """By NumPy: it is small, and of many shapes."""
        if any(isinstance(array, jax.core.Tracer) for array in arrays):
            return super().derived(derived, *arrays)
        tensors = tuple(ep.astensor(np.asarray(known(array), self._dtype_of(known(array)))) for array in arrays)
        value, kept = derived.value(*tensors)
        movers = arrays[: derived.movers]

        def jvp(steps: list[np.ndarray]) -> list[np.ndarray]:
            return [derived.jvp(tensors, tuple(kept), *map(ep.astensor, steps)).numpy()]

        def vjp(slopes: list[np.ndarray]) -> list[np.ndarray]:
            found = derived.vjp(tensors, tuple(kept), ep.astensor(slopes[0]), (True,) * len(movers))
            return [slope.numpy() for slope in found]

        return hosted([*movers], [self.asarray(value.numpy())], jvp, vjp)[0]

    def sums(self, values: Any, count: int) -> Any:
        if isinstance(values, jax.core.Tracer):
            return values.reshape((-1, count)).sum(1)

        def vjp(slopes: list[np.ndarray]) -> list[np.ndarray]:
            return [np.repeat(slopes[0], count)]

        found = self.asarray(known(values).reshape(-1, count).sum(axis=1))
        return hosted([values], [found], lambda s: [s[0].reshape(len(s[0]), -1, count).sum(axis=2)], vjp)[0]

    def as_mask(self, column: Any) -> Any:
        return column > 0.5 if isinstance(column, jax.core.Tracer) else self.asarray(known(column) > 0.5)

    def gathered(self, table: Any, index: Any) -> Any:
        if isinstance(table, jax.core.Tracer):
            return jax.numpy.take(table, index, axis=0, mode="clip")
        rows, array = known(index), known(table)

        def vjp(slopes: list[np.ndarray]) -> list[np.ndarray]:
            found = np.zeros_like(array)
            np.add.at(found, rows, slopes[0])
            return [found]

        return hosted([table], [array[rows]], lambda steps: [steps[0][:, rows]], vjp)[0]

    def columns(self, parts: list[Any], rows: list[np.ndarray]) -> tuple[Any, ...]:
        if any(isinstance(part, jax.core.Tracer) for part in parts):
            whole = self.rows(parts, rows)
            return tuple(whole.reshape(-1, whole.shape[2]).T)
        arrays = [known(part) for part in parts]

        def by_columns(rows: np.ndarray) -> list[np.ndarray]:
            return [*np.ascontiguousarray(np.moveaxis(rows, -1, 0)).reshape(rows.shape[-1], -1)]

        def jvp(steps: list[np.ndarray]) -> list[np.ndarray]:
            moved = _chosen([np.moveaxis(step, 0, 2) for step in steps], rows)  # (row, m, direction, column)
            return [
                np.moveaxis(moved[..., column].reshape(-1, moved.shape[2]), 1, 0) for column in range(moved.shape[3])
            ]

        def vjp(slopes: list[np.ndarray]) -> list[np.ndarray]:
            whole = np.stack(slopes, axis=-1).reshape(-1, *arrays[0].shape[1:])
            return _apart(whole, arrays, rows)

        found = [self.asarray(column) for column in by_columns(_chosen(arrays, rows))]
        return tuple(hosted(parts, found, jvp, vjp))

    def rows(self, parts: list[Any], rows: list[np.ndarray]) -> Any:
        if any(isinstance(part, jax.core.Tracer) for part in parts):
            return jax.numpy.concatenate([part[own] for part, own in zip(parts, rows, strict=True)])
        arrays = [known(part) for part in parts]

        def jvp(steps: list[np.ndarray]) -> list[np.ndarray]:
            return [np.moveaxis(_chosen([np.moveaxis(step, 0, 1) for step in steps], rows), 1, 0)]

        found = self.asarray(_chosen(arrays, rows))
        return hosted(parts, [found], jvp, lambda slopes: _apart(slopes[0], arrays, rows))[0]

    def synchronize(self) -> None:
        jax.effects_barrier()


def _chosen(arrays: list[np.ndarray], rows: list[np.ndarray]) -> np.ndarray:
    pairs = zip(arrays, rows, strict=True)
    return np.concatenate([array if len(array) == len(own) else array[own] for array, own in pairs])


def _apart(whole: np.ndarray, arrays: list[np.ndarray], rows: list[np.ndarray]) -> list[np.ndarray]:
    """Rows one after the other -> arrays as long as those given, zero but for their rows."""
    found = [np.zeros(array.shape, whole.dtype) for array in arrays]
    parts = np.split(whole, np.cumsum([len(own) for own in rows])[:-1])
    for array, own, part in zip(found, rows, parts, strict=True):
        array[own] = part
    return found


@cache
def _compiled(
    function: Callable[..., Any], moves: tuple[int, ...], small_loops: bool, static: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    """Compiled once for all simulators: a function that is the same everywhere is not traced again."""
    return Compiled(native(partial(function, **dict(static))), moves, small_loops)


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
