"""What a backend does at the door of the pipeline."""

from __future__ import annotations

import ctypes
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from .operations import with_derivative
from .tree import map_leaves

OWN_PIECE = -3  # M_MMAP_THRESHOLD of malloc.h: from this size on a piece of memory is one of its own
LARGE_PIECE = 2**22  # bytes


class Cost(NamedTuple):
    """How many numbers a framework holds at a peak, measured with `python -m benchmarks memory`.

    Each times those in the arrays of the chunks (`larndsim.engine.footprint.Numbers`).
    """

    ticks: float  # in the whole batch: its waveforms, its hits, and the loss on them
    kept: float  # in all chunks of the part at work
    bells: float  # in the chunk at work


TILE = 8e3  # bytes that a tile of eight nodes takes with what a gradient keeps
FEW = 4  # chunks at least are to fit into the memory


class Sizes(NamedTuple):
    """How much is computed at once."""

    tiles: int = 512  # of a layer, which the caches of a processor hold
    chunk: int = 2**13  # tiles of a chunk, which is computed by one call
    padded: bool = False  # whether shapes are compiled: then chunks have one shape,
    scale: int = 1  # in which layers are so many times larger

    def within(self, memory: float) -> Sizes:
        """Smaller chunks, where some of them would not fit into so many bytes."""
        return self._replace(chunk=min(self.chunk, int(memory / (FEW * TILE))))


