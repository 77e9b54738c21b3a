"""Stage 2, electrons -> when and how widely they arrive at the response plane, and how many survive.

Everything is evaluated per point of a segment: each has its own drift distance `d` (cm) to the anode. The formulae of
arrival and widths are plain arithmetic: the plan, which is made for whole ranges of parameters, uses them on arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from .detector.parameters import Parameters

TAILS = 6.0  # widths of the arrival time that are followed: beyond lies 1e-9 at each end


class Drifted(NamedTuple):
    """What the drift does to the charge of each point. All of one shape."""

    arrival: Any  # us, at the response plane
    survival: Any  # fraction of the electrons that is not captured on the way
    variance_T: Any  # cm2, of the transverse position
    variance_t: Any  # us2, of the arrival time


def drift_time(d: Any, velocity: Any, response_distance: float) -> Any:
    """Time from a distance `d` to the response plane, us; negative between this plane and the anode."""
    return (d - response_distance) / velocity


def transverse_variance(d: Any, tran_diff: Any, velocity: Any) -> Any:
    """Variance of the position across the drift after a distance `d`, cm2."""
    return tran_diff * (2.0 * d / velocity)


def arrival_variance(d: Any, long_diff: Any, velocity: Any) -> Any:
    """Variance of the arrival time after a distance `d`, us2."""
    return long_diff * (2.0 * d / velocity) / (velocity * velocity)


def drift(d: Any, t: Any, parameters: Parameters, response_distance: float) -> Drifted:
    """Drift charge over `d` (cm) from time `t` (us)."""
    v = parameters.vdrift
    delay, way = drift_time(d, v, response_distance), ep.maximum(d, 0.0)
    return Drifted(
        arrival=t + delay,
        survival=ep.exp(-ep.maximum(delay, 0.0) / parameters.lifetime),
        variance_T=transverse_variance(way, parameters.tran_diff, v),
        variance_t=arrival_variance(way, parameters.long_diff, v),
    )
