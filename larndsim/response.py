"""The pixel response: what charge that arrives at a point of a pixel's face lets the pixel see, and when.

A detector owns a `FieldResponse`. Its *cumulative* response R(lag; x, y) is the fraction of an arriving charge that the
pixel has seen `lag` us after the arrival at the response plane; (x, y) is the distance from the pixel's centre. The
core never evaluates R: it works with R folded once into a few matrices (`engine.folding`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr


class Sampling(NamedTuple):
    """How time is counted: in ticks of the clock, and in blocks of ticks that one kernel matrix takes at once."""

    tick: float  # us
    before: int  # ticks before its arrival in which a charge is already seen
    after: int  # ticks after its arrival until it is seen completely
    block: int = 32  # ticks of arrival time

    @property
    def eighth(self) -> int:
        """Ticks of an eighth of a block. Signals begin at whole ones, where bins of all resolutions do.

        So bins lie where they lie: they do not jump when a parameter lets a signal begin one tick earlier.
        """
        return self.block // 8

    @property
    def span(self) -> int:
        """Ticks on which the charge of one block is seen: a whole number of blocks."""
        return self.before + self.block + self.after


def analytic_parameters(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Share a, rise times b and c, delay s (us) of the built-in response at |x|, |y| (cm) from the pixel's centre."""

    def polynomial(p0: float, p1: float, p2: float, p3: float, p4: float, p5: float) -> np.ndarray:
        return p0 + p1 * x + p2 * y + p3 * x * y + p4 * x**2 + p5 * y**2

    a = np.minimum(polynomial(1.060, -0.909, -0.909, 5.856, 0.207, 0.207), 1.0)
    b = polynomial(0.679, -1.083, -1.083, 8.772, -5.521, -5.521)
    c = polynomial(2.644, -9.174, -9.174, 13.483, 45.887, 45.887)
    s = polynomial(2.948, -2.705, -2.705, 4.825, 20.814, 20.814)
    return a, b, c, s


def smeared_rise(u: np.ndarray, k: np.ndarray, sigma: float) -> np.ndarray:
    """exp(u/k) before u = 0 and 1 after, convolved with a Gaussian of width sigma."""
    return ndtr(u / sigma) + np.exp(u / k + 0.5 * (sigma / k) ** 2 + log_ndtr(-u / sigma - sigma / k))


def analytic_response(x: np.ndarray, y: np.ndarray, lag: np.ndarray, sigma: float) -> np.ndarray:
    """Cumulative fraction seen at `lag` (us), smeared by sigma (us). Axes: those of x and y, then lag's."""
    a, b, c, s = (value[..., None] for value in analytic_parameters(x, y))
    return a * smeared_rise(lag - s, b, sigma) + (1 - a) * smeared_rise(lag - s, c, sigma)


@dataclass(frozen=True)
class FieldResponse:
    """What decides how arriving charge is seen. Times in us.

    `cumulative(x, y, lag, sigma)` is R smeared in time by a Gaussian of width sigma. It is taken as 0 from `before` its
    arrival on, and as 1 from `after`.
    """

    distance: float = 0.5  # cm, from the response plane to the anode: the response describes the end of the drift
    before: float = 24.0  # at 0.16 cm/us charge drifts through the last 3.8 cm in this time
    after: float = 4.8
    cumulative: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray] = analytic_response

    def identity(self) -> str | None:
        """What it is, in words that another process understands; None of a function that is the user's own."""
        own = self.cumulative.__module__.partition(".")[0] == __package__
        return repr((self.cumulative.__qualname__, self.distance, self.before, self.after)) if own else None

    def sampling(self, tick: float) -> Sampling:
        """The same in ticks of some length (us)."""
        before = math.ceil(self.before / tick - 1e-9)
        blocks = math.ceil((self.before + self.after) / tick / Sampling._field_defaults["block"] - 1e-9)
        return Sampling(tick, before, blocks * Sampling._field_defaults["block"] - before)
