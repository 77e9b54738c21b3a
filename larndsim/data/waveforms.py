"""What each pixel sees, tick by tick."""

from __future__ import annotations

from typing import Any, NamedTuple


class Waveforms(NamedTuple):
    """Cumulative charge of each pixel. Axes: (pixel,), (pixel, tick).

    `charge[p, k]` is the charge (electrons) seen by pixel p until the time `start[p] + k * tick` (us). The window of a
    pixel does not depend on the parameters; before it the charge is zero, after it the charge stays what it is.
    Where an event goes on after a long silence, a pixel has one row for each `burst` of deposits, counted from zero.
    """

    event: Any
    plane: Any
    ix: Any
    iy: Any
    start: Any
    tick: float
    charge: Any
    burst: Any
