"""Cuts on tracks: by default what is well known stays, and each may be changed or lifted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from larndsim.errors import ArgumentError, did_you_mean


@dataclass(frozen=True)
class Cuts:
    """What a fit leaves out. A cut of 0 (a lowest value) or infinity (a highest) lets everything pass.

    Near the anode and near the cathode, along the drift, and on short tracks, models and geometry are least certain.
    Segments are cut first; length and direction of a track are those of what is left of it.
    """

    segment_length: float = 0.01  # cm: segments are longer than this
    z_inner: float = 15.0  # cm: both ends of a segment lie beyond this |z|, in one half of the detector
    z_outer: float = 28.0  # cm: and within this
    track_length: float = 2.0  # cm: tracks are longer than this
    cos_theta: float = 0.966  # tracks have a smaller |cos| of their angle to the drift, averaged over their length

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int | float | np.number) or math.isnan(value) or value < 0:
                raise ArgumentError(f"cuts.{name}", "be a number of 0 or more", f"it is {value!r}")
        if self.z_inner >= self.z_outer:
            raise ArgumentError("cuts.z_inner", f"be less than z_outer = {self.z_outer:g}", f"it is {self.z_inner:g}")


DEFAULT = Cuts()
OPEN = {"segment_length": 0.0, "z_inner": 0.0, "z_outer": math.inf, "track_length": 0.0, "cos_theta": math.inf}


PARTS = ("segment_length", "z_inner", "z_outer")  # cuts that take parts of tracks, whose pixels then see less charge


def make_cuts(values: Mapping[str, float], default: Cuts | None = None) -> Cuts:
    """The default cuts with some of them changed."""
    for name in values:
        if name not in OPEN:
            raise ArgumentError("cuts", f"be some of {', '.join(OPEN)}", f"{name!r} is none", did_you_mean(name, OPEN))
    return replace(default or DEFAULT, **values)
