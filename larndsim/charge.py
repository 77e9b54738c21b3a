"""Stage 4, plan + drifted points -> the charge that each pixel has seen at each tick.

All in EagerPy, for one size class at a time; nothing loops over segments, pixels or ticks. Each node becomes a cloud;
what the channels of a pixel's response see of all of its clouds (`induction`) is shown at later ticks:

    waveform = sum over blocks of arrival time of seen * kernel,    kernel = gather * show, a product of low rank

The kernel already holds part of the spread in time, so that it and the density of arrivals are smooth on their bins.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import (
    constant,
    cos,
    floor,
    matmul,
    take,
    take_along,
    to_integer,
    to_real,
    with_derivative,
)
from .clipping import Line, clip
from .data.batch import Deposits, Frame, SizeClass, Window
from .detector.parameters import Parameters
from .drifting import drift
from .induction import SEEN_BY_CHANNELS, Nodes, Tables
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
    variance_T: Any  # cm2, across the drift
    arrival: Any  # us from the event's reference time
    variance_t: Any  # us2, of the arrival


class Signal(NamedTuple):
    """Cumulative charge on each pixel's own moving window. Axes: (pixel,), (pixel, tick)."""

    start: Any  # first tick, from the event's reference time
    end: Any  # ticks from the start until all charge is seen, for this pixel alone
    charge: Any  # electrons


def lines_in_boxes(deposits: Deposits, frame: Frame, shifts: tuple[Any, ...]) -> Any:
    """One row per segment, after the `shifts` along x, y and z: `Row`. Axes: (segment, column)."""
    line = Line(
        deposits.x_start, deposits.y_start, deposits.z_start, deposits.x_end - deposits.x_start,
        deposits.y_end - deposits.y_start, deposits.z_end - deposits.z_start,
    ).moved(*(per_segment(shift, frame.module) for shift in shifts))  # fmt: skip
    enter, leave = clip(line, frame)
    columns = Row(*line, enter, leave - enter, deposits.dE, deposits.dEdx, deposits.t, frame.direction)
    return ep.stack(columns, axis=-1)


def clouds_of(
    size: SizeClass, response: Response, lines: Any, module: Any, parameters: Parameters, model: str
) -> Cloud:
    """Quench and drift the nodes of a size class: clouds as wide as its response resolves. Axes: (pixel, node).

    `lines` are the `lines_in_boxes`, `module` is that of each segment.
    """
    table = take(lines, size.segment)
    line = Row(*(table[:, :, column] for column in range(len(Row._fields))))
    p = per_node(parameters, module, size.segment)
    u = line.enter + line.inside * size.position
    d = -line.direction * (line.z + u * line.dz)
    drifted = drift(d, line.t, p)
    length2 = line.dx**2 + line.dy**2 + line.dz**2
    cos2 = line.dz**2 / ep.where(length2 > 0.0, length2, ep.ones_like(length2))
    return Cloud(
        charge=quench(line.dE, line.dEdx, cos2, p, model) * drifted.survival * line.inside * size.weight,
        x=line.x + u * line.dx - size.x,
        y=line.y + u * line.dy - size.y,
        variance_T=ep.maximum(drifted.variance_T, response.smallest[0] ** 2),
        arrival=drifted.arrival,
        variance_t=ep.maximum(drifted.variance_t - response.kernel_variance, response.smallest[1]),
    )


def pixel_signals(
    size: SizeClass, response: Response, lines: Any, module: Any, parameters: Parameters, model: str
) -> Signal:
    """The cumulative charge of all pixels of a size class."""

    cloud = clouds_of(size, response, lines, module, parameters, model)
    start, end = first_and_last(cloud)
    return Signal(start - BEFORE, end + BEFORE + AFTER, shown(seen(cloud, start, size, response), response))


def seen(cloud: Cloud, start: Any, size: SizeClass, response: Response) -> Any:
    """What the channels see, in bins of arrival time from the tick `start` (pixel,) on. Axes: (pixel, channel, bin)."""
    late = cloud.arrival - ep.expand_dims(start, 1) * TICK
    rate = ep.sqrt(0.5 / cloud.variance_t)
    nodes = Nodes(
        weight=cloud.charge / (cloud.variance_T * sum_of_bells(late, rate, BLOCK * TICK / response.bins)),
        x=cloud.x,
        y=cloud.y,
        scale=ep.sqrt(0.5 / cloud.variance_T),
        late=late,
        rate=rate,
    )
    tables = Tables(*map(constant, (response.points, response.basis, response.mixing, size.times)))
    return with_derivative(SEEN_BY_CHANNELS, *nodes, *tables)


