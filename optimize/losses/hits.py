"""Hits against hits of the same pixel and order: the loss for fits to what the detector records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.backend.operations import to_real
from larndsim.data.hits import Hits

from .base import (
    CHARGE,
    TIME,
    Measured,
    ResidualLoss,
    check_hits,
    check_positive,
    on_fine_steps,
    on_steps,
    presence,
    rows_of,
    threshold_of,
)  # fmt: skip

IDENTITY = ("event", "plane", "ix", "iy", "order")


@dataclass(frozen=True)
class HitsLoss(ResidualLoss):
    """Residuals of charge and time, and of the presence, of every hit that is predicted or found.

    The last hit of a pixel comes and goes where its charge passes the `threshold` (electrons; default: the smallest
    charge in the target). So a hit counts with a weight w that fades to zero there, over about a resolution:

        w w' (charge - charge') / resolution,    w w' (tick - tick') / resolution,    unmatched (w - w')

    with a prime for the target, and w = 0 where there is no hit: no step when a hit appears, none in the gradient.
    """

    charge: float = CHARGE  # resolution, electrons
    time: float = TIME  # resolution, ticks
    unmatched: float = 3.0  # what a hit without partner costs, in resolutions
    threshold: float | None = None

    free: ClassVar[tuple[str, ...]] = ("threshold",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            check_positive("threshold", self.threshold)

    def layout(self, prediction: Hits, target: np.ndarray, backend: Backend) -> tuple:
        """Axes: (slot,) of the prediction, padded; (hit,) of the target, for those whose pixel has no slot, padded."""
        check_hits(target)
        slots = tuple(np.asarray(getattr(prediction, name)) for name in IDENTITY)
        row = rows_of(slots, tuple(target[name] for name in IDENTITY))
        found = row >= 0
        elsewhere = np.delete(target["charge"], row[found])
        known = np.zeros((3, on_fine_steps(len(row) + 1)))
        reference = np.broadcast_to(prediction.reference, row.shape)[found]
        columns = target["charge"][row[found]], target["tick"][row[found]] - reference, np.ones(len(reference))
        known[:, np.flatnonzero(found)] = columns
        elsewhere = np.pad(elsewhere, (0, on_steps(len(elsewhere)) - len(elsewhere)))
        return tuple(map(backend.asarray, (*known, elsewhere, threshold_of(self.threshold, target))))

    def differences(
        self, measured: Measured, known_charge: Any, known_tick: Any, found: Any, elsewhere: Any, threshold: Any
    ) -> Any:
        """Residuals of charge, time and presence, slot by slot, then of the hits elsewhere."""
        _, charge, tick, mask = measured
        weight = to_real(mask, charge) * presence(charge, threshold, self.charge)
        known_weight = found * presence(known_charge, threshold, self.charge)
        both = weight * known_weight
        parts = (
            both * (charge - known_charge) * (1 / self.charge),
            both * (tick - known_tick) * (1 / self.time),
            (weight - known_weight) * self.unmatched,
            presence(elsewhere, threshold, self.charge) * self.unmatched,
        )
        return ep.concatenate(parts, axis=0)
