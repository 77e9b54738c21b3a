"""Named parameters <-> a vector of numbers of order one, with its limits.

A fit sees u: -1 where a parameter is at the lower end of the range that targets are drawn from, +1 at the upper end.
In between u is linear in the parameter, or in its logarithm where the range spans more than a factor of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from larndsim.detector import Detector
from larndsim.detector.parameters import check_name
from larndsim.errors import ArgumentError

WIDE = 2.0  # a range that spans more than this factor is taken in its logarithm
INSIDE = 1e-4  # how far within the hard limits a fit stays, in units of u: a plan ends at the limits


@dataclass(frozen=True)
class Scaling:
    """How the parameters `names` are scaled. Axis: (parameter,); the limits `low` and `high` are those of u."""

    names: tuple[str, ...]
    logarithmic: np.ndarray
    middle: np.ndarray  # of the range, or of its logarithm
    half: np.ndarray  # half the width of the range, or of its logarithm
    low: np.ndarray
    high: np.ndarray

    def scaled(self, values: Mapping[str, float]) -> np.ndarray:
        """Values by name -> u."""
        x = np.array([float(values[name]) for name in self.names])
        return (np.where(self.logarithmic, np.log(np.where(self.logarithmic, x, 1.0)), x) - self.middle) / self.half

    def values(self, u: np.ndarray) -> dict[str, float]:
        """u -> values by name."""
        return dict(zip(self.names, self.physical(u).tolist(), strict=True))

    def physical(self, u: np.ndarray) -> np.ndarray:
        """u -> values. Axes: (..., parameter)."""
        x = self.middle + self.half * u
        return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, x, 0.0)), x)

    def slope(self, u: np.ndarray) -> np.ndarray:
        """How fast the values change with u. Axis: (parameter,)."""
        return self.half * np.where(self.logarithmic, self.physical(u), 1.0)

    def inside(self, u: np.ndarray) -> np.ndarray:
        """The nearest u within the limits."""
        return np.clip(u, self.low, self.high)

    def at_bound(self, u: np.ndarray) -> np.ndarray:
        """Which parameters sit on a limit. Axis: (parameter,)."""
        return (u <= self.low) | (u >= self.high)

    def among(self, names: tuple[str, ...]) -> Scaling:
        """The scaling of some of the parameters."""
        rows = np.array([self.names.index(name) for name in names], dtype=np.int64)
        columns = (self.logarithmic, self.middle, self.half, self.low, self.high)
        return Scaling(names, *(column[rows] for column in columns))

    def check_inside(self, argument: str, values: Mapping[str, float]) -> None:
        """Refuse values beyond the hard limits."""
        u = self.scaled(values)
        for name, outside in zip(self.names, u != self.inside(u), strict=True):
            if outside:
                low, high = (self.values(limit)[name] for limit in (self.low, self.high))
                raise ArgumentError(argument, f"keep {name} within {low:g} and {high:g}", f"it is {values[name]:g}")


def make_scaling(names: Iterable[str], detector: Detector) -> Scaling:
    """The scaling of some parameters of a detector, by its bounds."""
    names = tuple(names)
    for name in names:
        check_name(name, "params")
        if np.ndim(getattr(detector.nominal, name)):
            but = f"{name} has one per module in {detector.name}"
            raise ArgumentError("params", "name parameters with one value", but, "Give it one value to fit it.")
    rows = [_row(*detector.bounds[name][:2], *detector.bounds[name].hard) for name in names]
    logarithmic, *columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Scaling(names, logarithmic.astype(bool), *columns)


def _row(down: float, up: float, low: float, high: float) -> tuple[Any, ...]:
    """logarithmic, middle, half, low, high of one parameter."""
    logarithmic = low > 0 and up > WIDE * down
    a, b, least, most = np.log([down, up, low, high]) if logarithmic else (down, up, low, high)
    middle, half = (a + b) / 2, (b - a) / 2
    return logarithmic, middle, half, (least - middle) / half + INSIDE, (most - middle) / half - INSIDE
