"""Stage 4, plan + drifted nodes -> the charge that each pixel has seen at each tick: the formulae.

All in EagerPy, for one chunk of a batch at a time; nothing loops over segments, pixels or ticks. A node becomes a cloud
of charge that arrives at the response plane. Up to eight nodes of a pixel that arrive one after the other make a tile,
with a window of arrival-time bins that holds all of them. With n for a node, i and j for the points of a face that
carry the response, c for the channels of the response, m for the bins:

    seen[m, c]    = sum over n of share[n, c] * weight[n] * bell(z),    z = (time[m] - late[n]) * rate[n]
    weight[n]     = amplitude[n] / sum over m of bell(z)
    share[n, c]   = sum over i, j of mixing[i, j, c] * face(x[n])[i] * face(y[n])[j]
    face(x)[i]    = sum over points p of basis[p, i] * (bell((p - x) * scale) + bell((p + x) * scale))
    waveform      = sum over rows of bins of seen * kernel,    kernel = gather * show, a product of low rank

Divided by that sum, no charge is lost, however coarse the bins are. The kernel already holds part of the spread in
time, so that it and the density of arrivals are smooth on their bins.
Axes: (tile, node) for what comes in, flat for the faces (pair, basis); (tile, bin, channel); (row, tick); and the
waveforms in blocks of ticks (block, tick), those of a pixel one after the other.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import (
    add_windows,
    batched_matmul,
    bell,
    constant,
    cos,
    floor,
    least,
    matmul,
    most,
    sin,
    take,
    to_integer,
    to_real,
    windows,
)
from .data.batch import Chunk, Deposits, Frame
from .detector.clipping import Line, clip
from .drifting import TAILS
from .response import Sampling

NARROW = 2e-4  # us2: no response resolves narrower clouds


class Folded(NamedTuple):
    """A response folded for one pitch and one resolution: what the core multiplies with."""

    points: Any  # (1, point) cm, quadrature points of half a face
    basis: Any  # (point, basis) quadrature weights times interpolation, times the Gaussian's constant, cm
    mixing: Any  # (basis * basis, channel)
    gather: Any  # (bin of a block * channel, mode) the kernel is gather * show, cumulative
    show: Any  # (mode, tick) from `before` ticks before the block's start
    mean: Any  # (tick,) what a charge in a block's first bin shows on average over the face
    kernel_variance: Any  # () us2: the part of the time spread that the kernel already holds
    smallest: Any  # (2,) smallest sigma_T (cm) and smallest variance of the arrival density (us2)
    times: Any  # (bin of a tile,) us from its first bin


class Row(NamedTuple):
    """What the nodes of a segment have in common. Axis: (segment,)."""

    x: Any  # cm, where the segment starts in its frame
    y: Any
    z: Any
    dx: Any  # cm, from its start to its end
    dy: Any
    dz: Any
    enter: Any  # where, 0..1, it enters its TPC
    inside: Any  # and how much of it lies within
    dE: Any
    dEdx: Any
    t: Any
    direction: Any


class Point(NamedTuple):
    """Each node, before its charge drifts. Axis: (node,)."""

    x: Any  # cm from the pixel's centre
    y: Any
    distance: Any  # cm, to the anode
    t: Any  # us from the event's reference time
    dE: Any  # MeV of its segment, within the TPC
    dEdx: Any
    cos2: Any  # of the angle between segment and drift
    module: Any


class Cloud(NamedTuple):
    """The charge of each node when it reaches the plane. Axes: (tile, node). Derivatives are those by these six."""

    x: Any  # cm from the pixel's centre
    y: Any
    charge: Any  # electrons; of the whole segment, until the nodes take their shares
    variance_T: Any  # cm2, across the drift
    arrival: Any  # us from the event's reference time
    variance_t: Any  # us2, of the arrival


class Nodes(NamedTuple):
    """What decides what is seen of a node. Axes: (tile, node)."""

    amplitude: Any  # electrons over the square of the transverse width, 1/cm2
    x: Any  # cm from the pixel's centre
    y: Any
    scale: Any  # 1/cm, one over the transverse width and the root of two
    late: Any  # us from the first bin of the tile
    rate: Any  # 1/us, one over the width in time and the root of two


class Times(NamedTuple):
    """When the signals begin and end, and where the bins of each tile lie; whole numbers, without gradient."""

    start: Any  # (pixel,) first tick of its first block
    end: Any  # (pixel,) ticks from the start until all charge is seen, for this pixel alone
    bin: Any  # (tile,) its first bin among those of all rows of the chunk
    begin: Any  # (tile,) us, when that begins


class Signal(NamedTuple):
    """Cumulative charge on each pixel's own moving window. Axes: (pixel,), (block, tick)."""

    start: Any  # first tick, from the event's reference time
    end: Any  # ticks from the start until all charge is seen, for this pixel alone
    charge: Any  # electrons


