"""Where the pixel planes lie, and which of them holds a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .layout import Layout, planes

ROUNDED = 1.0  # cm by which files may let TPCs overlap: that of ND-LAr gives modules of 100.8 cm a place each 100 cm


class Geometry(NamedTuple):
    """One entry per pixel plane (= TPC). Axis: (plane,). Lengths in cm.

    `module` counts modules from 0. The pixel grid is uniform from the low corner, so that pixel
    `ix` spans x_low + ix * pitch to x_low + (ix + 1) * pitch. `direction` is +1.0 where electrons
    drift towards +z. Tiles may overlap by a fraction of a pixel: the grid may end beyond x_high, y_high.
    """

    module: np.ndarray
    anode_z: np.ndarray
    cathode_z: np.ndarray
    direction: np.ndarray
    x_low: np.ndarray
    x_high: np.ndarray
    y_low: np.ndarray
    y_high: np.ndarray
    pitch: np.ndarray
    n_x: np.ndarray
    n_y: np.ndarray

    @property
    def n_planes(self) -> int:
        """Number of pixel planes."""
        return len(self.module)

    @property
    def drift_length(self) -> np.ndarray:
        """Distance from anode to cathode, cm. Axis: (plane,)."""
        return np.abs(self.anode_z - self.cathode_z)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Axes (plane, ix, iy) that hold every pixel of every plane."""
        return self.n_planes, int(self.n_x.max()), int(self.n_y.max())


def build_geometry(layouts: Sequence[Layout], offsets: np.ndarray, drift_length: np.ndarray) -> Geometry:
    """The planes of the given modules' layouts.

    `offsets` (plane, 3) is where each plane's module lies, as (x, y, z); `drift_length` (plane,); cm.
    """
    module, tpc = np.array(list(planes(layouts)), dtype=np.int64).T
    each = [(layouts[m], t) for m, t in zip(module, tpc, strict=True)]
    anode = np.array([layout.centre[layout.tiles(t)[0], 2] for layout, t in each])
    low = np.array([layout.low_corner(t) for layout, t in each]) + offsets[:, :2]
    high = np.array([layout.high_corner(t) for layout, t in each]) + offsets[:, :2]
    n = np.array([layout.n_pixels(t) for layout, t in each], dtype=np.int64)
    # The module's own centre lies on the cathode's side, whatever number the TPC or the tile bears.
    direction = np.sign(anode)
    return Geometry(
        module=module,
        anode_z=anode + offsets[:, 2],
        cathode_z=anode + offsets[:, 2] - direction * drift_length,
        direction=direction,
        x_low=low[:, 0],
        x_high=high[:, 0],
        y_low=low[:, 1],
        y_high=high[:, 1],
        pitch=np.array([layout.pitch for layout, _ in each]),
        n_x=n[:, 0],
        n_y=n[:, 1],
    )


def pixel_centre(
    geometry: Geometry, plane: np.ndarray, ix: np.ndarray, iy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of the centres of pixels, cm. Axis: (pixel,)."""
    pitch = geometry.pitch[plane]
    return geometry.x_low[plane] + (ix + 0.5) * pitch, geometry.y_low[plane] + (iy + 0.5) * pitch


def plane_of(geometry: Geometry, x: np.ndarray, y: np.ndarray, z: np.ndarray, margin: float = 0.02) -> np.ndarray:
    """Index (int64) of the plane whose TPC holds each point, -1 where none does. Axis: (point,). Lengths in cm.

    A point within `margin` outside a TPC still belongs to it, unless another TPC holds it properly.
    """
    x, y, z = np.broadcast_arrays(*(np.asarray(axis, dtype=np.float64) for axis in (x, y, z)))
    points = np.stack([z.ravel(), x.ravel(), y.ravel()])  # z first: it tells most planes apart
    found = np.full(points.shape[1], -1, dtype=np.int64)
    for reach in (0.0, margin):
        homeless = np.flatnonzero(found < 0)
        z_homeless = points[0, homeless]
        for plane, (low, high) in enumerate(_boxes(geometry, reach)):
            near = homeless[(z_homeless >= low[0]) & (z_homeless <= high[0])]
            close = points[1:, near]
            inside = ((close >= low[1:, None]) & (close <= high[1:, None])).all(axis=0)
            inside &= found[near] < 0
            found[near[inside]] = plane
    return found.reshape(x.shape)


def overlapping(geometry: Geometry) -> tuple[int, int] | None:
    """Two planes whose TPCs share space, if there are any.

    Two of one module may that face each other: where the detector file does not know it well, the cathode is not thin.
    """
    boxes = _boxes(geometry, -0.5 * ROUNDED)
    for plane, (low, high) in enumerate(boxes):
        shared = np.all((boxes[plane + 1 :, 0] < high) & (boxes[plane + 1 :, 1] > low), axis=1)
        facing = (geometry.module == geometry.module[plane]) & (geometry.direction != geometry.direction[plane])
        if len(others := np.flatnonzero(shared & ~facing[plane + 1 :])):
            return plane, plane + 1 + int(others[0])
    return None


def _boxes(geometry: Geometry, reach: float) -> np.ndarray:
    """Borders of the TPCs, widened by `reach`. Axes: (plane, [low, high], [z, x, y])."""
    g = geometry
    low = np.stack([np.minimum(g.anode_z, g.cathode_z), g.x_low, g.y_low], axis=1) - reach
    high = np.stack([np.maximum(g.anode_z, g.cathode_z), g.x_high, g.y_high], axis=1) + reach
    return np.stack([low, high], axis=1)
