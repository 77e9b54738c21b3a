"""What a likelihood fit is worth: its errors, whether the model describes the data, and what the data do not tell.

Data are simulated at the minimum, with noise of stated seeds. The mean outer product of their scores is the expected
information, whose inverse is the covariance; the spread of their likelihoods says whether that of the data is one of
them. Beside it stands the sandwich form, the covariance if the data's own scores are taken at their word: where the two
disagree, the noise or the model is not what is simulated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from .methods.fisher import seeds_of
from .objective import Information, Objective
from .uncertainties import directions

STREAM = 10**6  # of seeds: beyond the iterations of any fit
DISAGREE = 1.5  # times that the errors of both forms may differ
SOFT = 0.99  # of a direction's information that correlations take: such a combination is not known


class Goodness(NamedTuple):
    """The verdict on a minimum."""

    matrix: np.ndarray  # (parameter, parameter) expected information, by u
    p_value: float  # of -2 log L, among data simulated at the minimum: small for data that the model does not make
    sandwich: np.ndarray  # (parameter,) errors of the sandwich form over those expected
    remarks: tuple[str, ...]


def goodness(objective: Objective, u: np.ndarray, seed: int, toys: int) -> Goodness:
    """Of a minimum, by so many simulated data sets."""
    found = objective.informed(u, seeds_of(seed, STREAM, toys))
    ratio = _sandwich(found)
    free = ~objective.scaling.at_bound(u)
    return Goodness(found.matrix, _p_value(found, int(free.sum())), ratio, _remarks(objective, found, ratio, free))


def _p_value(found: Information, fitted: int) -> float:
    """How often simulated data are as unlikely as the data, or less likely.

    Fitting has made the data likelier by half a unit of log L per parameter; the simulated ones are not fitted.
    """
    toys = found.toys
    if len(toys) < 3:
        return float("nan")
    data = found.log_likelihood - 0.5 * fitted
    width = toys.std(ddof=1) * np.sqrt(1.0 + 1.0 / len(toys))
    return float(student.cdf((data - toys.mean()) / width, len(toys) - 1))


def _sandwich(found: Information) -> np.ndarray:
    """Errors of the sandwich form over those expected. Axis: (parameter,)."""
    try:
        inverse = np.linalg.inv(found.matrix)
    except np.linalg.LinAlgError:
        return np.full(len(found.matrix), np.nan)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.diag(inverse @ found.own @ inverse) / np.diag(inverse))


def _remarks(objective: Objective, found: Information, ratio: np.ndarray, free: np.ndarray) -> tuple[str, ...]:
    """What a physicist should know before believing the result."""
    names, remarks = np.array(objective.scaling.names), []
    apart = names[np.maximum(ratio, 1.0 / np.maximum(ratio, 1e-9)) > DISAGREE]
    if apart.size:
        remarks.append(f"The errors of {', '.join(apart)} disagree with those that the data's own scores give.")
    soft = directions(found.matrix[np.ix_(free, free)], names[free])
    if len(soft) > 1 and soft[0][0] < 1.0 - SOFT:
        remarks.append(f"The data hardly know the combination {soft[0][1]}.")
    return tuple(remarks)
