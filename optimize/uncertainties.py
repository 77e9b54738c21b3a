"""How well the data know the parameters: the covariance at the minimum, from the curvature of the loss.

For losses that are sums of squares it is the inverse of the Gauss-Newton matrix: the errors are those of data whose
resolution is the loss's. Other losses have no statistical meaning; their errors say where the total loss rises by 1/2.
"""

from __future__ import annotations

import numpy as np

from .methods import State
from .objective import Objective

STEP = 1e-3  # of half a parameter's range, for differences of gradients


def covariance(objective: Objective, state: State, known: np.ndarray | None = None) -> np.ndarray:
    """Of the physical values; NaN for parameters on a limit. `known`: the curvature by u, where it is known already.

    Axes: (parameter, parameter).
    """
    free = ~objective.scaling.at_bound(state.u)
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


def errors(covariance: np.ndarray) -> np.ndarray:
    """Standard deviations; NaN where the curvature is that of no minimum. Axis: (parameter,)."""
    variance = np.diag(covariance)
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def correlation(covariance: np.ndarray) -> np.ndarray:
    """Axes: (parameter, parameter)."""
    sigma = errors(covariance)
    return covariance / np.outer(sigma, sigma)


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
    return 0.5 * (matrix + matrix.T) * sum(len(target) for target in objective.targets)
