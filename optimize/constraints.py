"""What is known of parameters before the fit: a normal measurement of each, such as that of a test pulse.

It counts as one more datum: minus half the square of how many widths a value is away adds to the logarithm of the
likelihood. Without such knowledge some parameters cannot be told apart: all charge, the threshold and the noise, times
a factor, with the gain divided by it, give the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .scaling import Scaling


@dataclass(frozen=True)
class Constraints:
    """Centres and widths of the parameters of a fit; infinite widths where nothing is known. Axis: (parameter,)."""

    centre: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, scaling: Scaling, widths: Mapping[str, float], centres: Mapping[str, float]) -> Constraints:
        """By name."""
        centre = np.array([centres[name] for name in scaling.names], dtype=np.float64)
        return cls(centre, np.array([widths.get(name, np.inf) for name in scaling.names], dtype=np.float64))

    def terms(self, scaling: Scaling, u: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """What they add to log L at u, to its gradient by u, and to the information (parameter, parameter)."""
        slope = scaling.slope(u) / self.width
        away = (scaling.physical(u) - self.centre) / self.width
        return float(-0.5 * away @ away), -away * slope, np.diag(slope**2)

    def among(self, chosen: np.ndarray) -> Constraints:
        """Those of some of the parameters. Axis: (parameter,)."""
        return Constraints(self.centre[chosen], self.width[chosen])
