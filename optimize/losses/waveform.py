"""Waveforms against waveforms, tick by tick: for closure tests, where the true waveforms are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.data.waveforms import Waveforms
from larndsim.errors import ArgumentError

from .base import CHARGE, ResidualLoss, rows_of

IDENTITY = ("event", "plane", "ix", "iy", "burst")


@dataclass(frozen=True)
class WaveformLoss(ResidualLoss):
    """Residuals of the cumulative charge of every pixel at every tick."""

    observable: ClassVar[str] = "waveform"

    charge: float = CHARGE  # resolution, electrons

    def measured(self, prediction: Waveforms, backend: Backend) -> Any:
        return prediction.charge

    def layout(self, prediction: Waveforms, target: Waveforms, backend: Backend) -> tuple:
        """Axes: (pixel, tick) of the prediction; (pixel,) of the target, for pixels that the prediction lacks."""
        if not isinstance(target, Waveforms):
            raise ArgumentError("target", "be Waveforms", f"it is a {type(target).__name__}", "Simulate it.")
        if abs(prediction.tick - target.tick) > 1e-9:
            raise ArgumentError("target", f"have ticks of {prediction.tick} us", f"its ticks are {target.tick} us")
        known, others = aligned(target, prediction)
        return backend.asarray(known), backend.asarray(others)

    def differences(self, charge: Any, known: Any, others: Any) -> Any:
        """Residuals pixel by pixel and tick by tick, then the totals of the pixels that the prediction lacks."""
        return ep.concatenate([(charge - known).reshape((-1,)), others], axis=0) * (1 / self.charge)


def aligned(target: Waveforms, prediction: Waveforms) -> tuple[np.ndarray, np.ndarray]:
    """The target on the pixels and ticks of the prediction (pixel, tick), and the totals of its other pixels.

    Before its own window a pixel has seen nothing, after it its total.
    """
    pixels, ticks = prediction.charge.shape
    charge = np.asarray(target.charge, dtype=np.float64)
    row = rows_of(*(tuple(np.asarray(getattr(w, name)) for name in IDENTITY) for w in (prediction, target)))
    found = np.flatnonzero(row >= 0)
    known = np.zeros((pixels, ticks))
    if found.size and charge.shape[1]:
        shift = (np.asarray(prediction.start)[found] - np.asarray(target.start)[row[found]]) / prediction.tick
        column = np.rint(shift).astype(np.int64)[:, None] + np.arange(ticks)
        inside = np.clip(column, 0, charge.shape[1] - 1)
        known[found] = np.where(column >= 0, charge[row[found][:, None], inside], 0.0)
    others = np.delete(charge, row[found], axis=0)
    return known, others[:, -1] if others.shape[1] else np.zeros(len(others))
