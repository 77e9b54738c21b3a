"""Room for what JAX compiles.

Each compiled function takes some 3 MB, in many small pieces. Linux lets a process have only so many (vm.max_map_count,
65,530 by default), and XLA ends the process when there are no more. So what is compiled is forgotten in time: what is
needed again comes from the disk.
"""

from __future__ import annotations

from pathlib import Path

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
