"""The part of a straight segment that lies within its TPC: a box, so three pairs of planes.

EagerPy, so that the plan (NumPy) and the differentiable core share one definition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from ..data.batch import Frame


class Line(NamedTuple):
    """Straight segments in their frames (cm): where they start and how far they go along each axis."""

    x: Any
    y: Any
    z: Any
    dx: Any
    dy: Any
    dz: Any

    def moved(self, x: Any, y: Any, z: Any) -> Line:
        """The same lines, shifted."""
        return self._replace(x=self.x + x, y=self.y + y, z=self.z + z)


def borders(frame: Frame) -> tuple[tuple[Any, Any], ...]:
    """Low and high border of the box along x, y and z; the anode is at z = 0."""
    cathode = -frame.direction * frame.drift_length
    return (
        (frame.x_low, frame.x_high),
        (frame.y_low, frame.y_high),
        (ep.minimum(cathode, 0.0), ep.maximum(cathode, 0.0)),
    )


def clip(line: Line, frame: Frame) -> tuple[Any, Any]:
    """Where, from 0 (start) to 1 (end), each line enters and leaves the box; equal if it stays outside."""
    enter, leave = ep.zeros_like(line.x), ep.ones_like(line.x)
    for start, step, (low, high) in zip(line[:3], line[3:], borders(frame), strict=True):
        still = step == 0.0
        safe = ep.where(still, ep.ones_like(step), step)
        a, b = (low - start) / safe, (high - start) / safe
        enter = ep.maximum(enter, ep.where(still, ep.zeros_like(a), ep.minimum(a, b)))
        leave = ep.minimum(leave, ep.where(still, ep.ones_like(b), ep.maximum(a, b)))
    enter = ep.minimum(enter, 1.0)
    return enter, ep.maximum(leave, enter)
