"""Stage 4, plan + drifted points -> the charge that each pixel has seen at each tick.

All in EagerPy, for one size class at a time; nothing loops over segments, pixels or ticks. With n for a node's index,
(i, j) for the points of a pixel's face, c for the channels of the response and m for bins of arrival time:

    share[n, c]  = charge[n] * sum over i, j of G(x_i) G(y_j) mixing[i, j, c]     G: the transverse Gaussian
    seen[c, m]   = sum over n of share[n, c] * g[n, m]                            g: the Gaussian of arrival times
    waveform     = seen * kernel                                                  a matrix product per block of bins

The response's kernel already holds part of the spread in time, so that g and the kernel are both smooth on their bins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import batched_matmul, constant, floor, matmul, take, take_along, to_integer, to_real
from .clipping import Line, clip
from .data.batch import Deposits, Frame, SizeClass
from .detector.parameters import Parameters
from .drifting import drift, velocity
from .pixelization import TAILS
from .quenching import quench
from .response import AFTER, BEFORE, BLOCK, SPAN, TICK, Response


class Row(NamedTuple):
    """What the nodes of a segment have in common. Axes: (segment,), or (pixel, node)."""

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


class Cloud(NamedTuple):
    """The charge of each node when it reaches the plane. Axes: (pixel, node)."""

    charge: Any  # electrons
    x: Any  # cm from the pixel's centre
    y: Any
    sigma_T: Any  # cm
    arrival: Any  # us from the event's reference time
    variance_t: Any  # us2, of what the kernel does not hold


class Signal(NamedTuple):
    """Cumulative charge on each pixel's own moving window. Axes: (pixel,), (pixel, tick)."""

    start: Any  # first tick, from the event's reference time
    end: Any  # ticks from the start until all charge is seen, for this pixel alone
    charge: Any  # electrons


def lines_in_boxes(deposits: Deposits, frame: Frame, parameters: Parameters) -> Any:
    """One row per segment, after the shifts: `Row`. Axes: (segment, column)."""
    p = per_segment(parameters, frame)
    line = Line(
        deposits.x_start, deposits.y_start, deposits.z_start, deposits.x_end - deposits.x_start,
        deposits.y_end - deposits.y_start, deposits.z_end - deposits.z_start,
    ).moved(p.shift_x, p.shift_y, p.shift_z)  # fmt: skip
    enter, leave = clip(line, frame)
    columns = Row(*line, enter, leave - enter, deposits.dE, deposits.dEdx, deposits.t, frame.direction)
    return ep.stack(columns, axis=-1)


def pixel_signals(
    size: SizeClass, response: Response, rows: Any, frame: Frame, parameters: Parameters, model: str, linked: bool
) -> Signal:
    """The cumulative charge of all pixels of a size class; `rows` are the `lines_in_boxes`."""
    cloud = arriving_clouds(size, response, rows, frame, parameters, model, linked)
    start, end, density = arrival_density(cloud, size, response)
    # divided by its sum, the density loses no charge however coarse the bins are
    share = channel_shares(cloud, response) / density.sum(axis=-1, keepdims=True)
    bins = response.bins.shape[0]
    pixels, channels, blocks = share.shape[0], share.shape[2], size.blocks.shape[0]
    seen = batched_matmul(share.transpose((0, 2, 1)), density)
    seen = seen.reshape((pixels, channels, blocks, bins)).transpose((0, 2, 1, 3))
    shown = matmul(seen.reshape((pixels * blocks, channels * bins)), response.kernel)
    return Signal(start - BEFORE, end + BEFORE + AFTER, overlapped(shown.reshape((pixels, blocks, SPAN)), size.blocks))


def arriving_clouds(
    size: SizeClass, response: Response, rows: Any, frame: Frame, parameters: Parameters, model: str, linked: bool
) -> Cloud:
    """Quench and drift the nodes of a size class."""
    table = take(rows, size.segment)
    line = Row(*(table[..., column] for column in range(len(Row._fields))))
    p = per_node(per_segment(parameters, frame), size.segment)
    u = line.enter + line.inside * size.position
    d = -line.direction * (line.z + u * line.dz)
    drifted = drift(d, line.t, p, velocity(p, linked), response.smallest[0])
    length2 = line.dx**2 + line.dy**2 + line.dz**2
    cos2 = line.dz**2 / ep.where(length2 > 0.0, length2, ep.ones_like(length2))
    columns = ep.expand_dims(size.ix, 1) - take(frame.ix, size.segment)
    lines = ep.expand_dims(size.iy, 1) - take(frame.iy, size.segment)
    return Cloud(
        charge=quench(line.dE, line.dEdx, cos2, p, model) * drifted.survival * line.inside * size.weight,
        x=line.x + u * line.dx - to_real(columns, u) * size.pitch,
        y=line.y + u * line.dy - to_real(lines, u) * size.pitch,
        sigma_T=drifted.sigma_T,
        arrival=drifted.arrival,
        variance_t=ep.maximum(drifted.variance_t - response.kernel_variance, response.smallest[1]),
    )


