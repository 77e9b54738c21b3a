"""What a fit minimises: the loss over all batches as a function of the scaled parameters, with its derivatives.

How to differentiate is a choice: `direct` (backwards through all batches at once), `checkpointed` (backwards through
one batch at a time, so that only one is held in memory), `forward` (one derivative per parameter, no memory at all).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

import larndsim
from larndsim import Parameters, Simulator
from larndsim.detector.parameters import ELECTRONIC

from .constraints import Constraints
from .losses import Repeated
from .losses.hits import HitsLoss
from .scaling import Scaling

MODES = ("direct", "checkpointed", "forward")
Watch = Callable[[Any, tuple[np.ndarray, ...], list[np.ndarray]], None]
EXPENSIVE = 30.0  # resolutions that a missing hit costs while a fit is far from the truth


class Normal(NamedTuple):
    """The least-squares problem at one point: half the mean of r^2, J^T J and J^T r, summed over all `residuals`.

    Axes: (parameter, parameter), (parameter,); derivatives are by the scaled parameters.
    """

    loss: float
    matrix: np.ndarray
    slope: np.ndarray
    residuals: int

    @property
    def gradient(self) -> np.ndarray:
        """Of the loss. Axis: (parameter,)."""
        return self.slope / max(self.residuals, 1)

    def is_finite(self) -> bool:
        """Whether all of it was computed."""
        return bool(np.isfinite(self.loss) and np.isfinite(self.matrix).all() and np.isfinite(self.slope).all())


class Information(NamedTuple):
    """The likelihood at one point, and what data know of the parameters there; derivatives are by the scaled ones."""

    log_likelihood: float  # of the data
    score: np.ndarray  # (parameter,) its gradient
    matrix: np.ndarray  # (parameter, parameter) mean outer product of the scores of pixels, of simulated data
    own: np.ndarray  # the same of the data
    toys: np.ndarray  # (seed,) log L of the simulated data
    weight: float  # hits of the data: the loss is per hit
    each: np.ndarray = np.zeros(0)  # (seed, parameter, parameter) what `matrix` is the mean of

    @property
    def loss(self) -> float:
        return -self.log_likelihood / self.weight

    @property
    def gradient(self) -> np.ndarray:
        """Of the loss. Axis: (parameter,)."""
        return -self.score / self.weight

    def is_finite(self) -> bool:
        """Whether all of it was computed."""
        return bool(
            np.isfinite(self.log_likelihood) and np.isfinite(self.matrix).all() and np.isfinite(self.score).all()
        )


@dataclass(frozen=True)
class Objective:
    """The loss of predictions against targets, one per batch; `parameters` holds those that are not fitted.

    Batches are weighted by the size of their target (hits), or of their residuals.
    """

    simulator: Simulator
    batches: tuple[Any, ...]
    targets: tuple[Any, ...]
    loss: Any
    scaling: Scaling
    parameters: Parameters
    mode: str = "direct"
    source: Simulator | None = None  # of noisy data, for what is expected of a likelihood
    constraints: Constraints | None = None  # what is known of the parameters, beside the data

    @property
    def has_residuals(self) -> bool:
        """Whether the loss is a sum of squares, so that its curvature says how large the errors are."""
        return hasattr(self.loss, "residuals")

    @cached_property
    def _compared(self) -> tuple[Any, ...]:
        """The targets, each laid out once for its batch, unless only one batch is to be held in memory."""
        return self.targets if self.mode == "checkpointed" else tuple(map(Repeated, self.targets))

    def predict(self, batch: Any, parameters: Parameters) -> Any:
        """What the loss compares: hits or waveforms."""
        return getattr(self.simulator, PREDICTIONS[self.loss.observable])(batch, parameters)

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is minus the logarithm of a probability."""
        return self.loss.observable == "likelihood"

    def coarse(self, u: np.ndarray) -> tuple[Objective, ...]:
        """The same with losses that lead near a maximum of the likelihood from far off, one after the other.

        They hold the parameters of the electronics where they are.
        """
        held = {name: value for name, value in self.scaling.values(u).items() if name in ELECTRONIC}
        if not self.is_likelihood or len(held) == len(self.scaling.names):
            return ()
        plain = replace(self.holding(held), loss=HitsLoss(threshold=None), mode="forward", constraints=None)
        return tuple(one for one in (plain.stiff(), plain) if one is not None)

    def coarse_moves(self) -> np.ndarray:
        """Which parameters the coarse losses move. Axis: (parameter,)."""
        return np.array([name not in ELECTRONIC for name in self.scaling.names], dtype=bool)

    def informed(self, u: np.ndarray, seeds: Iterable[int], watch: Watch | None = None) -> Information:
        """The likelihood at u, over all batches, and the information that data simulated there have.

        What `watch` is called with for each batch: the batch, the tables of hits of the data and of those simulated,
        and log L of each table, pixel by pixel.
        """
        names, slope, parameters, seeds = self.scaling.names, self.scaling.slope(u), self._at(u), tuple(seeds)
        value, scores = np.zeros(1 + len(seeds)), np.zeros(len(u))
        matrices = np.zeros((1 + len(seeds), len(u), len(u)))
        source = self.source or self.simulator
        for batch, target in zip(self.batches, self.targets, strict=True):
            tables = (target, *(source.hits(batch, parameters, seed).numpy() for seed in seeds))
            found, columns = larndsim.jacobian(
                lambda p, batch=batch, tables=tables: self.simulator.log_likelihood(batch, tables, p),
                parameters, names, self.simulator.backend,
            )  # fmt: skip
            pixels = [self._array(each) for each in found]
            value += [each.sum() for each in pixels]
            if watch is not None:
                watch(batch, tables, pixels)
            for row in range(len(tables)):
                U = np.stack([self._array(columns[name][row]) for name in names], axis=1) * slope
                matrices[row] += U.T @ U
                scores += U.sum(axis=0) if row == 0 else 0.0
        if self.constraints is not None:
            known, by_known, matrix = self.constraints.terms(self.scaling, u)
            value, scores, matrices = value + known, scores + by_known, matrices + matrix
        own, each = matrices[0], matrices[1:]
        expected = each.mean(axis=0) if seeds else np.full_like(own, np.nan)
        return Information(float(value[0]), scores, expected, own, value[1:], self.weight, each)

    @property
    def weight(self) -> float:
        """Hits in all targets, at least 1: what a likelihood is divided by."""
        return float(max(sum(map(len, self.targets)), 1))

    def holding(self, values: Mapping[str, float]) -> Objective:
        """The same with some of the parameters held at values: they are no longer fitted."""
        left = np.array([name not in values for name in self.scaling.names], dtype=bool)
        scaling = self.scaling.among(tuple(name for name in self.scaling.names if name not in values))
        constraints = self.constraints and self.constraints.among(left)
        return replace(
            self, scaling=scaling, parameters=self.parameters._replace(**values), constraints=constraints
        )  # fmt: skip

    def deviance(self, u: np.ndarray) -> float:
        """-2 log L, or the sum of the squares of residuals, over all batches."""
        parameters, total = self._at(u), 0.0
        for index, batch in enumerate(self.batches):
            if self.has_residuals:
                total += float(np.square(self._array(self._residuals(index, parameters))).sum())
            else:
                found = self.simulator.log_likelihood(batch, self.targets[index], parameters)
                total -= 2.0 * float(self._array(found).sum())
        return total - 2.0 * (self.constraints.terms(self.scaling, u)[0] if self.constraints else 0.0)

    def stiff(self) -> Objective | None:
        """The same with missing hits made expensive; None where they are, or where the loss knows none."""
        if not self.has_residuals or getattr(self.loss, "unmatched", EXPENSIVE) >= EXPENSIVE:
            return None
        return replace(self, loss=replace(self.loss, unmatched=EXPENSIVE))

    def value_and_grad(self, u: np.ndarray, batches: Iterable[int] | None = None) -> tuple[float, np.ndarray]:
        """Loss and its gradient by u, over some batches (default: all)."""
        chosen = range(len(self.batches)) if batches is None else tuple(batches)
        groups = [chosen] if self.mode == "direct" else [(index,) for index in chosen]
        derive = larndsim.jacobian if self.mode == "forward" else larndsim.value_and_grad
        value, weight, gradient = 0.0, 0.0, np.zeros(len(u))
        for group in groups:
            weights: list[float] = []

            def total(parameters: Parameters, group: Any = group, weights: list[float] = weights) -> Any:
                pairs = [self._weighted(index, parameters) for index in group]
                weights[:] = [weight for _, weight in pairs]
                return sum(value for value, _ in pairs)

            found, slopes = derive(total, self._at(u), self.scaling.names, self.simulator.backend)
            value += self._number(found)
            weight += sum(weights)
            gradient += [self._number(slopes[name]) for name in self.scaling.names]
        weight, gradient = max(weight, 1.0), gradient * self.scaling.slope(u)
        if self.constraints is not None:
            share = weight / self.weight  # of some batches
            known, by_known, _ = self.constraints.terms(self.scaling, u)
            value, gradient = value - share * known, gradient - share * by_known
        return value / weight, gradient / weight

    def normal(self, u: np.ndarray) -> Normal:
        """The least-squares problem at u, over all batches, with the Jacobian in forward mode."""
        names, slope = self.scaling.names, self.scaling.slope(u)
        matrix, vector, squares, count = np.zeros((len(u), len(u))), np.zeros(len(u)), 0.0, 0
        for index in range(len(self.batches)):
            r, columns = larndsim.jacobian(
                lambda p, index=index: self._residuals(index, p), self._at(u), names, self.simulator.backend
            )
            residual = self._array(r)
            J = np.stack([self._array(columns[name]) for name in names], axis=1) * slope
            matrix += J.T @ J
            vector += J.T @ residual
            squares += float(residual @ residual)
            count += len(residual)
        return Normal(0.5 * squares / max(count, 1), matrix, vector, count)

    def _residuals(self, index: int, parameters: Parameters) -> Any:
        prediction = self.predict(self.batches[index], parameters)
        return self.loss.residuals(prediction, self._compared[index], self.simulator.backend)

    def _weighted(self, index: int, parameters: Parameters) -> tuple[Any, float]:
        """The loss of one batch times its weight, and the weight."""
        if self.has_residuals:
            r = self._residuals(index, parameters)
            return 0.5 * (r * r).sum(), float(r.shape[0])
        weight = len(self.targets[index])
        if self.is_likelihood:
            found = self.simulator.log_likelihood(self.batches[index], self.targets[index], parameters)
            return -1.0 * found.sum(), float(weight)
        prediction = self.predict(self.batches[index], parameters)
        return self.loss.value(prediction, self._compared[index], self.simulator.backend) * weight, float(weight)

    def _at(self, u: np.ndarray) -> Parameters:
        return self.parameters._replace(**self.scaling.values(u))

    def _number(self, value: Any) -> float:
        return float(self.simulator.backend.numpy(value))

    def _array(self, value: Any) -> np.ndarray:
        return self.simulator.backend.numpy(value).astype(np.float64)


PREDICTIONS = {"hits": "hits", "waveform": "charge"}  # what the simulator's method for each observable is called
