"""Which segments are behind each hit.

A hit holds the charge that its pixel saw from the previous reset to the end of its integration. The share of a segment
is the part of this charge that its electrons induced, as the mean response of the pixel shows them:

    weight[hit, node] = charge[node] * (seen(end - arrival[node]) - seen(begin - arrival[node]))

summed over the nodes of the segment. Where nothing arrived in that time (a hit that is all noise), all that the pixel
sees counts. Plain NumPy, no gradient. Axes: (hit,), (hit, node), (pair,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np
from scipy.special import erf

from .backend import map_leaves
from .charge import arrivals_of, clouds_of, lines_in_boxes, points_of, shifts_of
from .data.batch import Batch, Members, Part, Pixels
from .data.hits import Hits
from .detector import Electronics, Parameters
from .detector.mobility import drift_velocity
from .induction import Cloud, resolved
from .response import BEFORE, SPAN, TICK, Response

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
    table = hits.numpy() if isinstance(hits, Hits) else hits
    begin, end = integration(table, simulator.detector.electronics)
    pitch = simulator.detector.geometry.pitch
    found = [_of_no_hits()]
    for members, part in zip(batch.fixed.members, batch.parts, strict=True):
        cloud_of = _arrivals(simulator, batch, members, part, parameters)
        for index, pixels in enumerate(members.pixels):
            hit, pixel = _matched(table, pixels, simulator.detector.electronics.max_hits)
            if len(hit) == 0:
                continue
            segment, response, cloud = cloud_of(index)
            window = (np.stack([begin[hit], end[hit]]) - pixels.reference[pixel]) * TICK
            weight = _weights(cloud, pixel, window, response, pitch[pixels.plane[pixel]])
            found.append(_fractions(hit, segment[pixel], weight))
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


def _arrivals(
    simulator: Any, batch: Batch, members: Members, part: Part, parameters: Parameters | None
) -> Callable[[int], tuple[np.ndarray, Response, Cloud]]:
    """What arrives at the pixels of each size class of a part, in NumPy on any backend: nothing is compiled for it.

    The segment of each node (pixel, node), the response, the clouds.
    """

    def tensors(tree: Any) -> Any:
        return map_leaves(lambda leaf: ep.astensor(np.asarray(simulator.backend.numpy(leaf))), tree)

    values = simulator.detector.parameters if parameters is None else parameters
    deposits, frame, p = tensors((batch.deposits, batch.frame, values))
    p = p._replace(vdrift=drift_velocity(p.eField, p.temperature)) if simulator.link_vdrift_eField else p
    lines = lines_in_boxes(deposits, frame, shifts_of(p))

    def cloud_of(index: int) -> tuple[np.ndarray, Response, Cloud]:
        size, response = tensors((part.classes[index], part.responses[index]))
        place = members.places[index]
        own = slice(place.first, place.first + math.prod(size.weight.shape))
        bunch = tensors(map_leaves(lambda column: column[own], part.bunches[place.bunch]))
        points = points_of(bunch, lines, frame.module)
        clouds = Cloud(points.x, points.y, *arrivals_of(points, p, simulator.recombination))
        cloud = resolved(clouds_of(size, clouds, 0), size.weight, response)
        segment = bunch.segment.reshape(cloud.charge.shape)
        return map_leaves(lambda tensor: tensor.numpy(), (segment, response, cloud))

    return cloud_of


def _weights(cloud: Cloud, pixel: np.ndarray, window: np.ndarray, response: Response, pitch: np.ndarray) -> np.ndarray:
    """Charge of each node that each hit holds, electrons (hit, node); `window` (2, hit) in us, `pitch` (hit,) in cm."""
    cloud = Cloud(*(values[pixel] for values in cloud))
    sigma = np.sqrt(cloud.variance_T)
    charge = cloud.charge * _on_pixel(cloud.x, sigma, pitch) * _on_pixel(cloud.y, sigma, pitch)
    arrival, width = cloud.arrival, np.sqrt(cloud.variance_t)
    seen = np.zeros((len(pixel), charge.shape[1]))
    for point, weight in zip(*_SPREAD, strict=True):
        begin, end = _mean_response(window[:, :, None] - arrival - point * width, response)
        seen += weight * (end - begin)
    held = charge * seen
    return np.where(held.sum(axis=1, keepdims=True) > 0.0, held, charge)


def _mean_response(lag: np.ndarray, response: Response) -> np.ndarray:
    """Fraction of a charge that the pixel has seen `lag` us after its arrival, on average over its face."""
    lags = TICK * (np.arange(SPAN) - BEFORE)
    return np.interp(lag, lags, response.mean, left=0.0, right=1.0)


def _on_pixel(offset: np.ndarray, sigma: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Share of a cloud around `offset` (cm from the pixel's centre) that lies on the pixel, along one axis."""
    scale, half = np.sqrt(0.5) / sigma, 0.5 * pitch[:, None]
    return 0.5 * (erf((half - offset) * scale) + erf((half + offset) * scale))


def _fractions(hit: np.ndarray, segment: np.ndarray, weight: np.ndarray) -> Truth:
    """Weights of nodes (hit, node) -> fractions of segments."""
    row, node = np.nonzero(weight > 0.0)
    pair, index = np.unique(np.stack([row, segment[row, node]], axis=1), axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), weights=weight[row, node], minlength=len(pair))
    order = np.lexsort([-total, pair[:, 0]])
    row, owner, total = pair[order, 0], pair[order, 1], total[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < MOST
    row, owner, total = row[kept], owner[kept], total[kept]
    fraction = total / np.bincount(row, weights=total, minlength=len(hit))[row]
    return Truth(hit[row], owner.astype(np.int64), fraction)


def _of_no_hits() -> Truth:
    none = np.zeros(0, dtype=np.int64)
    return Truth(none, none, np.zeros(0))