def per_segment(parameters: Parameters, frame: Frame) -> Parameters:
    """Parameters that differ between modules, one value per segment; the others stay scalars."""
    return Parameters(*(take(value, frame.module) if value.ndim else value for value in parameters))


def per_node(parameters: Parameters, segment: Any) -> Parameters:
    """Values per segment, one value per node; the others stay scalars."""
    return Parameters(*(take(value, segment) if value.ndim else value for value in parameters))


def channel_shares(cloud: Cloud, response: Response) -> Any:
    """Charge of each node in each channel of the response. Axes: (pixel, node, channel)."""
    offset = ep.expand_dims(ep.stack([cloud.x, cloud.y], axis=-1), -1)
    scale = ep.expand_dims(ep.expand_dims((0.5**0.5) / cloud.sigma_T, -1), -1)
    # the Gaussian on both halves of the face, folded: (pixel, node, [x, y], point)
    folded = bell((response.points - offset) * scale) + bell((response.points + offset) * scale)
    face = matmul(folded, response.basis)
    x, y = face[:, :, 0], face[:, :, 1] * ep.expand_dims(cloud.charge / cloud.sigma_T**2, -1)
    square = ep.expand_dims(x, -1) * ep.expand_dims(y, -2)
    return matmul(square.reshape((*x.shape[:2], -1)), response.mixing)


def bell(x: Any) -> Any:
    """exp(-x^2), held at 1e-11 far out: denormal numbers would slow everything that follows a hundredfold."""
    return ep.exp(-ep.minimum(x * x, 25.0))


def arrival_density(cloud: Cloud, size: SizeClass, response: Response) -> tuple[Any, Any, Any]:
    """First tick of each pixel's blocks, and how many until all has arrived (pixel,); the bell (pixel, node, bin)."""
    tail = TAILS * ep.sqrt(cloud.variance_t)
    start = floor(constant(cloud.arrival - tail).min(axis=1) / TICK)
    end = floor(constant(cloud.arrival + tail).max(axis=1) / TICK) + 1.0 - start
    offsets = to_real(size.blocks, cloud.arrival) * (BLOCK * TICK)
    times = (ep.expand_dims(offsets, 1) + response.bins).reshape((-1,))
    late = ep.expand_dims(cloud.arrival - ep.expand_dims(start, 1) * TICK, -1)
    scale = ep.expand_dims((0.5**0.5) / ep.sqrt(cloud.variance_t), -1)
    return start, end, bell((times - late) * scale)


def overlapped(shown: Any, blocks: Any) -> Any:
    """Sum what the blocks of arrivals show on overlapping ticks. (pixel, block, tick) -> (pixel, tick).

    Block b covers the ticks from b * BLOCK on; after its SPAN it shows its total.
    """
    pixels, count = shown.shape[:2]
    if count == 1:
        return shown.reshape((pixels, SPAN))
    ticks = (count - 1) * BLOCK + SPAN
    # rows that are BLOCK too long, read again as rows of the right length: each begins one block later than the last
    long = ep.pad(shown, ((0, 0), (0, 0), (0, ticks + BLOCK - SPAN)), mode="constant", value=0.0)
    skewed = long.reshape((pixels, -1))[:, : count * ticks].reshape((pixels, count, ticks))
    row = ep.arange(blocks, 0, ticks)
    over = ep.expand_dims(row, 0) >= ep.expand_dims(blocks, 1) * BLOCK + SPAN
    return skewed.sum(axis=1) + matmul(shown[:, :, -1], to_real(over, shown))


def ticks_of(size: SizeClass) -> int:
    """Number of ticks of the signals of a class."""
    return (size.blocks.shape[0] - 1) * BLOCK + SPAN


def on_window(signal: Signal, size: SizeClass) -> Any:
    """The signal on the pixel's fixed window: zero before it begins, its total after it ends. (pixel, tick)."""
    index = ep.expand_dims(size.first_tick, 1) + ep.expand_dims(size.ticks, 0)
    index = index - ep.expand_dims(to_integer(signal.start), 1)
    last = signal.charge.shape[1] - 1
    values = take_along(signal.charge, ep.minimum(ep.maximum(index, 0), last))
    return ep.where(index >= 0, values, ep.zeros_like(values))
