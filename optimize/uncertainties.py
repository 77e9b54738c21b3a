"""How well the data know the parameters: the covariance at the minimum, from the curvature of the loss.

For losses that are sums of squares it is the inverse of the Gauss-Newton matrix: the errors are those of data whose
resolution is the loss's. Other losses have no statistical meaning; their errors say where the total loss rises by 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .methods import State
from .objective import Objective

STEP = 1e-3  # of half a parameter's range, for differences of gradients
SHOWN = 0.2  # the smallest share of a parameter in a combination that is named


def covariance(objective: Objective, state: State, known: np.ndarray | None = None) -> np.ndarray:
    """Of the physical values. Axes: (parameter, parameter).

    `known` is the curvature by u, where it is known already: the information that is expected of data. It is so on a
    limit, too; that of a loss is not, and the covariance of a parameter there is NaN.
    """
    free = np.ones(len(state.u), bool) if known is not None else ~objective.scaling.at_bound(state.u)
    result = np.full((len(free), len(free)), np.nan)
    matrix = (_curvature(objective, state) if known is None else known)[np.ix_(free, free)]
    size = np.sqrt(np.abs(np.diag(matrix)))
    if free.any() and np.isfinite(matrix).all() and (size > 0).all():
        try:
            inverse = np.linalg.inv(matrix / np.outer(size, size)) / np.outer(size, size)
        except np.linalg.LinAlgError:
            return result
        slope = objective.scaling.slope(state.u)[free]
        result[np.ix_(free, free)] = inverse * np.outer(slope, slope)
    return result


def intervals(objective: Objective, state: State, covariance: np.ndarray) -> dict[str, tuple[float, float]]:
    """Where each parameter is with 68 % confidence: the loss rises by 1/2 towards the ends, as far as it is a parabola.

    On a limit the interval has one side: that on which the data make the loss rise, from the limit on.
    """
    scaling, weight = objective.scaling, objective.weight
    value, sigma, slope = scaling.physical(state.u), errors(covariance), scaling.slope(state.u)
    steep = np.abs(weight * state.gradient / slope)  # of the total loss, by the physical values
    side = sigma**2 * (np.sqrt(steep**2 + sigma**-2.0) - steep)
    below, above = state.u <= scaling.low, state.u >= scaling.high
    low = np.where(below, value, value - np.where(above, side, sigma))
    high = np.where(above, value, value + np.where(below, side, sigma))
    return {name: (a, b) for name, a, b in zip(scaling.names, low.tolist(), high.tolist(), strict=True)}


def errors(covariance: np.ndarray) -> np.ndarray:
    """Standard deviations; NaN where the curvature is that of no minimum. Axis: (parameter,)."""
    variance = np.diag(covariance)
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def correlation(covariance: np.ndarray) -> np.ndarray:
    """Axes: (parameter, parameter)."""
    sigma = errors(covariance)
    return covariance / np.outer(sigma, sigma)


def directions(matrix: np.ndarray, names: Sequence[str]) -> list[tuple[float, str]]:
    """Combinations of parameters, in units of the errors that each has with the others known; the softest first.

    The first number is the information on the combination, in units of what it is without correlations: its error is
    larger by one over the square root. Empty where a parameter has no effect.
    """
    size = np.sqrt(np.diag(matrix))
    if not np.isfinite(matrix).all() or not (size > 0).all():
        return []
    found = []
    values, vectors = np.linalg.eigh(matrix / np.outer(size, size))
    for value, vector in zip(values.tolist(), vectors.T, strict=True):
        vector = vector * np.sign(vector[np.abs(vector).argmax()])
        parts = [f"{x:+.2f} {name}" for x, name in zip(vector, names, strict=True) if abs(x) > SHOWN]
        found.append((value, " ".join(parts)))
    return found


def _curvature(objective: Objective, state: State) -> np.ndarray:
    """Second derivatives of the total loss by u. Axes: (parameter, parameter)."""
    if "matrix" in state.memory:
        return state.memory["matrix"]
    if objective.has_residuals:
        return objective.normal(state.u).matrix
    columns = []
    for row in range(len(state.u)):
        ends = [objective.scaling.inside(state.u + sign * STEP * np.eye(len(state.u))[row]) for sign in (1, -1)]
        (_, up), (_, down) = (objective.value_and_grad(end) for end in ends)
        columns.append((up - down) / (ends[0] - ends[1])[row])
    matrix = np.stack(columns)
    return 0.5 * (matrix + matrix.T) * objective.weight
