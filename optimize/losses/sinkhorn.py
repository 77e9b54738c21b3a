"""Optimal transport between the hits of both sides, made smooth by entropy.

The debiased divergence S(a, b) - S(a, a) / 2 - S(b, b) / 2 with averaged updates and falling entropy: Feydy et al.,
AISTATS 2019. The gradient goes through all iterations, so it is that of the value, converged or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.backend.operations import log_sum_exp, scan
from larndsim.data.hits import Hits
from larndsim.errors import ArgumentError

from .base import CHARGE, Loss, Measured
from .points import Points, Slots, joined, padded, paired, predicted, squared_distance

NOTHING = -1e20  # the logarithm of no weight
FIRST = 1e4  # the entropy that the iterations start from, in units of the final one
LAST = 8  # iterations at the final one


@dataclass(frozen=True)
class Sinkhorn(Loss):
    """The mean squared distance in x, y, z and charge that hits have to be moved, event by event.

    Every real hit of an event weighs the same. `position` (cm) and `charge` (electrons) are the units of distance.
    """

    charge: float = CHARGE
    position: float = 0.2
    epsilon: float = 1.0  # entropy, squared distance
    iterations: int = 30
    unmatched: float = 10.0  # distance that stands for an event that one side lacks

    free: ClassVar[tuple[str, ...]] = ("iterations",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.iterations, int) or self.iterations < LAST:
            raise ArgumentError("iterations", f"be a whole number of {LAST} or more", f"it is {self.iterations!r}")

    def layout(self, prediction: Hits, target: np.ndarray, backend: Backend) -> tuple:
        falling = np.geomspace(FIRST, 1.0, self.iterations - LAST + 1)
        schedule = self.epsilon * np.concatenate([falling, np.ones(LAST - 1)])
        return *paired(prediction, target, backend), backend.asarray(schedule)

    def formula(self, measured: Measured, slots: Slots, known: Points, schedule: Any) -> Any:
        """Mean over the target's events; events that both sides lack do not count."""
        points = predicted(measured, slots)
        size = max(points.real.shape[1], known.real.shape[1])
        a, b = padded(points, size), padded(known, size)
        left, right = joined(a, a, b), joined(b, a, b)
        scales = {**dict.fromkeys("xyz", self.position), "charge": self.charge}
        moved = transport(squared_distance(left, right, scales), weights(left), weights(right), schedule)
        events = a.real.shape[0]
        apart, own, theirs = moved[:events], moved[events : 2 * events], moved[2 * events :]
        counts = a.counts(), b.counts()
        lonely = ep.zeros_like(apart) + self.unmatched**2
        both, some = ep.minimum(*counts) > 0.5, ep.maximum(*counts) > 0.5
        divergence = ep.where(both, apart - 0.5 * (own + theirs), ep.where(some, lonely, 0.0 * lonely))
        return divergence.sum() / ep.maximum(ep.minimum(counts[1], 1.0).sum(), 1.0)


def weights(points: Points) -> Any:
    """Equal weights of the real hits of each event, sum 1 (or 0 where there is none)."""
    return points.real / ep.maximum(ep.expand_dims(points.counts(), 1), 1.0)


def transport(cost: Any, a: Any, b: Any, schedule: Any) -> Any:
    """Dual value of the transport of the weights a (pair, row) to b (pair, column) at a cost (pair, row, column)."""
    log_a, log_b = (_safe_log(weight) for weight in (a, b))
    back = cost.transpose((0, 2, 1))

    def step(carry: tuple[Any, Any], epsilon: Any) -> tuple[tuple[Any, Any], None]:
        f, g = carry
        new_f = -1.0 * epsilon * log_sum_exp(ep.expand_dims(log_b + g / epsilon, 1) - cost / epsilon, 2)
        new_g = -1.0 * epsilon * log_sum_exp(ep.expand_dims(log_a + f / epsilon, 1) - back / epsilon, 2)
        return (0.5 * (f + new_f), 0.5 * (g + new_g)), None

    (f, g), _ = scan(step, (ep.zeros_like(a), ep.zeros_like(b)), schedule)
    f, g = (ep.where(weight > 0.0, dual, ep.zeros_like(dual)) for weight, dual in ((a, f), (b, g)))
    return (f * a).sum(axis=1) + (g * b).sum(axis=1)


def _safe_log(weight: Any) -> Any:
    real = weight > 0.0
    return ep.where(real, ep.log(ep.where(real, weight, ep.ones_like(weight))), ep.zeros_like(weight) + NOTHING)