def segment_lines(deposits: Deposits, frame: Frame, shifts: tuple[Any, Any, Any]) -> Any:
    """One row per segment, after the `shifts` along x, y and z: `Row`. Axes: (segment, column)."""
    line = Line(
        deposits.x_start, deposits.y_start, deposits.z_start, deposits.x_end - deposits.x_start,
        deposits.y_end - deposits.y_start, deposits.z_end - deposits.z_start,
    ).moved(*(per_segment(shift, frame.module) for shift in shifts))  # fmt: skip
    enter, leave = clip(line, frame)
    columns = Row(*line, enter, leave - enter, deposits.dE, deposits.dEdx, deposits.t, frame.direction)
    return ep.stack(columns, axis=-1)


def points_of(chunk: Chunk, lines: Any, module: Any) -> Point:
    """Where the nodes of a chunk are; `lines` are the `segment_lines`, `module` is that of each segment."""
    table = take(lines, chunk.segment)
    line = Row(*(table[:, column] for column in range(len(Row._fields))))
    u = line.enter + line.inside * chunk.position
    length2 = line.dx * line.dx + line.dy * line.dy + line.dz * line.dz
    return Point(
        x=line.x + u * line.dx - chunk.x,
        y=line.y + u * line.dy - chunk.y,
        distance=-line.direction * (line.z + u * line.dz),
        t=line.t,
        dE=line.dE * line.inside,
        dEdx=line.dEdx,
        cos2=line.dz * line.dz / ep.where(length2 > 0.0, length2, ep.ones_like(length2)),
        module=take(module, chunk.segment),
    )


def per_segment(value: Any, module: Any) -> Any:
    """A parameter that differs between modules, one value per segment or node; any other stays a scalar."""
    return take(value, module) if value.ndim else value


def resolved(cloud: Cloud, weight: Any, response: Folded) -> Cloud:
    """Nodes take their shares of the charge, and are as wide as the response resolves."""
    return cloud._replace(
        charge=cloud.charge * weight,
        variance_T=ep.maximum(cloud.variance_T, response.smallest[0] ** 2),
        variance_t=ep.maximum(cloud.variance_t - response.kernel_variance, response.smallest[1]),
    )


def times_of(cloud: Cloud, chunk: Chunk, response: Folded, sampling: Sampling) -> Times:
    """Where the charge of each pixel begins and ends to arrive, and the windows of the tiles."""
    still, pixels = Cloud(*map(constant, cloud)), chunk.first_block.shape[0]
    # the signal begins and ends with its clouds, whatever their resolution: noise counts ticks from its start
    early, late = _ends(still.arrival, ep.maximum(still.variance_t, NARROW), sampling)
    start = floor(least(early, chunk.pixel, pixels))
    end = floor(most(late, chunk.pixel, pixels)) + 1.0 - start
    own, width = take(start, chunk.pixel), sampling.block / bins_of_block(response)  # ticks of a bin
    early, _ = _ends(still.arrival, resolved(still, chunk.weight, response).variance_t, sampling)
    first = to_integer(floor((early - own) / width))
    first = ep.minimum(ep.maximum(first, 0), chunk.latest) + chunk.window * response.times.shape[0]
    begin = (own + to_real(first, own) * width) * sampling.tick
    return Times(start, end, chunk.first_bin + first, begin)


def _ends(arrival: Any, variance: Any, sampling: Sampling) -> tuple[Any, Any]:
    """When the first charge of each tile arrives, and the last, in ticks."""
    tail = TAILS * ep.sqrt(variance)
    return (arrival - tail).min(axis=1) / sampling.tick, (arrival + tail).max(axis=1) / sampling.tick


def bins_of_block(response: Folded) -> int:
    """Arrival-time bins of a block of ticks."""
    return response.gather.shape[0] // response.mixing.shape[1]


def nodes_of(cloud: Cloud, weight: Any, begin: Any, response: Folded) -> Nodes:
    """What is seen of clouds, from the `begin` of their tiles on."""
    cloud = resolved(cloud, weight, response)
    return Nodes(
        amplitude=cloud.charge / cloud.variance_T,
        x=cloud.x,
        y=cloud.y,
        scale=ep.sqrt(0.5 / cloud.variance_T),
        late=cloud.arrival - ep.expand_dims(begin, 1),
        rate=ep.sqrt(0.5 / cloud.variance_t),
    )


