"""Stage 4, plan + drifted points -> the charge that each pixel has seen at each tick.

All in EagerPy, for one size class at a time; nothing loops over segments, pixels or ticks. Each node becomes a cloud;
what its pixel sees of it is `induction`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import constant, cut, floor, take, take_along, to_integer, with_derivative
from .data.batch import Bunch, Deposits, Frame, SizeClass, Window
from .detector.clipping import Line, clip
from .detector.parameters import Parameters
from .drifting import drift
from .induction import WAVEFORMS, Cloud, Tables, resolved
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


def points_of(nodes: Bunch, lines: Any, module: Any) -> Point:
    """Where the nodes of a bunch are; `lines` are the `lines_in_boxes`, `module` is that of each segment."""
    table = take(lines, nodes.segment)
    line = Row(*(table[:, column] for column in range(len(Row._fields))))
    u = line.enter + line.inside * nodes.position
    length2 = line.dx * line.dx + line.dy * line.dy + line.dz * line.dz
    return Point(
        x=line.x + u * line.dx - nodes.x,
        y=line.y + u * line.dy - nodes.y,
        distance=-line.direction * (line.z + u * line.dz),
        t=line.t,
        dE=line.dE * line.inside,
        dEdx=line.dEdx,
        cos2=line.dz * line.dz / ep.where(length2 > 0.0, length2, ep.ones_like(length2)),
        module=take(module, nodes.segment),
    )


def arrivals_of(points: Point, parameters: Parameters, model: str) -> tuple[Any, Any, Any, Any]:
    """Quench and drift: charge, its variance across the drift, its arrival, the variance of that. Axis: (node,)."""
    p = Parameters(*(None if value is None else per_segment(value, points.module) for value in parameters))
    drifted = drift(points.distance, points.t, p)
    charge = quench(points.dE, points.dEdx, points.cos2, p, model) * drifted.survival
    return charge, drifted.variance_T, drifted.arrival, drifted.variance_t


def clouds_of(size: SizeClass, bunch: Cloud, first: Any) -> Cloud:
    """Those of a size class, from node `first` of their bunch on. Axes: (pixel, node)."""
    pixels, nodes = size.weight.shape
    return Cloud(*(cut(column, first, pixels * nodes).reshape((pixels, nodes)) for column in bunch))


def pixel_signals(size: SizeClass, response: Response, bunch: Cloud, first: Any) -> Signal:
    """The cumulative charge of all pixels of a size class."""
    cloud = clouds_of(size, bunch, first)
    start, end = first_and_last(cloud, size, response)
    charge = with_derivative(WAVEFORMS, *cloud, *tables_of(start, size, response))
    return Signal(start - BEFORE, end + BEFORE + AFTER, charge)


def tables_of(start: Any, size: SizeClass, response: Response) -> Tables:
    """What stays as it is, whatever moves the clouds."""
    r = response
    return Tables(
        start, size.weight, size.times, r.points, r.basis, r.mixing, r.gather, r.show, r.kernel_variance, r.smallest
    )


def shifts_of(parameters: Parameters) -> tuple[Any, Any, Any]:
    """What moves the segments."""
    return parameters.shift_x, parameters.shift_y, parameters.shift_z


def per_segment(value: Any, module: Any) -> Any:
    """A parameter that differs between modules, one value per segment or node; any other stays a scalar."""
    return take(value, module) if value.ndim else value


def first_and_last(cloud: Cloud, size: SizeClass, response: Response) -> tuple[Any, Any]:
    """First tick of each pixel's blocks, and how many ticks later all has arrived. Axis: (pixel,)."""
    still = resolved(Cloud(*map(constant, cloud)), size.weight, response)
    tail = TAILS * ep.sqrt(still.variance_t)
    start = floor((still.arrival - tail).min(axis=1) / TICK)
    return start, floor((still.arrival + tail).max(axis=1) / TICK) + 1.0 - start


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


def joined_rows(parts: tuple[Any, ...], counts: tuple[int, ...]) -> Any:
    """The first rows of each array, `counts` of them, one after the other."""
    return ep.concatenate([part[:count] for part, count in zip(parts, counts, strict=True)], axis=0)
