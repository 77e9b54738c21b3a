"""The likelihood of the recorded hits: the loss for noisy data. No hits are matched, no resolution is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from larndsim.backend import Backend
from larndsim.errors import ArgumentError

from .base import Loss


@dataclass(frozen=True)
class LikelihoodLoss(Loss):
    """Minus the logarithm of the probability of the target, per recorded hit; noise is integrated over.

    It is the simulator that computes it (`Simulator.log_likelihood`): a prediction does not pass through hits.
    """

    observable: ClassVar[str] = "likelihood"

    def layout(self, prediction: Any, target: Any, backend: Backend) -> tuple:
        """There is no prediction to compare with."""
        raise ArgumentError("loss", "compare predictions", "a likelihood has none", "Use Simulator.log_likelihood.")

    def formula(self, measured: Any, *layout: Any) -> Any:
        """As `layout`."""
        raise NotImplementedError
