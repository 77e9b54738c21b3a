"""Stage 4, plan + drifted nodes -> the charge that each pixel has seen at each tick: the formulae.

All in EagerPy, for one chunk of a batch at a time, and from the faces on for one layer of pixels of one resolution;
nothing loops over segments, pixels or ticks. A node becomes a cloud of charge that arrives at the response plane. Up to
eight nodes of a pixel that arrive one after the other make a group; a group and a window of arrival-time bins make a
tile, and a group has as many tiles as hold all that arrives of it. With n for a node, i and j for shapes of charge
along a face, c for the channels of the response, m for the bins:

    seen[m, c]    = sum over n of share[n, c] * weight[n] * bell(z),    z = (time[m] - late[n]) * rate[n]
    weight[n]     = amplitude[n] / sum over m of bell(z)
    share[n, c]   = sum over i, j of mixing[i, j, c] * face(x[n])[i] * face(y[n])[j]
    face(x)[i]    = sum over points p of basis[p, i] * (bell((p - x) * scale) + bell((p + x) * scale))
    waveform      = sum over rows of bins of seen * kernel,    kernel = gather * show, a product of low rank

Divided by that sum, no charge is lost, however coarse the bins are. The kernel already holds part of the spread in
time, so that it and the density of arrivals are smooth on their bins.
Axes: (group, node) for what comes in, flat for the faces (pair, basis); (tile, bin, channel); (row, tick); and the
waveforms in blocks of ticks (block, tick), those of a pixel one after the other. A derivative has many
directions, which `shown` takes at once.
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
    sums_so_far,
    take,
    to_integer,
    to_real,
    windows,
)
from .data.batch import Chunk, Deposits, Frame, Stack
from .detector.clipping import Line, clip
from .drifting import TAILS
from .response import Sampling

NARROW = 2e-4  # us2: no response resolves narrower clouds


class Folded(NamedTuple):
    """A response folded for one pitch and one resolution: what the core multiplies with."""

    points: Any  # (1, point) cm, quadrature points of half a face
    basis: Any  # (point, basis) quadrature weights times shapes along a face, times the Gaussian's constant, cm
    mixing: Any  # (basis * basis, channel)
    gather: Any  # (bin of a block * channel, mode) the kernel is gather * show, cumulative
    show: Any  # (mode, tick) from `before` ticks before the block's start
    mean: Any  # (tick,) what a charge in a block's first bin shows on average over the face
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
    """The charge of each node when it reaches the plane. Axes: (group, node). Derivatives are those by these six."""

    x: Any  # cm from the pixel's centre
    y: Any
    charge: Any  # electrons; of the whole segment, until the nodes take their shares
    variance_T: Any  # cm2, across the drift
    arrival: Any  # us from the event's reference time
    variance_t: Any  # us2, of the arrival


class Nodes(NamedTuple):
    """What decides what is seen of a node. Axes: (group, node)."""

    amplitude: Any  # electrons over the square of the transverse width, 1/cm2
    x: Any  # cm from the pixel's centre
    y: Any
    scale: Any  # 1/cm, one over the transverse width and the root of two
    late: Any  # us from the first bin of the group
    rate: Any  # 1/us, one over the width in time and the root of two


class TileTimes(NamedTuple):
    """When the nodes of a tile arrive. Axes: (tile, node)."""

    late: Any  # us from the first bin of the tile
    rate: Any  # as in `Nodes`


class Limits(NamedTuple):
    """What the resolution of each group can and cannot tell. Axis: (group,), and one more to go with the nodes."""

    variance_T: Any  # cm2, of the narrowest clouds
    variance_t: Any  # us2, of the narrowest density of arrivals
    held: Any  # us2, the part of the spread in time that the kernel already holds
    bin: Any  # us


class Times(NamedTuple):
    """When the signals begin and end, and where the bins of each group lie; whole numbers, without gradient."""

    start: Any  # (pixel,) first tick of its first block
    end: Any  # (pixel,) ticks from the start until all charge is seen, for this pixel alone
    bin: Any  # (group,) its first bin among those of all rows of its layer
    begin: Any  # (group,) us, when that begins


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


def limits_of(stack: Any, resolution: Any) -> Limits:
    """What the resolution of each group can tell, by the `resolution` of its stack."""
    table = take(resolution, stack)
    return Limits(*(table[:, column : column + 1] for column in range(len(Limits._fields))))


def resolved(variance_t: Any, limits: Limits) -> Any:
    """The spread in time of the density of arrivals on bins: what the kernel does not hold already, us2."""
    return ep.maximum(variance_t - limits.held, limits.variance_t)


def times_of(cloud: Cloud, chunk: Chunk, limits: Limits, sampling: Sampling) -> Times:
    """Where the charge of each pixel begins and ends to arrive, and where the windows of the groups begin."""
    arrival, variance, pixels = constant(cloud.arrival), constant(cloud.variance_t), chunk.first_block.shape[0]
    # the signal begins and ends with its clouds, whatever their resolution: noise counts ticks from its start
    tail = TAILS * ep.sqrt(ep.maximum(variance, NARROW))
    eighth = sampling.eighth
    start = eighth * floor(least((arrival - tail).min(axis=1) / (eighth * sampling.tick), chunk.pixel, pixels))
    end = floor(most((arrival + tail).max(axis=1) / sampling.tick, chunk.pixel, pixels)) + 1.0 - start
    own, ticks = take(start, chunk.pixel), limits.bin[:, 0] / sampling.tick  # of a bin
    early = (arrival - TAILS * ep.sqrt(resolved(variance, limits))).min(axis=1) / sampling.tick
    first = ep.minimum(ep.maximum(to_integer(floor((early - own) / ticks)), 0), chunk.latest)
    return Times(start, end, chunk.first_bin + first, (own + to_real(first, own) * ticks) * sampling.tick)


def nodes_of(cloud: Cloud, weight: Any, begin: Any, limits: Limits) -> Nodes:
    """What is seen of clouds that stand for some `weight` of their segments, from the `begin` of their groups on."""
    density = 1.0 / ep.maximum(cloud.variance_T, limits.variance_T)
    return Nodes(
        amplitude=cloud.charge * weight * density,
        x=cloud.x,
        y=cloud.y,
        scale=ep.sqrt(0.5 * density),
        late=cloud.arrival - ep.expand_dims(begin, 1),
        rate=ep.sqrt(0.5 / resolved(cloud.variance_t, limits)),
    )


def sums_of_bells(nodes: Nodes, limits: Limits) -> tuple[Any, Any, Any]:
    """The sum of each node's bells in all bins, however many there are, and its relative slopes by `late` and `rate`.

    By Poisson's formula, whose terms fall so fast that three are enough for bins that resolve the bell.
    Axes: (group, node).
    """
    z = math.pi / (limits.bin * nodes.rate)
    phase = 2.0 * math.pi / limits.bin * nodes.late
    term, across, along = ep.exp(-1.0 * z * z), cos(phase), sin(phase)
    fourth = (term * term) * (term * term)
    first, second = 2.0 * term * across, 2.0 * fourth * (2.0 * across * across - 1.0)
    waves = 1.0 + first + second
    by_phase = 2.0 * along * (term + 4.0 * fourth * across)
    by_z = first + 4.0 * second
    total = z / math.sqrt(math.pi) * waves
    return total, -2.0 * math.pi / limits.bin * by_phase / waves, (2.0 * z * z * by_z / waves - 1.0) / nodes.rate


def bins_of_block(response: Folded) -> int:
    """Arrival-time bins of a block of ticks."""
    return response.gather.shape[0] // response.mixing.shape[1]


def face(offset: Any, scale: Any, response: Folded) -> Any:
    """The shapes of charge along half a face, both halves folded, of clouds (pair,). Axes: (pair, basis)."""
    offset, scale = ep.expand_dims(offset, 1), ep.expand_dims(scale, 1)
    left, right = (response.points - offset) * scale, (response.points + offset) * scale
    return matmul(bell(left) + bell(right), response.basis)


def share(x: Any, y: Any, nodes: Nodes, response: Folded) -> Any:
    """What the channels see of unit charges with the faces `x` and `y` (pair, basis). Axes: (group, node, channel)."""
    products = (ep.expand_dims(x, 2) * ep.expand_dims(y, 1)).reshape((x.shape[0], -1))
    return matmul(products, response.mixing).reshape((*nodes.x.shape, -1))


def of_tiles(nodes: Nodes, stack: Stack, response: Folded) -> TileTimes:
    """When the nodes of each tile of a stack arrive; `nodes` have a first axis (layer,)."""
    layers, groups = stack.weight.shape[:2]
    group = stack.group + ep.expand_dims(ep.arange(stack.group, layers), 1) * groups
    late, rate = (take(each.reshape((layers * groups, -1)), group) for each in (nodes.late, nodes.rate))
    begin = to_real(stack.window, late) * (response.times[1] * response.times.shape[0])
    return TileTimes(late - ep.expand_dims(begin, 2), rate)


def lateness(times: TileTimes, response: Folded, node_axis: int = 2) -> Any:
    """Distance of each bin from each node's arrival, in widths over the root of two.

    Axes: (tile, bin, node), or (tile, node, bin) with the nodes on axis 1: products are fast over what lies together.
    """
    late, rate = (ep.expand_dims(each, 3 - node_axis) for each in times)
    return (ep.expand_dims(response.times, node_axis - 1) - late) * rate


def seen(nodes: Nodes, times: TileTimes, share: Any, total: Any, layer: Stack, response: Folded) -> Any:
    """What the channels see, in the bins of each tile. `total` are the `sums_of_bells`. (tile, bin, channel)."""
    weighted = share * ep.expand_dims(nodes.amplitude / total, 2)
    return batched_matmul(bell(lateness(times, response)), take(weighted, layer.group))


def bins_of_tiles(first: Any, layer: Stack, response: Folded) -> Any:
    """The first bin of each tile, from that of each group. Axis: (tile,)."""
    return take(first, layer.group) + layer.window * response.times.shape[0]


def shown(seen: Any, first: Any, layer: Stack, response: Folded, sampling: Sampling, many: int = 1) -> Any:
    """What channels see of each tile, of a group that begins at bin `first` (group,) -> what pixels show, cumulative.

    Axes: (tile, bin, direction * channel), for so many directions -> (direction, block, tick).
    """
    rows, bins, blocks = layer.row_block.shape[0], bins_of_block(response), layer.ended.shape[0]
    flat = add_windows(seen, bins_of_tiles(first, layer, response), rows * bins)
    flat = flat.reshape((rows, bins, many, -1)).transpose((0, 2, 1, 3)).reshape((rows * many, -1))
    ticks = matmul(matmul(flat, response.gather), response.show).reshape((rows, many, -1, sampling.block))
    total = ticks[:, :, -1, -1]
    spans = ticks.transpose((0, 2, 1, 3)).reshape((rows, -1, many * sampling.block))
    found = add_windows(spans, layer.row_block, blocks).reshape((blocks, many, sampling.block))
    # after its span a row shows its total, until the last block of its pixel
    ended = take(sums_so_far(total, layer.row_pixel), layer.row_ended) * ep.expand_dims(layer.ended, 1)
    return (found + ep.expand_dims(ended, 2)).transpose((1, 0, 2))


def spans_of(slope: Any, layer: Stack, response: Folded, sampling: Sampling) -> Any:
    """The transposed of the end of `shown`: slopes (block, tick) -> by what each row shows (row, tick)."""
    rows, length = layer.row_block.shape[0], sampling.span // sampling.block
    spans = windows(slope, layer.row_block, length).reshape((rows, -1))
    later = add_windows(ep.expand_dims(ep.expand_dims(slope.sum(axis=1) * layer.ended, 1), 1), layer.row_ended, rows)
    by_total = sums_so_far(later, layer.row_pixel, backwards=True)
    return ep.concatenate([spans[:, :-1], spans[:, -1:] + by_total], axis=1)
