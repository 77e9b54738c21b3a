"""Maximum mean discrepancy (Gretton et al., JMLR 13, 2012) between the charges that both sides see in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.data.hits import Hits

from .base import CHARGE, Loss, Measured
from .points import Points, Slots, paired, predicted, squared_distance


@dataclass(frozen=True)
class MMD(Loss):
    """The squared discrepancy of two distributions of charge in x, y, z, per hit of the target.

    Each hit is a point mass, its charge in units of `charge` (electrons). The kernel 1 / (1 + (d / position)^2) falls
    slowly, so that hits far apart still feel each other; `position` in cm.
    """

    charge: float = CHARGE
    position: float = 0.5

    def layout(self, prediction: Hits, target: np.ndarray, backend: Backend) -> tuple:
        return paired(prediction, target, backend)

    def formula(self, measured: Measured, slots: Slots, known: Points) -> Any:
        """Sum over events of <a, k a> - 2 <a, k b> + <b, k b>."""
        points = predicted(measured, slots)
        own, both, theirs = self._product(points, points), self._product(points, known), self._product(known, known)
        return (own - 2.0 * both + theirs) / ep.maximum(known.real.sum(), 1.0)

    def _product(self, a: Points, b: Points) -> Any:
        kernel = 1.0 / (1.0 + squared_distance(a, b, dict.fromkeys("xyz", self.position)))
        mass, other = (ep.expand_dims(points.charge * points.real, axis) for points, axis in ((a, 2), (b, 1)))
        return (kernel * mass * other).sum() * (1 / self.charge**2)
