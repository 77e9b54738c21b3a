"""Drifted electrons -> the charge that a pixel has seen by a given time.

The reference charge of a pixel is an integral along each segment and over the pixel's face,

    Q(t) = sum_segments int du electrons survival(u) int_face dX dY g(X - x(u)) g(Y - y(u)) R(t - t0(u); X, Y),

g being the Gaussian of width sigma_T(u), and R the response smeared in time by sigma_t(u). Gauss-Legendre rules that
follow the cloud do it: nodes along the line, and for each of them nodes over the part of the face that its cloud
covers. The response sees |X| and |Y| only (offsets from the pixel's centre), so the face is folded into one quadrant.
`accuracy` multiplies the number of nodes in every direction.

The segments given must be of one event, or `event` picks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtr

from larndsim.data.segments import Segments
from larndsim.detector.parameters import Parameters

from .borders import lines
from .clouds import Clouds, clouds, unit_rule
from .response import STEEPEST, Response, kink, response, smeared, smeared_early

if TYPE_CHECKING:
    from larndsim.detector.geometry import Geometry

REACH = 6.0  # widths from its centre to where a Gaussian ends: the rest is 2e-9


class Electrons(NamedTuple):
    """Charge at points of the pixel's face, with the response to it. Axis: (node,)."""

    charge: np.ndarray
    t0: np.ndarray
    sigma_t: np.ndarray
    response: Response

    def select(self, index: np.ndarray | slice) -> Electrons:
        """The nodes that `index` (a mask, indices or a slice) picks."""
        picked = Response(*(column[index] for column in self.response))
        return Electrons(self.charge[index], self.t0[index], self.sigma_t[index], picked)


def waveform(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    plane: int,
    ix: int,
    iy: int,
    times: np.ndarray,
    model: str = "birks",
    linked: bool = False,
    event: int | None = None,
    accuracy: float = 1.0,
) -> np.ndarray:
    """Cumulative electrons that a pixel has seen at each of `times` (us). Axis: (time,)."""
    times = np.asarray(times, dtype=float)
    charge = np.zeros(len(times))
    half = geometry.pitch[plane] / 2
    for line in lines(of_event(segments, event), geometry, parameters, plane, model):
        row = clouds(line, geometry, parameters, plane, linked, accuracy)
        x = np.abs(row.x - geometry.x_low[plane] - (2 * ix + 1) * half)
        y = np.abs(row.y - geometry.y_low[plane] - (2 * iy + 1) * half)
        row = row._replace(x=x, y=y).select(np.maximum(x, y) < half + REACH * row.sigma_T)
        for i in range(0, len(row.x), 24):
            charge += _seen(_on_face(row.select(slice(i, i + 24)), half, accuracy), times)
    return charge


def total(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    plane: int,
    ix: int,
    iy: int,
    model: str = "birks",
    linked: bool = False,
    event: int | None = None,
    accuracy: float = 1.0,
) -> float:
    """The electrons that a pixel has seen in the end."""
    x_edges = geometry.x_low[plane] + geometry.pitch[plane] * np.array([ix, ix + 1])
    y_edges = geometry.y_low[plane] + geometry.pitch[plane] * np.array([iy, iy + 1])
    edges = (x_edges, y_edges)
    return float(on_cells(of_event(segments, event), geometry, parameters, plane, edges, model, linked, accuracy)[0, 0])


def plane_charge(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    plane: int,
    model: str = "birks",
    linked: bool = False,
    event: int | None = None,
    accuracy: float = 1.0,
) -> float:
    """The electrons that all pixels of a plane have seen in the end: those that arrive within the pixel grid."""
    x_edges = geometry.x_low[plane] + geometry.pitch[plane] * np.array([0, geometry.n_x[plane]])
    y_edges = geometry.y_low[plane] + geometry.pitch[plane] * np.array([0, geometry.n_y[plane]])
    edges = (x_edges, y_edges)
    return float(on_cells(of_event(segments, event), geometry, parameters, plane, edges, model, linked, accuracy)[0, 0])


