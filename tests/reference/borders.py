"""Which TPC a segment belongs to, and the part of it that lies inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from larndsim.data.segments import Segments
from larndsim.detector.parameters import Parameters

from .quenching import electrons

if TYPE_CHECKING:
    from larndsim.detector.geometry import Geometry

MARGIN = 0.02  # cm


class Line(NamedTuple):
    """Electrons spread evenly along a straight line inside one TPC."""

    start: np.ndarray  # (x, y, z), cm
    step: np.ndarray  # from start to end, cm
    electrons: float
    time: float  # us


def box(geometry: Geometry, plane: int) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner (x, y, z) of the TPC in front of a plane, cm."""
    z = sorted((float(geometry.anode_z[plane]), float(geometry.cathode_z[plane])))
    low = np.array([geometry.x_low[plane], geometry.y_low[plane], z[0]], dtype=float)
    high = np.array([geometry.x_high[plane], geometry.y_high[plane], z[1]], dtype=float)
    return low, high


def planes(segments: Segments, geometry: Geometry) -> np.ndarray:
    """The plane whose TPC holds the middle of each (unshifted) segment, or -1. Axis: (segment,).

    A middle just outside every TPC, by no more than the margin, counts as inside the first that it is near.
    """
    start, end = ends(segments)
    middle = (start + end) / 2
    found = np.full(len(middle), -1)
    for margin in (MARGIN, 0.0):
        for plane in reversed(range(len(geometry.anode_z))):
            low, high = box(geometry, plane)
            held = (middle >= low - margin) & (middle <= high + margin)
            found[held.all(axis=1)] = plane
    return found


def ends(segments: Segments) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each segment, cm. Axes: (segment, xyz)."""
    s = segments
    return np.stack([s.x_start, s.y_start, s.z_start], axis=1), np.stack([s.x_end, s.y_end, s.z_end], axis=1)


def clip(start: np.ndarray, step: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """The range of u in [0, 1] for which start + u * step lies in the box; empty if first > last."""
    first, last = 0.0, 1.0
    for s, d, a, b in zip(start, step, low, high, strict=True):
        if d != 0:
            near, far = sorted(((a - s) / d, (b - s) / d))
            first, last = max(first, near), min(last, far)
        elif not a <= s <= b:
            return 1.0, 0.0
    return first, last


def lines(
    segments: Segments, geometry: Geometry, parameters: Parameters, plane: int, model: str = "birks"
) -> list[Line]:
    """The charge that the segments leave in the TPC of `plane`: shifted, clipped at the border of the TPC."""
    start, end = ends(segments)
    step = end - start
    start = start + np.array([parameters.shift_x, parameters.shift_y, parameters.shift_z])
    charge = electrons(segments, parameters, model)
    kept = []
    for i in np.flatnonzero(planes(segments, geometry) == plane):
        first, last = clip(start[i], step[i], *box(geometry, plane))
        if first <= last:
            part = last - first
            kept.append(Line(start[i] + first * step[i], part * step[i], part * charge[i], segments.t[i]))
    return kept
