"""A field response, folded once into a few matrices for each resolution: NumPy, at the first use.

    R(lag; x_i, y_j) = sum over channels c of mixing[i, j, c] * kernel[c](lag)

on the points (x_i, y_j) of a quadrature over one quarter of the face (R depends on |x| and |y| alone). Channel 0 is the
mean response, with weight one everywhere, so no charge is lost by the truncation of the others. Then the points give
way to fewer shapes of charge along half a face.
Axes: (point,) quadrature points of half a face; (basis,) shapes that the response tells apart; (channel,);
(bin,) arrival-time bins of one block; (tick,) clock ticks.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..charge import Folded
from ..response import FieldResponse, Sampling


class Resolution(NamedTuple):
    """How finely the face and the arrival time are sampled, and the narrowest charge cloud that this resolves."""

    sigma_T: float  # cm
    sigma_t: float  # us
    bins: int  # arrival-time bins per 3.2 us, at most so wide
    points: int  # quadrature points on half a face
    basis: int  # points at which the response is asked for
    window: int  # bins of a tile

    def limits(self, sampling: Sampling) -> tuple[float, ...]:
        """`charge.Limits`: half of the variance in time is the kernel's, so that both are smooth on their bins."""
        held = 0.5 * self.sigma_t**2
        return self.sigma_T**2, self.sigma_t**2 - held, held, sampling.block * sampling.tick / self.bins_of(sampling)

    def bins_of(self, sampling: Sampling) -> int:
        """Bins per block of ticks, of the given width or less: as many as this leaves whole."""
        return 8 * math.ceil(self.bins * sampling.block * sampling.tick / WIDTH / 8 - 1e-9)


WIDTH = 3.2  # us: the bins of RESOLUTIONS are given for blocks of 32 ticks of 0.1 us
# Chosen so that waveforms are exact to 1e-3 (`python -m benchmarks accuracy`): a Gaussian on bins of 1.6 widths is
# summed to 1e-4, and the points resolve the cloud likewise. The windows of tiles are as long as a group of nodes needs.
RESOLUTIONS = (
    Resolution(sigma_T=0.0300, sigma_t=0.125, bins=16, points=12, basis=7, window=32),
    Resolution(sigma_T=0.0160, sigma_t=0.058, bins=32, points=18, basis=9, window=48),
    Resolution(sigma_T=0.0080, sigma_t=0.029, bins=64, points=34, basis=13, window=64),
    Resolution(sigma_T=0.0040, sigma_t=0.0145, bins=128, points=66, basis=24, window=64),
    Resolution(sigma_T=0.0010, sigma_t=0.0100, bins=256, points=240, basis=34, window=128),
)


@lru_cache(maxsize=8)
def resolutions(accuracy: float) -> tuple[Resolution, ...]:
    """RESOLUTIONS, which suffice for an accuracy of 1e-3, for another.

    The error of a sum over points falls as the exponential of the square of their density.
    """
    finer = float(np.sqrt(np.log(accuracy / 10) / np.log(1e-4)))

    def more(points: int) -> int:
        return int(np.ceil(points * finer))

    return tuple(r._replace(sigma_t=r.sigma_t * finer, points=more(r.points), basis=more(r.basis)) for r in RESOLUTIONS)


@lru_cache(maxsize=32)
def folded_response(
    response: FieldResponse, pitch: float, resolution: Resolution, sampling: Sampling, accuracy: float = 1e-3
) -> Folded:
    """The response of a square pixel, folded.

    Single positions may be off by twice the accuracy, but 5e-3 at most: a pixel sees an average over many, or, close
    to the anode, over few.
    """
    points, weights = _legendre(resolution.points, 0.5 * pitch)
    nodes, node_weights = _legendre(resolution.basis, 0.5 * pitch)
    spread = resolution.sigma_t / np.sqrt(2.0)
    bins = resolution.bins_of(sampling)
    fine = bins // math.gcd(bins, sampling.block)  # lags per tick
    before, after, block, tick = sampling.before, sampling.after, sampling.block, sampling.tick
    lags = tick * np.arange(-before - block, after + block)
    lags = (lags[:, None] - tick / fine * np.arange(fine)).ravel()
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    seen = response.cumulative(x, y, lags, spread)
    seen = seen.reshape(nodes.size**2, lags.size)
    seen[:, lags < -tick * before] = 0.0
    seen[:, lags >= tick * after] = 1.0
    tolerance = min(2 * accuracy, 5e-3)
    mixing, kernels = _channels(seen, np.outer(node_weights, node_weights).ravel(), tolerance)
    shapes, mixing = _shapes(mixing, kernels[:, ::fine], tolerance)
    kernel = _block_matrix(kernels, bins, fine, sampling)
    show = _modes(kernel, 1e-2 * accuracy)  # what is left out is then less than a tenth of the accuracy at any tick
    return Folded(
        points=points[None, :],
        basis=weights[:, None] * _interpolation(points, nodes) @ shapes / np.sqrt(2.0 * np.pi),
        mixing=mixing,
        gather=kernel @ show.T,
        show=show,
        mean=kernel[0],
        times=block * tick / bins * np.arange(resolution.window),
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


def _shapes(mixing: np.ndarray, kernels: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Shapes of charge along a face that the response tells apart: fewer than points where these lie close together.

    Orthogonal (point, shape); and the mixing of their products, (shape * shape, channel). The first shape is the sum of
    all charge, so that none is lost.
    """
    points, channels = math.isqrt(len(mixing)), mixing.shape[1]
    by_points = mixing.reshape(points, points, channels)
    total = np.full((points, 1), points**-0.5)
    along = (by_points * np.abs(kernels).max(axis=1)).reshape(points, -1)
    shapes = np.concatenate([total, np.linalg.svd(along - total @ (total.T @ along))[0]], axis=1)
    for kept in range(1, points):
        chosen = shapes[:, :kept]
        found = np.einsum("xa,xyc,yb->abc", chosen, by_points, chosen, optimize=True)
        rest = by_points - np.einsum("xa,abc,yb->xyc", chosen, found, chosen, optimize=True)
        if np.abs(rest.reshape(-1, channels) @ kernels).max() < tolerance:
            return chosen, found.reshape(-1, channels)
    return np.eye(points), mixing


def _block_matrix(kernels: np.ndarray, bins: int, fine: int, sampling: Sampling) -> np.ndarray:
    """Kernels on a grid of lags, `fine` of them per tick -> (bin * channel, tick): what each bin's charge shows."""
    # the lag of (tick, bin) is tick * (number - before) - the bin's time; the grid begins `before + block` ticks early
    whole, rest = np.divmod(np.arange(bins) * (sampling.block * fine // bins), fine)
    matrix = kernels[:, (np.arange(sampling.span) + sampling.block - whole[:, None]) * fine + rest[:, None]]
    return matrix.transpose(1, 0, 2).reshape(-1, sampling.span)


def _modes(kernel: np.ndarray, tolerance: float) -> np.ndarray:
    """Orthogonal rows that the rows of a kernel are combinations of: few, for it is smooth far off. (mode, tick).

    The last tick, where all is seen, is a row of its own, so that no charge is lost.
    """
    last = np.eye(1, kernel.shape[1], kernel.shape[1] - 1)
    _, size, modes = np.linalg.svd(np.linalg.qr(kernel * (1.0 - last), mode="r"))
    return np.concatenate([modes[: int((size > tolerance * size[0]).sum())], last])
