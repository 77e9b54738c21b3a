"""A detector as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..response import FieldResponse
from .electronics import Electronics
from .geometry import Geometry
from .layout import Layout
from .parameters import BOUNDS, Bound, Parameters
from .readout import Readout, build_readout


@dataclass(frozen=True, eq=False)
class Detector:
    """All that the simulation knows of a detector. Lengths in cm, times in us.

    `parameters` are the nominal values, `nominal` has those of the electronics as well. Nothing is cut at
    `time_interval`, the nominal readout window. `vdrift_static` is the fixed velocity that turns drift times into the z
    of hits. `response` is how arriving charge is seen.
    """

    name: str
    parameters: Parameters
    geometry: Geometry
    electronics: Electronics
    layouts: tuple[Layout, ...]  # (module,)
    io_groups: tuple[tuple[int, ...], ...]  # (module, group)
    vdrift_static: Any
    bounds: Mapping[str, Bound] = field(default_factory=lambda: dict(BOUNDS))
    time_interval: tuple[float, float] = (0.0, 200.0)
    response: FieldResponse = FieldResponse()  # noqa: RUF009

    @property
    def nominal(self) -> Parameters:
        """The nominal values of all parameters, those of the electronics among them."""
        return self.parameters.completed(self.electronics)

    @property
    def drift_length(self) -> float:
        """The longest distance from anode to cathode, cm."""
        return float(self.geometry.drift_length.max())

    @cached_property
    def readout(self) -> Readout:
        """The channel behind each pixel; built when first asked for."""
        return build_readout(self.layouts, self.io_groups, self.geometry.shape)

    def drift_z(self, plane: np.ndarray, ticks: Any) -> np.ndarray:
        """z of charge that a plane sees some ticks after it was set free, at the fixed velocity, cm. Axis: (hit,)."""
        g = self.geometry
        velocity = np.broadcast_to(self.vdrift_static, (int(g.module.max()) + 1,))[g.module[plane]]
        return g.anode_z[plane] - g.direction[plane] * velocity * self.electronics.clock * ticks

    def describe(self) -> dict[str, Any]:
        """Everything that decides a simulation, as plain values that JSON can hold."""
        values = {
            "name": self.name,
            "parameters": self.nominal._asdict(),
            "bounds": {name: [bound.down, bound.up] for name, bound in self.bounds.items()},
            "geometry": self.geometry._asdict(),
            "electronics": asdict(self.electronics),
            "layouts": [layout.name for layout in self.layouts],
            "io_groups": self.io_groups,
            "vdrift_static": self.vdrift_static,
            "time_interval": self.time_interval,
            "response_distance": self.response.distance,
        }
        return _plain(values)


def _plain(value: Any) -> Any:
    """The same value made of dicts, lists and Python scalars."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
