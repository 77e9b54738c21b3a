"""What a likelihood fit is worth: its errors, whether the model describes the data, and what the data do not tell.

Data are simulated at the minimum, with noise of stated seeds. The mean outer product of their scores is the expected
information, whose inverse is the covariance; the spread of their likelihoods says whether that of the data is one of
them. Beside it stand the sandwich form, the covariance if the data's own scores are taken at their word, and the
observed form, from the second derivatives of the data's own likelihood: where they disagree, the noise or the model is
not what is simulated. `doctor.py` turns the figures into sentences.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from .methods.fisher import seeds_of
from .objective import Information, Objective
from .residuals import LEAST_TOYS, QUANTITIES, Collector, Residuals

STREAM = 10**6  # of seeds: beyond the iterations of any fit
SOFT = 0.99  # of a direction's information that correlations take: such a combination is not known
STEP = 0.1  # errors (the other parameters held): far above rounding, and the likelihood is a parabola that near


class Factor(NamedTuple):
    """A ratio and its standard error."""

    value: float
    error: float


class Goodness(NamedTuple):
    """The verdict on a minimum. `sandwich` and `observed` are errors over those expected. Axis: (parameter,)."""

    matrix: np.ndarray  # (parameter, parameter) expected information, by u
    p_value: float  # of -2 log L, among data simulated at the minimum: small for data that the model does not make
    sandwich: np.ndarray
    chance: np.ndarray  # (parameter,) by how much `sandwich` differs from 1 in simulated data
    observed: np.ndarray  # NaN on a limit, and where the likelihood has no maximum
    gain: float  # of log L: what a further step would promise
    noise: dict[str, Factor]  # spread of the data's ADC counts and ticks over that of simulated data
    residuals: Residuals | None

    def plain(self, names: tuple[str, ...]) -> dict[str, Any]:
        """For `result.json`."""
        by_name = {key: dict(zip(names, getattr(self, key).tolist(), strict=True)) for key in ("sandwich", "observed")}
        return {**by_name, "gain": self.gain, "noise": {key: [*factor] for key, factor in self.noise.items()}}


def goodness(objective: Objective, u: np.ndarray, seed: int, toys: int) -> Goodness:
    """Of a minimum, by so many simulated data sets."""
    collector = Collector(objective.simulator.detector, toys) if toys >= LEAST_TOYS else None
    found = objective.informed(u, seeds_of(seed, STREAM, toys), collector)
    residuals = None if collector is None else collector.result()
    free = ~objective.scaling.at_bound(u)
    return Goodness(
        matrix=found.matrix,
        p_value=float("nan") if collector is None else _p_value(found, int(free.sum()), *collector.spread()),
        sandwich=_sandwich(found.own, found.matrix),
        chance=_chance(found),
        observed=_observed_errors(objective, u, found, free),
        gain=_gain(found, free),
        noise={} if residuals is None else _noise(residuals),
        residuals=residuals,
    )


def _p_value(found: Information, fitted: int, spread: float, freedom: float) -> float:
    """How often simulated data are as unlikely as the data, or less likely; `spread` is that of their log L.

    Fitting has made the data likelier by half a unit of log L per parameter; the simulated ones are not fitted.
    """
    away = found.log_likelihood - 0.5 * fitted - found.toys.mean()
    return float(student.cdf(away / (spread * np.sqrt(1.0 + 1.0 / len(found.toys))), freedom))


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """NaN where there is none."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full(matrix.shape, np.nan)


def _sandwich(own: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Errors by outer products of scores of their `own` over those expected. Axis: (parameter,)."""
    inverse = _inverse(matrix)
    return _over_expected(inverse @ own @ inverse, matrix)


def _chance(found: Information) -> np.ndarray:
    """Root mean square of the sandwich form's distance from 1 in simulated data. Axis: (parameter,)."""
    if not len(found.each):
        return np.full(len(found.matrix), np.nan)
    ratios = np.array([_sandwich(own, found.matrix) for own in found.each])
    return np.sqrt(np.mean((ratios - 1.0) ** 2, axis=0))


def _over_expected(covariance: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Errors over those expected. Axis: (parameter,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.diag(covariance) / np.diag(_inverse(matrix)))


def _observed_errors(objective: Objective, u: np.ndarray, found: Information, free: np.ndarray) -> np.ndarray:
    """Errors by the data's own curvature over those expected, for parameters that are not on a limit."""
    result, matrix = np.full(len(u), np.nan), found.matrix[np.ix_(free, free)]
    if not free.any() or not np.isfinite(matrix).all() or not (np.diag(matrix) > 0.0).all():
        return result
    curvature = observed_information(objective, u, found, free)
    if np.isfinite(curvature).all() and np.linalg.eigvalsh(curvature)[0] > 0.0:
        result[free] = _over_expected(_inverse(curvature), matrix)
    return result


def observed_information(objective: Objective, u: np.ndarray, found: Information, free: np.ndarray) -> np.ndarray:
    """Minus the second derivatives of log L, by differences of its gradient. Axes: (free parameter, free parameter).

    One gradient per parameter, backwards, with one batch in memory; each step leads away from the nearer limit.
    """
    backwards, scaling = replace(objective, mode="checkpointed"), objective.scaling
    columns = []
    for number in np.flatnonzero(free):
        inwards = -1.0 if u[number] - scaling.low[number] > scaling.high[number] - u[number] else 1.0
        moved = u.copy()
        moved[number] += inwards * STEP / np.sqrt(found.matrix[number, number])
        moved = scaling.inside(moved)
        _, gradient = backwards.value_and_grad(moved)
        columns.append(found.weight * (gradient - found.gradient)[free] / (moved - u)[number])
    matrix = np.array(columns)
    return 0.5 * (matrix + matrix.T)


def _gain(found: Information, free: np.ndarray) -> float:
    """By how much log L would rise at its maximum, were it a parabola."""
    matrix, score = found.matrix[np.ix_(free, free)], found.score[free]
    return float(0.5 * score @ _inverse(matrix) @ score)


def _noise(residuals: Residuals) -> dict[str, Factor]:
    """How much wider the data's hits scatter than simulated ones."""
    widths = residuals.widths()
    factors = {}
    for quantity, (data, *toys) in zip(QUANTITIES, widths.T, strict=True):
        mean, spread = np.mean(toys), np.std(toys, ddof=1) * np.sqrt(1.0 + 1.0 / len(toys))
        factors[quantity] = Factor(float(data / mean), float(spread / mean))
    return factors
