"""The pixel response: what charge that arrives at a point of a pixel's face lets the pixel see, and when.

The *cumulative* response R(lag; x, y) is the fraction of an arriving charge that the pixel has seen `lag` us after
the arrival at the response plane; (x, y) is the distance from the pixel's centre. The core never evaluates R: it
works with a `Response`, R folded once into a few matrices (NumPy, at the first use of each resolution):

    R(lag; x_i, y_j) = sum over channels c of mixing[i, j, c] * kernel[c](lag)

on the points (x_i, y_j) of a quadrature over one quarter of the face (R depends on |x| and |y| alone). Channel 0 is
the mean response, with weight one everywhere, so no charge is lost by the truncation of the others.
Axes: (point,) quadrature points of half a face; (basis,) points that carry the response; (channel,);
(bin,) arrival-time bins of one block; (tick,) clock ticks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr

TICK = 0.1  # us, the clock
BLOCK = 32  # ticks of arrival time that one kernel matrix takes at once
BEFORE = 240  # ticks before its arrival in which a charge is already seen
AFTER = 48  # ticks after its arrival until it is seen completely
SPAN = BEFORE + BLOCK + AFTER  # ticks on which the charge of one block is seen


class Resolution(NamedTuple):
    """How finely the face and the arrival time are sampled, and the narrowest charge cloud that this resolves."""

    sigma_T: float  # cm
    sigma_t: float  # us
    bins: int  # arrival-time bins per block
    points: int  # quadrature points on half a face
    basis: int  # points that carry the response


RESOLUTIONS = (
    Resolution(sigma_T=0.0300, sigma_t=0.125, bins=16, points=12, basis=7),
    Resolution(sigma_T=0.0215, sigma_t=0.082, bins=24, points=14, basis=8),
    Resolution(sigma_T=0.0160, sigma_t=0.058, bins=32, points=18, basis=9),
    Resolution(sigma_T=0.0080, sigma_t=0.029, bins=64, points=34, basis=13),
    Resolution(sigma_T=0.0040, sigma_t=0.0145, bins=128, points=66, basis=24),
    Resolution(sigma_T=0.0010, sigma_t=0.0100, bins=256, points=240, basis=34),
)


@lru_cache(maxsize=8)
def resolutions(accuracy: float) -> tuple[Resolution, ...]:
    """RESOLUTIONS, which suffice for an accuracy of 1e-3, for another.

    The error of a sum over points falls as the exponential of the square of their density.
    """
    finer = float(np.sqrt(np.log(accuracy / 10) / np.log(1e-4)))

    def more(points: int) -> int:
        return int(np.ceil(points * finer))

    return tuple(Resolution(r.sigma_T, r.sigma_t * finer, r.bins, more(r.points), more(r.basis)) for r in RESOLUTIONS)


class Response(NamedTuple):
    """A response folded for one pitch and one resolution: what the core multiplies with."""

    points: np.ndarray  # (point, 1) cm
    basis: np.ndarray  # (basis, point) quadrature weights times interpolation, times the Gaussian's constant, cm
    mixing: np.ndarray  # (channel, basis * basis)
    gather: np.ndarray  # (channel * bin, mode) the kernel is gather * show, cumulative, (channel * bin, tick)
    show: np.ndarray  # (mode, tick) from BEFORE ticks before the block's start
    mean: np.ndarray  # (tick,) what a charge in a block's first bin shows on average over the face
    kernel_variance: np.ndarray  # () us2: the part of the time spread that the kernel already holds
    smallest: np.ndarray  # (2,) smallest sigma_T (cm) and smallest variance of the arrival density (us2)

    @property
    def bins(self) -> int:
        """Number of arrival-time bins of one block."""
        return self.gather.shape[0] // self.mixing.shape[0]


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


@lru_cache(maxsize=32)
def folded_response(pitch: float, resolution: Resolution, accuracy: float = 1e-3) -> Response:
    """The analytic response of a square pixel, folded into the matrices of a `Response`.

    Single positions may be off by twice the accuracy, but 5e-3 at most: a pixel sees an average over many, or, close
    to the anode, over few.
    """
    points, weights = _legendre(resolution.points, 0.5 * pitch)
    nodes, node_weights = _legendre(resolution.basis, 0.5 * pitch)
    spread = resolution.sigma_t / np.sqrt(2.0)
    fine = resolution.bins // math.gcd(resolution.bins, BLOCK)  # lags per tick
    lags = TICK * np.arange(-BEFORE - BLOCK, AFTER + BLOCK)
    lags = (lags[:, None] - TICK / fine * np.arange(fine)).ravel()
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    seen = analytic_response(x, y, lags, spread)
    seen = seen.reshape(nodes.size**2, lags.size)
    seen[:, lags < -TICK * BEFORE] = 0.0
    seen[:, lags >= TICK * AFTER] = 1.0
    mixing, kernels = _channels(seen, np.outer(node_weights, node_weights).ravel(), min(2 * accuracy, 5e-3))
    kernel = _block_matrix(kernels, resolution.bins, fine)
    show = _modes(kernel, 1e-3 * accuracy)
    return Response(
        points=points[:, None],
        basis=(weights[:, None] * _interpolation(points, nodes)).T / np.sqrt(2.0 * np.pi),
        mixing=mixing.T,
        gather=kernel @ show.T,
        show=show,
        mean=kernel[0],
        kernel_variance=np.array(spread**2),
        smallest=np.array([resolution.sigma_T, resolution.sigma_t**2 - spread**2]),
    )


def _legendre(n: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on [0, length]."""
    points, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * length * (points + 1.0), 0.5 * length * weights


