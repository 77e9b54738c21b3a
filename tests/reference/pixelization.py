"""Segments -> the pixels that see their charge, by looking at every pixel of the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from larndsim.data.segments import Segments
from larndsim.detector.parameters import Parameters

from .charge import of_event, on_cells

if TYPE_CHECKING:
    from larndsim.detector.geometry import Geometry


def pixel_map(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    plane: int,
    model: str = "birks",
    linked: bool = False,
    event: int | None = None,
) -> np.ndarray:
    """The total charge of every pixel of a plane, electrons. Axes: (ix, iy)."""
    x_edges = geometry.x_low[plane] + geometry.pitch[plane] * np.arange(geometry.n_x[plane] + 1)
    y_edges = geometry.y_low[plane] + geometry.pitch[plane] * np.arange(geometry.n_y[plane] + 1)
    edges = (x_edges, y_edges)
    return on_cells(of_event(segments, event), geometry, parameters, plane, edges, model, linked)


def touched_pixels(
    segments: Segments,
    geometry: Geometry,
    parameters: Parameters,
    event: int | None = None,
    minimum_electrons: float = 1.0,
    model: str = "birks",
    linked: bool = False,
) -> set[tuple[int, int, int]]:
    """The pixels (plane, ix, iy) that see more than `minimum_electrons` in the end."""
    touched = set()
    for plane in range(len(geometry.anode_z)):
        charge = pixel_map(segments, geometry, parameters, plane, model, linked, event)
        touched |= {(plane, int(ix), int(iy)) for ix, iy in np.argwhere(charge > minimum_electrons)}
    return touched
