"""What pulls say: bias, width, and whether fits and their errors can be trusted.

The pull of a parameter is (fitted - true) / stated error. Its distance from the truth, with all parameters at once, is
(x - t)^T C^-1 (x - t), which follows a chi-squared distribution if the covariance C is right. Failed toys have NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from larndsim.detector.parameters import BOUNDS

POINTS = (0.001, 0.999)  # of the chi-squared distribution: the sum of squared pulls lies between them
MOST = 3.0  # standard errors that a mean pull may be away from zero: of a normal distribution, see `most_errors`


class Toys(NamedTuple):
    """Axes: (toy, parameter), of the covariance (toy, parameter, parameter), of what is last (toy,).

    `off` is fitted - true. `scale` is what percents are of: the true value; half the range, where that includes zero.
    """

    names: tuple[str, ...]
    off: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    scale: np.ndarray
    converged: np.ndarray
    steps: np.ndarray
    seconds: np.ndarray
    p_values: np.ndarray

    @property
    def pulls(self) -> np.ndarray:
        """Axes: (toy, parameter)."""
        return self.off / self.errors

    @property
    def distances(self) -> np.ndarray:
        """From the truth, by the full covariance; NaN where that is not positive definite. Axis: (toy,)."""
        result = np.full(len(self.off), np.nan)
        for toy, (off, matrix) in enumerate(zip(self.off, self.covariance, strict=True)):
            size = np.sqrt(np.abs(np.diag(matrix)))
            scaled = matrix / np.outer(size, size)
            if np.isfinite(scaled).all() and np.linalg.eigvalsh(scaled)[0] > 0:
                result[toy] = off / size @ np.linalg.solve(scaled, off / size)
        return result


def toys_of(records: list[dict[str, Any]], names: tuple[str, ...]) -> Toys:
    """The toys of a folder. What a record lacks, or has as null, is NaN."""

    def column(key: str, empty: Any = None) -> np.ndarray:
        return np.array([record.get(key, empty) for record in records], dtype=float)

    def by_name(key: str) -> np.ndarray:
        rows = [[record.get(key, {}).get(name) for name in names] for record in records]
        return np.array(rows, dtype=float).reshape(len(records), len(names))

    true, unknown = by_name("target"), [[None] * len(names)] * len(names)
    return Toys(
        names=names,
        off=by_name("values") - true,
        errors=by_name("errors"),
        covariance=column("covariance", unknown),
        scale=np.stack([_scale(name, values) for name, values in zip(names, true.T, strict=True)], axis=1),
        converged=np.array([record["status"] == "converged" for record in records]),
        steps=column("steps"),
        seconds=column("seconds"),
        p_values=column("p_value"),
    )


def _scale(name: str, true: np.ndarray) -> np.ndarray:
    """What percents of a parameter are of. Axis: (toy,)."""
    bound = BOUNDS[name]
    return true if bound.down > 0 else np.full(len(true), (bound.up - bound.down) / 2)


def by_parameter(toys: Toys) -> list[dict[str, Any]]:
    """One row for each parameter: numbers, and pairs of a number and its error; `toys` have a pull. In percent, but for
    pulls and ratios.

    `ratio` is the spread over the root mean square of the stated errors. They are those of the expected information, so
    that this is the Cramer-Rao bound of the spread.
    """
    rows = []
    for name, *columns in zip(toys.names, toys.off.T, toys.errors.T, toys.scale.T, toys.pulls.T, strict=True):
        off, errors, pulls = (x[np.isfinite(x)] for x in (*(100 * x / columns[2] for x in columns[:2]), columns[3]))
        (bias, spread), (mean, width) = _mean_and_spread(off), _mean_and_spread(pulls)
        error, bound = (errors.mean(), np.sqrt(np.mean(errors**2))) if len(errors) else (np.nan, np.nan)
        row = {"parameter": name, "toys": len(pulls), "bias": bias, "spread": spread, "error": float(error)}
        rows.append(row | {"mean": mean, "width": width, "ratio": tuple(float(value / bound) for value in spread)})
    return rows


def _mean_and_spread(values: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The mean with its error, and the standard deviation with that of a normal distribution."""
    if len(values) < 2:
        return (float(values.mean()) if len(values) else np.nan, np.nan), (np.nan, np.nan)
    spread = float(values.std(ddof=1))
    return (float(values.mean()), spread / len(values) ** 0.5), (spread, spread / (2 * (len(values) - 1)) ** 0.5)