def face(offset: Any, scale: Any, response: Folded) -> Any:
    """Charge on the points of half a face, both halves folded, of clouds (pair,). Axes: (pair, basis)."""
    offset, scale = ep.expand_dims(offset, 1), ep.expand_dims(scale, 1)
    left, right = (response.points - offset) * scale, (response.points + offset) * scale
    return matmul(bell(left) + bell(right), response.basis)


def share(x: Any, y: Any, nodes: Nodes, response: Folded) -> Any:
    """What the channels see of unit charges with the faces `x` and `y` (pair, basis). Axes: (tile, node, channel)."""
    products = (ep.expand_dims(x, 2) * ep.expand_dims(y, 1)).reshape((x.shape[0], -1))
    return matmul(products, response.mixing).reshape((*nodes.x.shape, -1))


def sums_of_bells(nodes: Nodes, response: Folded) -> tuple[Any, Any, Any]:
    """The sum of each node's bells in all bins, however many there are, and its relative slopes by `late` and `rate`.

    By Poisson's formula, whose terms fall so fast that three are enough for bins that resolve the bell.
    Axes: (tile, node).
    """
    width = response.times[1:2] - response.times[:1]
    z = math.pi / (width * nodes.rate)
    phase = 2.0 * math.pi / width * nodes.late
    term, across, along = ep.exp(-1.0 * z * z), cos(phase), sin(phase)
    fourth = (term * term) * (term * term)
    first, second = 2.0 * term * across, 2.0 * fourth * (2.0 * across * across - 1.0)
    waves = 1.0 + first + second
    by_phase = 2.0 * along * (term + 4.0 * fourth * across)
    by_z = first + 4.0 * second
    total = z / math.sqrt(math.pi) * waves
    return total, -2.0 * math.pi / width * by_phase / waves, (2.0 * z * z * by_z / waves - 1.0) / nodes.rate


def lateness(nodes: Nodes, response: Folded) -> Any:
    """Distance of each bin from each node's arrival, in widths over the root of two. Axes: (tile, bin, node)."""
    return (ep.expand_dims(response.times, 1) - ep.expand_dims(nodes.late, 1)) * ep.expand_dims(nodes.rate, 1)


def seen(nodes: Nodes, share: Any, total: Any, response: Folded) -> Any:
    """What the channels see, in the bins of each tile. `total` are the `sums_of_bells`. (tile, bin, channel)."""
    return batched_matmul(bell(lateness(nodes, response)), share * ep.expand_dims(nodes.amplitude / total, 2))


def shown(seen: Any, first: Any, chunk: Chunk, response: Folded, sampling: Sampling) -> Any:
    """What channels see from bin `first` (tile,) on -> what the pixels show of it, cumulative. Axes: (block, tick)."""
    rows, bins = chunk.row_block.shape[0], bins_of_block(response)
    flat = add_windows(seen, first, rows * bins)
    ticks = matmul(matmul(flat.reshape((rows, -1)), response.gather), response.show)
    found = add_windows(ticks.reshape((rows, -1, sampling.block)), chunk.row_block, chunk.block_pixel.shape[0])
    # after its span a row shows its total, until the last block of its pixel
    ended = matmul(to_real(rows_before(chunk), seen), ticks[:, -1:])
    ended = take(ended, chunk.row_ended) * ep.expand_dims(chunk.ended, 1)
    return found + ended


def rows_before(chunk: Chunk) -> Any:
    """Whether a row of bins is of the same pixel as another, and not after it. Axes: (row, row)."""
    row = ep.arange(chunk.row_pixel, chunk.row_pixel.shape[0])
    same = ep.expand_dims(chunk.row_pixel, 1) == ep.expand_dims(chunk.row_pixel, 0)
    return same.logical_and(ep.expand_dims(row, 1) >= ep.expand_dims(row, 0))


def spans_of(slope: Any, chunk: Chunk, response: Folded, sampling: Sampling) -> Any:
    """The transposed of the end of `shown`: slopes (block, tick) -> by what each row shows (row, tick)."""
    rows, length = chunk.row_block.shape[0], sampling.span // sampling.block
    spans = windows(slope, chunk.row_block, length).reshape((rows, -1))
    later = add_windows(ep.expand_dims(ep.expand_dims(slope.sum(axis=1) * chunk.ended, 1), 1), chunk.row_ended, rows)
    by_total = matmul(to_real(rows_before(chunk), slope).transpose((1, 0)), later)
    return ep.concatenate([spans[:, :-1], spans[:, -1:] + by_total], axis=1)