def _interpolation(points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Lagrange polynomials through `nodes`, at `points`. Axes: (point, node)."""
    if points.size == nodes.size:
        return np.eye(points.size)
    legendre = np.polynomial.legendre.legvander
    scale = nodes[0] + nodes[-1]
    degree = nodes.size - 1
    return legendre(2 * points / scale - 1, degree) @ np.linalg.inv(legendre(2 * nodes / scale - 1, degree))


def _channels(seen: np.ndarray, weights: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and principal components of responses: mixing (position, channel), kernels (channel, lag).

    Positions count alike, whatever their area: a track that clips a corner must come out right, too.
    """
    share = weights / weights.sum()
    mean = share @ seen
    rest = seen - mean
    left = np.linalg.eigh(rest @ rest.T)[1][:, ::-1]  # faster than the singular value decomposition of `rest`
    right = left.T @ rest
    for kept in range(len(right)):
        if np.sqrt((share @ rest**2).max()) < tolerance:
            break
        rest = rest - np.outer(left[:, kept], right[kept])
    mixing = np.concatenate([np.ones((len(seen), 1)), left[:, :kept]], axis=1)
    return mixing, np.concatenate([mean[None, :], right[:kept]])


def _block_matrix(kernels: np.ndarray, bins: int, fine: int) -> np.ndarray:
    """Kernels on a grid of lags, `fine` of them per tick -> (channel * bin, tick): what each bin's charge shows."""
    # the lag of (tick, bin) is TICK * (tick - BEFORE) - the bin's time; the grid starts at -TICK * (BEFORE + BLOCK)
    whole, rest = np.divmod(np.arange(bins) * (BLOCK * fine // bins), fine)
    matrix = kernels[:, (np.arange(SPAN) + BLOCK - whole[:, None]) * fine + rest[:, None]]
    return matrix.reshape(-1, SPAN)


def _modes(kernel: np.ndarray, tolerance: float) -> np.ndarray:
    """Orthogonal rows that the rows of a kernel are combinations of: few, for it is smooth far off. (mode, tick).

    The last tick, where all is seen, is a row of its own, so that no charge is lost.
    """
    last = np.eye(1, kernel.shape[1], kernel.shape[1] - 1)
    _, size, modes = np.linalg.svd(np.linalg.qr(kernel * (1.0 - last), mode="r"))
    return np.concatenate([modes[: int((size > tolerance * size[0]).sum())], last])