def of_all(toys: Toys) -> dict[str, Any]:
    """What is said of all parameters together; sums are over the toys that know what is summed."""
    squared = (toys.pulls**2)[np.isfinite(toys.pulls)]
    distances = toys.distances[np.isfinite(toys.distances)]
    p_values = toys.p_values[np.isfinite(toys.p_values)]
    freedom = len(distances) * len(toys.names)
    uniform = stats.kstest(p_values, "uniform").pvalue if len(p_values) else np.nan
    follow = stats.kstest(distances, stats.chi2(len(toys.names)).cdf).pvalue if len(distances) else np.nan
    return {
        "toys": len(toys.off),
        "converged": int(toys.converged.sum()),
        **_of_means(toys),
        "squared_pulls": (float(squared.sum()), *points(len(squared))),
        "toys_with_distance": len(distances),
        "distances": (float(distances.sum()), *points(freedom)),
        "distances_uniform": float(follow),
        "p_values": len(p_values),
        "p_values_uniform": float(uniform),
        "seconds": _percentiles(toys.seconds),
        "steps": _percentiles(toys.steps),
    }


def points(freedom: int) -> tuple[float, float]:
    """The 0.1 and 99.9 % points of the chi-squared distribution."""
    low, high = stats.chi2.ppf(POINTS, freedom) if freedom else (np.nan, np.nan)
    return float(low), float(high)


def _of_means(toys: Toys) -> dict[str, Any]:
    """Chi-squared of the mean pulls, with their correlation and without."""
    pulls = toys.pulls[np.isfinite(toys.pulls).all(axis=1)]
    number, parameters = pulls.shape
    if number <= parameters:
        return {"means": (np.nan, np.nan), "means_uncorrelated": (np.nan, np.nan)}
    plain = float((number * pulls.mean(axis=0) ** 2 / pulls.var(axis=0, ddof=1)).sum())
    return {"means": of_means(pulls), "means_uncorrelated": (plain, float(stats.chi2.sf(plain, parameters)))}


def of_means(pulls: np.ndarray) -> tuple[float, float]:
    """Chi-squared of the means of pulls (toy, parameter), with their correlation: Hotelling's, and its p-value."""
    number, parameters = pulls.shape
    mean, matrix = pulls.mean(axis=0), np.atleast_2d(np.cov(pulls, rowvar=False)) / number
    whole = float(mean @ np.linalg.solve(matrix, mean))
    share = whole * (number - parameters) / (parameters * (number - 1))
    return whole, float(stats.f.sf(share, parameters, number - parameters))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The median, and what nine of ten stay below."""
    known = values[np.isfinite(values)]
    median, most = np.percentile(known, [50, 90]) if len(known) else (np.nan, np.nan)
    return float(median), float(most)


def most_errors(number: int) -> float:
    """As many standard errors, as found from the spread of so many toys, as are as improbable as 3 of a normal
    distribution: that of ten toys is known to a quarter alone, and Student's distribution has long tails."""
    return float(stats.t.isf(stats.norm.sf(MOST), max(number - 1, 1)))


def objections(toys: Toys, missing: list[int]) -> list[str]:
    """Why the pulls are not sound; empty if they are.

    Sound pulls: no toy is dropped, the mean of each parameter is within `most_errors` of zero, the sum of all squared
    pulls lies between the 0.1 and 99.9 % points of its chi-squared distribution, every fit has converged.
    """
    found = [f"toys are missing: {', '.join(map(str, missing))}"] if missing else []
    dropped = int((~np.isfinite(toys.pulls).all(axis=1)).sum())
    if dropped:
        found.append(f"{dropped} of {len(toys.off)} toys lack a pull")
    for row in by_parameter(toys):
        mean, error = row["mean"]
        if not abs(mean) <= most_errors(len(toys.off)) * error:
            found.append(f"the mean pull of {row['parameter']} is {mean:.2f} ± {error:.2f}")
    total, low, high = of_all(toys)["squared_pulls"]
    if not low <= total <= high:
        found.append(f"the sum of all squared pulls is {total:.1f}, not within {low:.1f} and {high:.1f}")
    if not toys.converged.all():
        found.append(f"{int((~toys.converged).sum())} of {len(toys.off)} fits did not converge")
    return found