def on_cells(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    plane: int,
    edges: tuple[np.ndarray, np.ndarray],
    model: str = "birks",
    linked: bool = False,
    accuracy: float = 1.0,
) -> np.ndarray:
    """The electrons that arrive in each cell of the grid with the given edges in x and y (cm). Axes: (x, y)."""
    charge = np.zeros((len(edges[0]) - 1, len(edges[1]) - 1))
    for line in lines(segments, geometry, parameters, plane, model):
        row = clouds(line, geometry, parameters, plane, linked, accuracy)
        in_x = np.diff(ndtr((edges[0] - row.x[:, None]) / row.sigma_T[:, None]), axis=1)
        in_y = np.diff(ndtr((edges[1] - row.y[:, None]) / row.sigma_T[:, None]), axis=1)
        charge += (row.electrons[:, None] * in_x).T @ in_y
    return charge


def of_event(segments: Segments, event: int | None) -> Segments:
    """The segments of one event; without a name for it, there must be only one."""
    if event is not None:
        return segments.select(segments.event == event)
    if len(np.unique(segments.event)) > 1:
        raise ValueError("segments of several events: say which `event`")
    return segments


def _on_face(row: Clouds, half: float, accuracy: float) -> Electrons:
    """Spread clouds at offsets x, y >= 0 over a quadrant of the face. Nodes without charge are left out."""
    steepness = np.sqrt(1 + np.max(STEEPEST * row.sigma_T / row.sigma_t) ** 2)
    widths = min(2 * REACH, half / np.min(row.sigma_T))
    n = int(np.ceil(accuracy * (4.5 + widths * (0.85 + 0.25 * steepness))))
    y, weight_y = _quadrant_rule(row.y, row.sigma_T, np.minimum(kink(np.zeros(1)), half), half, n)
    column = Clouds(*(value[:, None] for value in row))
    x, weight_x = _quadrant_rule(column.x, column.sigma_T, np.minimum(kink(y), half), half, n)
    charge = column.electrons[..., None] * weight_y[..., None] * weight_x
    kept = charge > 1e-8 * charge.mean()
    cloud = np.broadcast_to(np.arange(len(row.x))[:, None, None], charge.shape)[kept]
    at_y = np.broadcast_to(y[..., None], charge.shape)[kept]
    return Electrons(charge[kept], row.t0[cloud], row.sigma_t[cloud], response(x[kept], at_y))


def _quadrant_rule(
    centre: np.ndarray, sigma: np.ndarray, split: np.ndarray, half: float, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes over [0, half], split where the response has a kink, and the charge at each. New last axis: (node,).

    The weight holds the Gaussian and its mirror image: the charge at +x and at -x.
    """
    low, high = np.maximum(centre - REACH * sigma, 0.0), np.minimum(centre + REACH * sigma, half)
    middle = np.clip(split, low, high)
    nodes, weights = unit_rule(n)
    below, above = (middle - low)[..., None], (high - middle)[..., None]
    x = np.concatenate([low[..., None] + below * nodes, middle[..., None] + above * nodes], axis=-1)
    weight = np.concatenate([below * weights, above * weights], axis=-1)
    centre, sigma = centre[..., None], sigma[..., None]
    images = np.exp(-(((x - centre) / sigma) ** 2) / 2) + np.exp(-(((x + centre) / sigma) ** 2) / 2)
    return x, weight * images / (np.sqrt(2 * np.pi) * sigma)


def _seen(electrons: Electrons, times: np.ndarray) -> np.ndarray:
    """The sum over nodes of charge times smeared response. Axis: (time,).

    Few nodes at a time, of similar `end`: most times are then clearly before or after it, which is quick.
    """
    end = electrons.t0 + electrons.response.s
    order = np.argsort(end)
    seen = np.zeros(len(times))
    for i in range(0, len(order), 256):
        some = electrons.select(order[i : i + 256])
        width = 7 * some.sigma_t
        early = times < np.min(end[order[i : i + 256]] - width - some.sigma_t**2 / some.response.b)
        late = times > np.max(end[order[i : i + 256]] + width)
        r = Response(*(column[:, None] for column in some.response))
        u, sigma = times - some.t0[:, None], some.sigma_t[:, None]
        seen[early] += some.charge @ smeared_early(u[:, early], r, sigma)
        seen[late] += some.charge.sum()
        rest = ~early & ~late
        seen[rest] += some.charge @ smeared(u[:, rest], r, sigma)
    return seen
