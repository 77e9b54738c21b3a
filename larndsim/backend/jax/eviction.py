"""What JAX compiles: once, however many threads ask for it; and room for it.

Each compiled function takes some 3 MB, in many small pieces. Linux lets a process have only so many (vm.max_map_count,
65,530 by default), and XLA ends the process when there are no more. So what is compiled is forgotten in time: what is
needed again comes from the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ..base import give_back

MAPS, MOST = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
FULL = 0.7  # of the pieces that a process may have
EVERY = 20  # compilations, after which they are counted: some hundred pieces each

_compiled = _looked = 0  # functions so far, and when the pieces were last counted


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    global _compiled
    _compiled += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_count)


def compilations() -> int:
    """How many functions have been compiled, or loaded from the disk, so far."""
    return _compiled


def make_room() -> None:
    """Forget all that is compiled if it has become too much."""
    global _looked
    if _compiled - _looked >= EVERY:
        _looked = _compiled
        if _pieces() > FULL * _limit():
            jax.clear_caches()
            give_back()


def _pieces() -> int:
    """How many pieces of memory this process has; 0 where nobody says."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


def _limit() -> int:
    return int(MOST.read_text()) if MOST.exists() else 65530


_known: set[Any] = set()  # what no thread needs to compile any more
_compiling = threading.Lock()


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a compiled function; of many threads that do so for the first time, one compiles it."""
    leaves, shape = jax.tree.flatten(arguments)
    key = id(function), shape, tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf for leaf in leaves)
    if key in _known:
        return function(*arguments)
    with _compiling:
        found = function(*arguments)
    _known.add(key)
    return found