def sum_of_bells(late: Any, rate: Any, width: float) -> Any:
    """Sum of exp(-((m * width - late) * rate)^2) over all whole m: divided by it, no charge is lost, however coarse.

    By Poisson's formula, whose terms fall so fast that three are enough for any width that resolves the bell.
    """
    q = ep.exp(-1.0 * (math.pi / width / rate) ** 2)
    wave = cos(late * (2.0 * math.pi / width))
    return (1.0 + 2.0 * q * wave + 2.0 * q**4 * (2.0 * wave**2 - 1.0)) * (math.sqrt(math.pi) / width) / rate


def shifts_of(parameters: Parameters) -> tuple[Any, Any, Any]:
    """What moves the segments."""
    return parameters.shift_x, parameters.shift_y, parameters.shift_z


def per_segment(value: Any, module: Any) -> Any:
    """A parameter that differs between modules, one value per segment; any other stays a scalar."""
    return take(value, module) if value.ndim else value


def per_node(parameters: Parameters, module: Any, segment: Any) -> Parameters:
    """Parameters that differ between modules, one value per node; the others stay scalars."""
    return Parameters(*(take(per_segment(value, module), segment) if value.ndim else value for value in parameters))


def shown(seen: Any, response: Response) -> Any:
    """What channels see of arrivals (pixel, channel, bin) -> what the pixel shows of it, tick by tick."""
    pixels, channels, bins = seen.shape
    blocks = bins // response.bins
    by_block = seen.reshape((pixels, channels, blocks, response.bins)).transpose((0, 2, 1, 3))
    modes = matmul(by_block.reshape((pixels * blocks, channels * response.bins)), response.gather)
    return overlapped(matmul(modes, response.show).reshape((pixels, blocks, SPAN)))


def first_and_last(cloud: Cloud) -> tuple[Any, Any]:
    """First tick of each pixel's blocks, and how many ticks later all has arrived. Axis: (pixel,)."""
    arrival, tail = constant(cloud.arrival), TAILS * ep.sqrt(constant(cloud.variance_t))
    start = floor((arrival - tail).min(axis=1) / TICK)
    return start, floor((arrival + tail).max(axis=1) / TICK) + 1.0 - start


def overlapped(shown: Any) -> Any:
    """Sum what the blocks of arrivals show on overlapping ticks. (pixel, block, tick) -> (pixel, tick).

    Block b covers the ticks from b * BLOCK on; after its SPAN it shows its total. Rows that are one block longer than
    what is wanted, read as rows of that length, begin one block later each.
    """
    blocks = shown.shape[1]
    ticks = SPAN + (blocks - 1) * BLOCK
    left = BLOCK * (blocks - 1 - ep.arange(shown, blocks))  # ticks after the span of each block
    ended = ep.expand_dims(ep.arange(shown, BLOCK * blocks), 0) < ep.expand_dims(left, 1)
    total = shown[:, :, -1:] * ep.expand_dims(to_real(ended, shown), 0)
    rows = ep.concatenate([shown, total], axis=2).reshape((shown.shape[0], -1))
    return rows[:, : blocks * ticks].reshape((-1, blocks, ticks)).sum(axis=1)


def ticks_of(size: SizeClass, response: Response) -> int:
    """Number of ticks of the signals of a class."""
    return (size.times.shape[0] // response.bins - 1) * BLOCK + SPAN


def on_window(signal: Signal, window: Window) -> Any:
    """The signal on the pixel's fixed window: zero before it begins, its total after it ends. (pixel, tick)."""
    index = ep.expand_dims(window.first_tick, 1) + ep.expand_dims(window.ticks, 0)
    index = index - ep.expand_dims(to_integer(signal.start), 1)
    last = signal.charge.shape[1] - 1
    values = take_along(signal.charge, ep.minimum(ep.maximum(index, 0), last))
    return ep.where(index >= 0, values, ep.zeros_like(values))


def joined_rows(parts: tuple[Any, ...]) -> Any:
    """Arrays, one after the other."""
    return ep.concatenate(list(parts), axis=0)


def on_windows(signals: tuple[Signal, ...], windows: tuple[Window, ...], counts: tuple[int, ...]) -> Any:
    """The first rows of each class, `counts` of them, on their windows, one class after the other. (pixel, tick)."""
    each = zip(signals, windows, counts, strict=True)
    return ep.concatenate([on_window(signal, window)[:count] for signal, window, count in each], axis=0)
