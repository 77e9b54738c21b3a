"""The analytic response: how much of one electron's charge a pixel has seen by a given time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr

FRACTION = (1.060, -0.909, -0.909, 5.856, 0.207, 0.207)
FAST = (0.679, -1.083, -1.083, 8.772, -5.521, -5.521)
SLOW = (2.644, -9.174, -9.174, 13.483, 45.887, 45.887)
SHIFT = (2.948, -2.705, -2.705, 4.825, 20.814, 20.814)

STEEPEST = 8.0  # us/cm: how much `s` changes across the face of a pixel, at most (at its corner)


class Response(NamedTuple):
    """The charge seen rises like exp(t/b), for the fraction `a`, and exp(t/c), for the rest, until time `s`; us."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    s: np.ndarray


def polynomial(p: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p0 + p1 x + p2 y + p3 x y + p4 x^2 + p5 y^2."""
    return p[0] + p[1] * x + p[2] * y + p[3] * x * y + p[4] * x**2 + p[5] * y**2


def response(x: np.ndarray, y: np.ndarray) -> Response:
    """The response to charge that arrives at offsets x, y >= 0 (cm) from the pixel's centre."""
    a = np.minimum(polynomial(FRACTION, x, y), 1.0)
    return Response(a, polynomial(FAST, x, y), polynomial(SLOW, x, y), polynomial(SHIFT, x, y))


def kink(y: np.ndarray) -> np.ndarray:
    """The x >= 0 at which the fraction `a` leaves its ceiling of 1, for each y >= 0; 0 where it is below already."""
    p0, p1, p2, p3, p4, p5 = FRACTION
    excess = np.maximum(p0 - 1 + p2 * y + p5 * y**2, 0.0)
    slope = -np.where(excess > 0, p1 + p3 * y, -1.0)
    return 2 * excess / (slope + np.sqrt(slope**2 - 4 * p4 * excess))


def step(u: np.ndarray, k: np.ndarray) -> np.ndarray:
    """F_k: exp(u/k) before 0, and 1 after."""
    return np.exp(np.minimum(u, 0.0) / k)


def smeared_step(u: np.ndarray, k: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """F_k smeared by a Gaussian of width sigma."""
    ratio = sigma / k
    return ndtr(u / sigma) + np.exp(u / k + ratio**2 / 2 + log_ndtr(-u / sigma - ratio))


def smeared(t: np.ndarray, r: Response, sigma: np.ndarray) -> np.ndarray:
    """The fraction of its charge seen at time t after arrival at the response plane, with times smeared by sigma."""
    return r.a * smeared_step(t - r.s, r.b, sigma) + (1 - r.a) * smeared_step(t - r.s, r.c, sigma)


def smeared_early(t: np.ndarray, r: Response, sigma: np.ndarray) -> np.ndarray:
    """What `smeared` becomes where the Gaussian lies wholly before `s`: exponentials, quick to compute."""
    fast = np.exp((t - r.s) / r.b + (sigma / r.b) ** 2 / 2)
    slow = np.exp((t - r.s) / r.c + (sigma / r.c) ** 2 / 2)
    return r.a * fast + (1 - r.a) * slow
