"""Each hit against the nearest one on the other side: no pixel has to agree."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.backend.operations import constant, take_along
from larndsim.data.hits import Hits

from .base import CHARGE, DEPTH, Loss, Measured, check_positive, presence, threshold_of
from .points import Points, Slots, paired, pairs, predicted, squared_distance

FAR = 1e12  # a squared distance beyond every real one


class Nearest(Loss):
    """Half the mean squared distance of a hit to its nearest, over the target's hits, both ways.

    A hit that is only on one side lies far from all others, and the last hit of a pixel comes and goes where its charge
    passes the `threshold` (electrons; default: the smallest charge in the target). So each hit counts with a weight
    that fades to zero there: the nearer the truth, the less do such hits weigh.
    """

    charge: float
    unmatched: float
    threshold: float | None

    free: ClassVar[tuple[str, ...]] = ("threshold",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            check_positive("threshold", self.threshold)

    def layout(self, prediction: Hits, target: np.ndarray, backend: Backend) -> tuple:
        return *paired(prediction, target, backend), backend.asarray(threshold_of(self.threshold, target))

    def formula(self, measured: Measured, slots: Slots, known: Points, threshold: Any) -> Any:
        """Hits in events where the other side has none cost `unmatched` resolutions each."""
        points = predicted(measured, slots)
        matching, compared = self.distances(points, known)
        matching = constant(matching) + (1.0 - pairs(points, known)) * FAR
        there = _at_nearest(matching, compared)
        back = _at_nearest(matching.transpose((0, 2, 1)), compared.transpose((0, 2, 1)))
        total = self._sum(there, points, known, threshold) + self._sum(back, known, points, threshold)
        return 0.5 * total / ep.maximum(known.real.sum(), 1.0)

    def _sum(self, distance: Any, points: Points, others: Points, threshold: Any) -> Any:
        lonely = ep.expand_dims(others.counts(), 1) < 0.5
        distance = ep.where(lonely, ep.zeros_like(distance) + self.unmatched**2, distance)
        return (distance * points.real * presence(points.charge, threshold, self.charge)).sum()

    @abstractmethod
    def distances(self, points: Points, known: Points) -> tuple[Any, Any]:
        """Squared distances that decide who is nearest, and those that are compared. Axes: (event, hit, hit)."""


@dataclass(frozen=True)
class SpaceMatch(Nearest):
    """The nearest hit in x, y, z; then its charge and its z are compared, in units of their resolution."""

    charge: float = CHARGE  # electrons
    z: float = DEPTH  # cm
    unmatched: float = 10.0
    threshold: float | None = None

    def distances(self, points: Points, known: Points) -> tuple[Any, Any]:
        matching = squared_distance(points, known, {"x": 1.0, "y": 1.0, "z": 1.0})
        return matching, squared_distance(points, known, {"charge": self.charge, "z": self.z})


@dataclass(frozen=True)
class Chamfer(Nearest):
    """The nearest hit in x, y, z and charge, and its distance in units of `position` (cm) and `charge` (electrons)."""

    charge: float = CHARGE
    position: float = 0.2
    unmatched: float = 10.0
    threshold: float | None = None

    def distances(self, points: Points, known: Points) -> tuple[Any, Any]:
        scales = {"x": self.position, "y": self.position, "z": self.position, "charge": self.charge}
        distance = squared_distance(points, known, scales)
        return distance, distance


def _at_nearest(matching: Any, compared: Any) -> Any:
    """The compared distance to the nearest of the last axis. Axes: (event, hit)."""
    events, hits, others = matching.shape
    index = matching.reshape((events * hits, others)).argmin(axis=1)
    nearest = take_along(compared.reshape((events * hits, others)), ep.expand_dims(index, 1))
    return nearest.reshape((events, hits))