class Backend(ABC):
    """A framework on one device in one precision."""

    name: str
    hits_cost: Cost
    gradient_cost: Cost
    compiles_shapes: bool = False  # whether each shape of arrays costs a compilation

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.device = device
        self.dtype = dtype

    @abstractmethod
    def asarray(self, value: Any) -> Any:
        """A native array on this device: integers stay integers, real numbers take the backend's dtype."""

    def put(self, tree: Any) -> Any:
        """A tree of NumPy arrays, on this device."""
        return map_leaves(self.asarray, tree)

    @abstractmethod
    def numpy(self, value: Any) -> np.ndarray:
        """A native array as a NumPy array, without its gradient."""

    def known(self, value: Any) -> np.ndarray:
        """What a native array is now, without its gradient, whatever derivative is being taken of it."""
        return self.numpy(value)

    def underived(self) -> AbstractContextManager[None]:
        """A context in which nothing is derived, whatever derivative is being taken around it."""
        return nullcontext()

    def scalars(self, values: Iterable[Any]) -> list[Any]:
        """Numbers as native arrays of the backend's dtype, their gradients kept."""
        return [self.asarray(value) for value in values]

    def is_concrete(self, value: Any) -> bool:
        """Whether the value is known now, rather than a stand-in of a transformation."""
        return True

    def moves(self, value: Any) -> bool:
        """Whether a derivative is being taken by the value."""
        return not self.is_concrete(value)

    def compile(
        self, function: Callable[..., Any], moves: tuple[int, ...] = (), small_loops: bool = False, **static: Any
    ) -> Callable[..., Any]:
        """A function of native trees from one of EagerPy trees, compiled where the framework can.

        `moves`: the arguments that a gradient is likely to go back to. `small_loops`: it is made of many. `static`:
        further arguments, by name, that decide what is compiled.
        """
        return native(partial(function, **static))

    def compilations(self) -> int:
        """How many functions this process has compiled, or loaded, so far."""
        return 0

    def chained(self, function: Callable[..., Any], keep: bool) -> Callable[..., Any]:
        """The same function of native trees, which calls compiled ones and does no more than pass arrays on.

        Unless its gradient may `keep` what it needs, it computes that again on the way back, and holds nothing.
        """
        return function if keep else self.alone(partial(with_free_memory, function))

    def alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which holds nothing for its gradient."""
        return function

    def each(self, functions: Sequence[Callable[..., Any]], *trees: Any) -> list[Any]:
        """What each of these functions of the same native trees gives; a framework may call several at once."""
        return [function(*trees) for function in functions]

    def value_and_grad(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        """Value and gradient of a scalar function of named values."""
        raise NotImplementedError(f"{self.name} has no derivatives")

    def jacobian(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        """Value and derivatives, in forward mode, of a function of named scalars with any tree as value."""
        raise NotImplementedError(f"{self.name} has no derivatives")

    @abstractmethod
    def sizes(self, memory: float) -> Sizes:
        """How much is computed by one call, where there is so much memory in bytes."""

    def lines(self, function: Callable[..., Any], *trees: Any) -> Any:
        """A function of EagerPy trees that have as many rows as a batch has segments: a shape of its own."""
        return native(function)(*trees)

    def derived(self, derived: Any, *arrays: Any) -> Any:
        """What a `Derived` makes of native arrays, and arrays of NumPy, which do not move."""
        return native(partial(with_derivative, derived))(*map(self.asarray, arrays))

    def sums(self, values: Any, count: int) -> Any:
        """Sums of so many native values (n,) at a time."""
        return values.reshape((-1, count)).sum(1)

    def as_mask(self, column: Any) -> Any:
        """Ones and zeros as true and false, without gradient."""
        return column > 0.5

    @abstractmethod
    def gathered(self, table: Any, index: Any) -> Any:
        """Rows of a native `table` at an `index`."""

    @abstractmethod
    def columns(self, parts: list[Any], rows: list[np.ndarray]) -> tuple[Any, ...]:
        """Some rows of each of many native arrays (row, m, column), by columns, flat."""

    @abstractmethod
    def rows(self, parts: list[Any], rows: list[np.ndarray]) -> Any:
        """Some rows of each of many native arrays, one after the other."""

    def synchronize(self) -> None:  # noqa: B027
        """Wait until the device has done all its work; nothing to wait for, unless a framework says so."""

    def _dtype_of(self, array: np.ndarray) -> Any:
        """NumPy dtype that an array takes on this backend."""
        if array.dtype.kind == "f":
            return np.dtype(self.dtype)
        return np.dtype(bool) if array.dtype.kind == "b" else np.dtype("int32" if array.itemsize <= 4 else "int64")


def switched_off(effect: str) -> bool:
    """Whether the user has set LARNDSIM_<EFFECT>=0: the library then does without this effect on the whole process."""
    return os.environ.get(f"LARNDSIM_{effect}") == "0"


def cache_folder(effect: str, name: str) -> str | None:
    """The folder that LARNDSIM_<EFFECT> names, else one in the cache folder of the user; None where it is off."""
    if switched_off(effect):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get(f"LARNDSIM_{effect}") or os.path.join(home, "larndsim", name)


def with_free_memory(function: Callable[..., Any], *trees: Any) -> Any:
    """Call a function when what is free has been given back to the system, as large pieces are from now on at once.

    The GNU library would keep ever larger ones for later. What the user has told it goes first.
    """
    told = "MALLOC_MMAP_THRESHOLD_" in os.environ or "malloc.mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
    if not told and (library := _gnu_library()):
        library.mallopt(OWN_PIECE, LARGE_PIECE)
    give_back()
    return function(*trees)


def give_back() -> None:
    """Memory that is free, but lies between pieces that are in use, goes back to the system, if that is Linux."""
    if library := _gnu_library():
        library.malloc_trim(0)


def _gnu_library() -> Any:
    """The C library, if it is the GNU one, whose memory can be steered, and the user lets us."""
    library = ctypes.CDLL(None) if sys.platform == "linux" and not switched_off("MALLOC") else None
    return library if hasattr(library, "malloc_trim") else None


def unwrap(tree: Any) -> Any:
    """EagerPy tree -> native tree."""
    return map_leaves(lambda leaf: leaf.raw if isinstance(leaf, ep.Tensor) else leaf, tree)


def native(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of native trees from one of EagerPy trees."""

    def unwrapped(*trees: Any) -> Any:
        return unwrap(function(*map_leaves(lambda leaf: leaf if isinstance(leaf, int) else ep.astensor(leaf), trees)))

    return unwrapped
