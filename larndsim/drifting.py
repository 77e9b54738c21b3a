"""Stage 2, electrons -> when and how widely they arrive at the response plane, and how many survive.

Everything is evaluated per point of a segment: each has its own drift distance `d` (cm) to the anode.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from .detector.parameters import Parameters

RESPONSE_DISTANCE = 0.5  # cm: the field response describes the end of the drift


class Drifted(NamedTuple):
    """What the drift does to the charge of each point. All of one shape."""

    arrival: Any  # us, at the response plane
    survival: Any  # fraction of the electrons that is not captured on the way
    variance_T: Any  # cm2, of the transverse position
    variance_t: Any  # us2, of the arrival time


def drift(d: Any, t: Any, parameters: Parameters) -> Drifted:
    """Drift charge over `d` (cm) from time `t` (us)."""
    v = parameters.vdrift
    delay = (d - RESPONSE_DISTANCE) / v
    spread = 2.0 * ep.maximum(d, 0.0) / v
    return Drifted(
        arrival=t + delay,
        survival=ep.exp(-ep.maximum(delay, 0.0) / parameters.lifetime),
        variance_T=parameters.tran_diff * spread,
        variance_t=parameters.long_diff * spread / (v * v),
    )
