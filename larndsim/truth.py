"""Which segments are behind each hit.

A hit holds the charge that its pixel saw from the previous reset to the end of its integration. The share of a segment
is the part of this charge that its electrons induced, as the mean response of the pixel shows them:

    weight[hit, node] = charge[node] * (seen(end - arrival[node]) - seen(begin - arrival[node]))

summed over the nodes of the segment. Where nothing arrived in that time (a hit that is all noise), all that the pixel
sees counts. Plain NumPy, no gradient. Axes: (hit,), (hit, node), (pair,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np
from scipy.special import erf

from .backend import map_leaves
from .charge import Cloud, limits_of, resolved, segment_lines
from .data.batch import Batch, Chunk, Pixels
from .data.hits import Hits
from .detector import Electronics, Parameters
from .response import Sampling

MOST = 20  # segments that are named behind a hit
_SPREAD = np.polynomial.hermite_e.hermegauss(5)  # points (in widths) and weights of a Gaussian in time


class Truth(NamedTuple):
    """Pairs of a hit and a segment behind it, by hit, the largest fraction first. Axis: (pair,).

    The fractions of a hit sum to one. A hit on a pixel that no charge reaches has no pairs.
    """

    hit: np.ndarray  # row in the hits
    segment: np.ndarray  # row in the segments of the batch
    fraction: np.ndarray


def truth_fractions(simulator: Any, batch: Batch, parameters: Parameters | None, hits: Hits | np.ndarray) -> Truth:
    """The segments behind each hit: of `Hits`, the real ones in the order of `hits.numpy()`, or of such an array."""
    parameters = simulator.detector.parameters if parameters is None else parameters
    table = hits.numpy() if isinstance(hits, Hits) else hits
    begin, end = integration(table, simulator.detector.electronics)
    pitch, sampling = simulator.detector.geometry.pitch, simulator.physics.sampling
    found = [_of_no_hits()]
    arriving = _arrivals(simulator, batch, parameters)
    for members, part in zip(batch.fixed.members, batch.parts, strict=True):
        for member, chunk, responses in zip(members.chunks, part.chunks, part.responses, strict=True):
            hits_here, pixels_hit = _matched(table, member.pixels, simulator.detector.electronics.max_hits)
            if len(hits_here) == 0:
                continue
            nodes, stack = arriving(chunk)
            for index, response in enumerate(responses):
                own = stack[member.slot[pixels_hit]] == index
                hit, pixel = hits_here[own], pixels_hit[own]
                window = (np.stack([begin[hit], end[hit]]) - member.pixels.reference[pixel]) * sampling.tick
                row, node = nodes.of_pixels(member.slot[pixel])
                shows = _MeanResponse(np.asarray(simulator.backend.numpy(response.mean)), sampling)
                weight = _weights(nodes, node, window[:, row], shows, pitch[member.pixels.plane[pixel]][row])
                found.append(_fractions(hit, row, nodes.segment[node], weight))
    pairs = Truth(*map(np.concatenate, zip(*found, strict=True)))
    order = np.argsort(pairs.hit, kind="stable")
    return Truth(*(column[order] for column in pairs))


def integration(hits: np.ndarray, electronics: Electronics) -> tuple[np.ndarray, np.ndarray]:
    """When the integration of each hit begins (-inf for a pixel's first) and ends, ticks. Sorted hits. Axis: (hit,)."""
    end = hits["tick"] + electronics.hold_ticks
    begin = np.full(len(hits), -np.inf)
    follows = np.ones(max(len(hits) - 1, 0), dtype=bool)
    for name in ("event", "plane", "ix", "iy"):
        follows &= hits[name][1:] == hits[name][:-1]
    begin[1:][follows] = end[:-1][follows] + electronics.reset_ticks
    return begin, end


def _matched(hits: np.ndarray, pixels: Pixels, max_hits: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the hits on these pixels, and the row of the pixel of each."""
    names = ("event", "plane", "ix", "iy")
    columns = [(getattr(pixels, name), hits[name]) for name in names] + [(pixels.burst, hits["order"] // max_hits)]
    both = np.stack([np.concatenate(pair) for pair in columns], axis=1)
    _, identity = np.unique(both, axis=0, return_inverse=True)
    known, wanted = np.split(identity.ravel(), [len(pixels.ix)])
    row = np.full(identity.max(initial=-1) + 1, -1)
    row[known] = np.arange(len(known))
    hit = np.flatnonzero(row[wanted] >= 0)
    return hit, row[wanted[hit]]


class _Nodes(NamedTuple):
    """The nodes of the pixels of a chunk, by pixel. Axis: (node,)."""

    first: np.ndarray  # (pixel + 1,) where those of each pixel begin
    segment: np.ndarray
    cloud: Cloud

    def of_pixels(self, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All nodes of some pixels (hit,): the row of `pixel`, and the node. Axis: (pair,)."""
        count = np.diff(self.first)[pixel]
        row = np.repeat(np.arange(len(pixel)), count)
        return row, self.first[pixel][row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)


class _MeanResponse(NamedTuple):
    """What a charge shows on average over the face of a pixel."""

    mean: np.ndarray  # (tick,)
    sampling: Sampling

    def __call__(self, lag: np.ndarray) -> np.ndarray:
        """Fraction of a charge that the pixel has seen `lag` us after its arrival."""
        lags = self.sampling.tick * (np.arange(self.sampling.span) - self.sampling.before)
        return np.interp(lag, lags, self.mean, left=0.0, right=1.0)


def _arrivals(simulator: Any, batch: Batch, parameters: Parameters) -> Callable[[Chunk], tuple[_Nodes, np.ndarray]]:
    """What arrives at the pixels of each chunk, and their stacks, in NumPy: nothing is compiled for it."""

    def tensors(tree: Any) -> Any:
        return map_leaves(lambda leaf: ep.astensor(np.asarray(simulator.backend.numpy(leaf))), tree)

    deposits, frame, p = tensors((batch.deposits, batch.frame, parameters))
    lines = segment_lines(deposits, frame, (p.shift_x, p.shift_y, p.shift_z))

    def of_chunk(chunk: Chunk) -> tuple[_Nodes, np.ndarray]:
        given = tensors(chunk)
        cloud, limits = simulator.physics.clouds(lines[given.line], given, p), limits_of(given.stack, given.resolution)
        weight = np.concatenate([stack.weight.numpy().reshape(-1, stack.weight.shape[2]) for stack in given.stacks])
        cloud = cloud._replace(
            charge=cloud.charge * ep.astensor(weight),
            variance_T=ep.maximum(cloud.variance_T, limits.variance_T),
            variance_t=resolved(cloud.variance_t, limits),
        )
        # by pixel, without padding
        owner, stack = given.pixel.numpy(), np.zeros(len(chunk.ticks), dtype=np.int64)
        stack[owner] = given.stack.numpy()
        group, node = np.nonzero(weight > 0.0)
        order = np.argsort(owner[group], kind="stable")
        group, node = group[order], node[order]
        segment = given.line.numpy()[given.segment.numpy().reshape(weight.shape)[group, node]]
        first = np.searchsorted(owner[group], np.arange(len(chunk.ticks) + 1))
        return _Nodes(first, segment, Cloud(*(column.numpy()[group, node] for column in cloud))), stack

    return of_chunk


def _weights(
    nodes: _Nodes, node: np.ndarray, window: np.ndarray, response: _MeanResponse, pitch: np.ndarray
) -> np.ndarray:
    """Charge of each node that each hit holds, electrons. `window` (2, pair) in us, `pitch` (pair,) in cm."""
    cloud = Cloud(*(values[node] for values in nodes.cloud))
    sigma, width = np.sqrt(cloud.variance_T), np.sqrt(cloud.variance_t)
    charge = cloud.charge * _on_pixel(cloud.x, sigma, pitch) * _on_pixel(cloud.y, sigma, pitch)
    seen = np.zeros(len(node))
    for point, weight in zip(*_SPREAD, strict=True):
        begin, end = response(window - cloud.arrival - point * width)
        seen += weight * (end - begin)
    return np.stack([charge * seen, charge])


def _on_pixel(offset: np.ndarray, sigma: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Share of a cloud around `offset` (cm from the pixel's centre) that lies on the pixel, along one axis."""
    scale, half = np.sqrt(0.5) / sigma, 0.5 * pitch
    return 0.5 * (erf((half - offset) * scale) + erf((half + offset) * scale))


def _fractions(hit: np.ndarray, row: np.ndarray, segment: np.ndarray, weights: np.ndarray) -> Truth:
    """Weights of nodes -> fractions of segments. `row` (pair,) is that of the hit, `weights` are held, and all charge.

    A hit that holds nothing of what arrived is a hit of noise: then all that its pixel sees counts.
    """
    held, charge = weights
    nothing = np.bincount(row, held, minlength=len(hit)) <= 0.0
    weight = np.where(nothing[row], charge, held)
    row, segment, weight = (values[weight > 0.0] for values in (row, segment, weight))
    pair, index = np.unique(np.stack([row, segment], axis=1), axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), weights=weight, minlength=len(pair))
    order = np.lexsort([-total, pair[:, 0]])
    row, owner, total = pair[order, 0], pair[order, 1], total[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < MOST
    row, owner, total = row[kept], owner[kept], total[kept]
    fraction = total / np.bincount(row, weights=total, minlength=len(hit))[row]
    return Truth(hit[row], owner.astype(np.int64), fraction)


def _of_no_hits() -> Truth:
    none = np.zeros(0, dtype=np.int64)
    return Truth(none, none, np.zeros(0))
