"""A segment as a row of point charges, each drifted on its own, dense enough for integrals over space and time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from larndsim.detector.parameters import Parameters

from . import drifting
from .borders import Line

if TYPE_CHECKING:
    from larndsim.detector.geometry import Geometry


class Clouds(NamedTuple):
    """Point charges as they arrive at the response plane, smeared by diffusion. Axis: (point,)."""

    x: np.ndarray  # cm
    y: np.ndarray  # cm
    electrons: np.ndarray  # that survive the drift
    t0: np.ndarray  # us
    sigma_T: np.ndarray  # cm
    sigma_t: np.ndarray  # us

    def select(self, index: np.ndarray | slice) -> Clouds:
        """The clouds that `index` (a mask, indices or a slice) picks."""
        return Clouds(*(column[index] for column in self))


@lru_cache
def unit_rule(n: int, panels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an integral over [0, 1]: n Gauss-Legendre nodes in each of equal panels."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    first = np.arange(panels)[:, None]
    return ((first + (nodes + 1) / 2) / panels).ravel(), np.tile(weights / 2 / panels, panels)


def clouds(
    line: Line, geometry: Geometry, parameters: Parameters, plane: int, linked: bool = False, accuracy: float = 1.0
) -> Clouds:
    """The point charges that stand for a line: four per three widths of their clouds, times `accuracy`."""
    d0 = abs(line.start[2] - geometry.anode_z[plane])
    d1 = abs(line.start[2] + line.step[2] - geometry.anode_z[plane])
    rules = [_rule(line.step, d0, d1, edges, parameters, linked, accuracy) for edges in _sides(d0, d1)]
    u, weight = np.concatenate(rules, axis=1)
    d = d0 + (d1 - d0) * u
    return Clouds(
        x=line.start[0] + line.step[0] * u,
        y=line.start[1] + line.step[1] * u,
        electrons=line.electrons * weight * drifting.survival(d, parameters, linked),
        t0=drifting.arrival_time(d, line.time, parameters, linked),
        sigma_T=drifting.sigma_T(d, parameters, linked),
        sigma_t=drifting.sigma_t(d, parameters, linked),
    )


def _sides(d0: float, d1: float) -> list[tuple[float, float]]:
    """The ranges of u on either side of the response plane, where survival has a kink."""
    cut = (drifting.RESPONSE_DISTANCE - d0) / (d1 - d0) if d1 != d0 else 0.0
    return [(0.0, cut), (cut, 1.0)] if 0 < cut < 1 else [(0.0, 1.0)]


def _rule(
    step: np.ndarray,
    d0: float,
    d1: float,
    edges: tuple[float, float],
    parameters: Parameters,
    linked: bool,
    accuracy: float,
) -> np.ndarray:
    """Nodes u and their weights over the range `edges`. Axes: (u and weight, node).

    Widths grow like the root of the distance. So does distance like r^2 in the substitution u(r):
    equal panels in r are equally many widths long, down to the anode.
    """
    root0, root1 = (np.sqrt(max(d0 + (d1 - d0) * u, drifting.NEAREST)) for u in edges)
    range_u = edges[1] - edges[0]
    middle = (root0 + root1) ** 2 / 4
    velocity = drifting.drift_velocity(parameters, linked)
    transverse = np.hypot(step[0], step[1]) / drifting.sigma_T(middle, parameters, linked)
    along = step[2] / velocity / drifting.sigma_t(middle, parameters, linked)
    panels = np.ceil(accuracy * (0.5 + range_u * np.hypot(transverse, along) / 9))
    r, weight = unit_rule(12, int(panels))
    u = edges[0] + range_u * r * (2 * root0 + (root1 - root0) * r) / (root0 + root1)
    return np.stack([u, weight * range_u * 2 * (root0 + (root1 - root0) * r) / (root0 + root1)])
