"""Stage 3, segments -> the plan: which points of which segments reach which pixels, and when.

Plain NumPy, made once per batch, without a gradient: everything that decides a shape is decided here, for every value
that the parameters may take (`Ranges`). Nothing is planned again while they stay within.

1. nodes: each segment is cut into panels of about equal length *in units of the diffusion widths* (which grow with the
   root of the drift distance), each panel carries Gauss-Legendre nodes;
2. pairs: the pixels that the charge of a node can reach with the widest cloud;
3. pixels: pairs grouped by event, plane and pixel, with the span of their arrival times.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import eagerpy as ep
import numpy as np
from scipy.special import ndtr

from .data.batch import Frame
from .data.segments import Segments
from .detector.clipping import Line, borders, clip
from .detector.geometry import Geometry
from .drifting import TAILS, arrival_variance, drift_time, transverse_variance
from .response import Sampling

SILENCE = 2000.0  # us without deposits that end a burst, at least
PIECE = 500  # segments that are planned at once, to save memory
NEAREST = 0.1  # cm: nodes get no denser than at this distance from the anode
ORDERS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16])  # Gauss-Legendre nodes that a panel may have


class Ranges(NamedTuple):
    """What decides the plan: lowest and highest values of the parameters, the detector's response and its clock, and
    how exact the waveforms are to be."""

    velocity: tuple[float, float]
    tran_diff: tuple[float, float]
    long_diff: tuple[float, float]
    shift_x: tuple[float, float]
    shift_y: tuple[float, float]
    shift_z: tuple[float, float]
    distance: float  # cm, from the response plane to the anode
    sampling: Sampling
    accuracy: float = 1e-3  # of a waveform, relative to its pixel's total


class Nodes(NamedTuple):
    """Quadrature points of the segments. Axis: (node,)."""

    segment: np.ndarray
    position: np.ndarray
    weight: np.ndarray
    x: np.ndarray  # lowest and highest x, y and drift distance over all shifts: (2, node), cm
    y: np.ndarray
    d: np.ndarray
    slide: np.ndarray  # how much more than the shift itself the node may move along the drift, cm


class Bursts(NamedTuple):
    """Deposits of an event that are so close in time that their signals may overlap: each is simulated by itself."""

    row: np.ndarray  # (segment,) row of the segment's burst
    event: np.ndarray  # (burst,) identifier
    number: np.ndarray  # (burst,) 0, 1, ... within the event, by time
    reference: np.ndarray  # (burst,) whole ticks that its times are measured from


class Plan(NamedTuple):
    """Pairs of pixel and node, sorted by pixel; and the pixels."""

    nodes: Nodes
    node: np.ndarray  # (pair,) index of the node
    first: np.ndarray  # (pixel + 1,) where each pixel's pairs begin
    event: np.ndarray  # (pixel,) identifier
    plane: np.ndarray
    ix: np.ndarray
    iy: np.ndarray
    burst: np.ndarray  # (pixel,) number within the event
    reference: np.ndarray  # (pixel,) reference time of the burst, ticks
    nearest: np.ndarray  # (pixel,) smallest drift distance of its nodes, cm
    span: np.ndarray  # (pixel,) longest time between first and last arrival, us
    window: np.ndarray  # (2, pixel) first and last arrival over all parameters, us from the reference


def plan(
    segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray, bursts: Bursts, ranges: Ranges
) -> Plan:
    """The plan of a batch of segments; `plane` is the TPC of each, -1 outside."""
    of_burst = np.bincount(bursts.row, minlength=1)
    piece = (np.cumsum(of_burst) // PIECE)[bursts.row]
    own = (np.where(piece == number, plane, -1) for number in np.unique(piece))
    plans = [_plan(segments, geometry, frame, some, bursts, ranges) for some in own]
    return _joined(plans) if plans else _plan(segments, geometry, frame, plane, bursts, ranges)


def _joined(plans: list[Plan]) -> Plan:
    """Plans of different bursts as one."""
    nodes = [0, *np.cumsum([len(plan.nodes.segment) for plan in plans])]
    pairs = [0, *np.cumsum([len(plan.node) for plan in plans])]
    joined = Plan(
        Nodes(*(np.concatenate(columns, axis=-1) for columns in zip(*(plan.nodes for plan in plans), strict=True))),
        *(np.concatenate(columns, axis=-1) for columns in zip(*(plan[1:] for plan in plans), strict=True)),
    )
    shifted = [plan.node + start for plan, start in zip(plans, nodes, strict=False)]
    first = [plan.first[:-1] + start for plan, start in zip(plans, pairs, strict=False)]
    return joined._replace(node=np.concatenate(shifted), first=np.append(np.concatenate(first), pairs[-1]))


def _plan(
    segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray, bursts: Bursts, ranges: Ranges
) -> Plan:
    """The same, all at once."""
    inside = np.flatnonzero(plane >= 0)
    line = Line(*(column[inside] for column in local_lines(segments, geometry, frame, plane)))
    nodes = _nodes(line, inside, Frame(*(column[inside] for column in frame)), ranges)
    node, ix, iy = _pairs(nodes, geometry, frame, plane, ranges)
    owner = nodes.segment[node]
    size = geometry.n_x.max(initial=1), geometry.n_y.max(initial=1), len(geometry.n_x)
    key = ((bursts.row[owner] * size[2] + plane[owner]) * size[0] + ix) * size[1] + iy
    order = np.argsort(key, kind="stable")
    pixel, first = np.unique(key[order], return_index=True)
    node, first = node[order], np.append(first, len(order))
    nearest, span, window = _arrivals(nodes, times_in(bursts, segments, ranges.sampling.tick), node, first, ranges)
    rest, iy = np.divmod(pixel, size[1])
    rest, ix = np.divmod(rest, size[0])
    burst, plane = np.divmod(rest, size[2])
    of_pixel = bursts.event[burst], plane, ix, iy, bursts.number[burst], bursts.reference[burst]
    return Plan(nodes, node, first, *of_pixel, nearest, span, window)


def bursts_of(segments: Segments, geometry: Geometry, ranges: Ranges) -> Bursts:
    """Cut events at long silences, in which nothing drifts: a window over them would be all but empty.

    What is left on a pixel below the threshold is then forgotten, as chips are reset from time to time.
    """
    drift = np.abs(geometry.anode_z - geometry.cathode_z).max(initial=0.0) + np.ptp(ranges.shift_z)
    tick = ranges.sampling.tick
    gap = max(SILENCE, 1.2 * drift / ranges.velocity[0] + 2 * ranges.sampling.span * tick)
    order = np.lexsort([segments.t, segments.event])
    event, t = segments.event[order], segments.t[order]
    first = np.diff(event, prepend=event[:1] - 1) != 0
    starts = first | (np.diff(t, prepend=t[:1]) > gap)
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.cumsum(starts) - 1
    begins = np.flatnonzero(starts)
    events = event[begins]
    number = np.arange(len(begins)) - np.searchsorted(events, events)
    return Bursts(index, events, number, np.floor(t[begins] / tick).astype(np.int64))


def times_in(bursts: Bursts, segments: Segments, tick: float) -> np.ndarray:
    """Times of the segments, us from the reference time of their burst. Axis: (segment,)."""
    return segments.t - tick * bursts.reference[bursts.row]


def frames(segments: Segments, geometry: Geometry, plane: np.ndarray) -> Frame:
    """The frame of each segment; `plane` is the TPC of each, -1 outside."""
    g, p = geometry, np.maximum(plane, 0)
    x, y = 0.5 * (segments.x_start + segments.x_end), 0.5 * (segments.y_start + segments.y_end)
    ix = np.where(plane >= 0, np.floor((x - g.x_low[p]) / g.pitch[p]), 0).astype(np.int64)
    iy = np.where(plane >= 0, np.floor((y - g.y_low[p]) / g.pitch[p]), 0).astype(np.int64)
    x_low, y_low = -(ix + 0.5) * g.pitch[p], -(iy + 0.5) * g.pitch[p]
    return Frame(
        module=g.module[p],
        ix=ix,
        iy=iy,
        direction=np.where(plane >= 0, g.direction[p], 0.0),
        x_low=x_low,
        x_high=x_low + (g.x_high - g.x_low)[p],
        y_low=y_low,
        y_high=y_low + (g.y_high - g.y_low)[p],
        drift_length=np.abs(g.anode_z - g.cathode_z)[p],
    )


def local_lines(segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray) -> Line:
    """The segments in their frames."""
    s, p = segments, np.maximum(plane, 0)
    x = s.x_start - (geometry.x_low[p] - frame.x_low)
    y = s.y_start - (geometry.y_low[p] - frame.y_low)
    return Line(x, y, s.z_start - geometry.anode_z[p], s.x_end - s.x_start, s.y_end - s.y_start, s.z_end - s.z_start)


def _clip(line: Line, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """`clip`, for NumPy."""
    enter, leave = clip(Line(*map(ep.astensor, line)), Frame(*map(ep.astensor, frame)))
    return enter.numpy(), leave.numpy()


def _nodes(line: Line, index: np.ndarray, frame: Frame, ranges: Ranges) -> Nodes:
    """Cut the segments `index`, which run along `line` in `frame`, into quadrature nodes."""
    enter, leave = _clip(line, frame)
    roots = np.sqrt(np.maximum([np.abs(line.z + edge * line.dz) for edge in (enter, leave)], NEAREST))
    panels, order = _panels((leave - enter) * _widths_along(line, roots, ranges), capacity(ranges.accuracy))
    owner, position, weight = _panel_nodes(panels, order, roots)
    return Nodes(index[owner], position, weight, *_boxes(line, owner, position, frame, ranges))


def _widths_along(line: Line, roots: np.ndarray, ranges: Ranges) -> np.ndarray:
    """Length of each line in units of the widths of the narrowest cloud; `roots` of the distance at its ends."""
    v = ranges.velocity[1]
    # widths grow as sqrt(d): sigma = unit * sqrt(d); the average of 1/sqrt(d) along the line is 2/(root0 + root1)
    transverse = np.hypot(line.dx, line.dy) / np.sqrt(transverse_variance(1.0, ranges.tran_diff[0], v))
    # along the drift the response smears the charge, too, over some us: nodes may be 2.5 times farther apart
    along = 0.4 * line.dz / (v * np.sqrt(arrival_variance(1.0, ranges.long_diff[0], v)))
    return np.hypot(transverse, along) * 2.0 / (roots[0] + roots[1])


def _panels(widths: np.ndarray, capacity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of panels of each segment and which of ORDERS they take."""
    panels = np.maximum(np.ceil(widths / capacity[-1]), 1).astype(np.int64)
    return panels, np.searchsorted(capacity, widths / panels * (1 - 1e-12))


@lru_cache(maxsize=8)
def capacity(accuracy: float) -> np.ndarray:
    """The longest line that each of ORDERS takes, in widths of the cloud.

    So that the charge along a line, smeared, is off by no more than twice the accuracy of what it is at its peak:
    a pixel sums over several panels, whose errors have either sign.
    """
    found = []
    for order in ORDERS:
        rule, low, high = np.polynomial.legendre.leggauss(order), 1e-3, 2.0 * order
        for _ in range(24):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _smearing_error(rule, middle) <= 2 * accuracy else (low, middle)
        found.append(low)
    return np.array(found)


def _smearing_error(rule: tuple[np.ndarray, np.ndarray], length: float) -> float:
    """Largest error of a uniform line of some length (in widths) as a sum over nodes, relative to its peak."""
    points, weights = rule
    x = np.linspace(-4.0, 0.5 * length, 300)  # the other half is the same
    sum_ = np.exp(-0.5 * (x[:, None] - 0.5 * length * (points + 1.0)) ** 2) @ (0.5 * length * weights)
    exact = ndtr(x) - ndtr(x - length)
    return float(np.abs(sum_ / np.sqrt(2 * np.pi) - exact).max() / exact.max())


def reach(accuracy: float) -> float:
    """Transverse widths that a node's charge is followed to: beyond lies less than a tenth of the accuracy.

    It falls as the exponential of the square. 6.77 makes it 4.2 widths for an accuracy of 1e-3: a border of a pixel
    beyond 4.2 widths cuts off 1.3e-5 of a cloud.
    """
    return float(np.sqrt(2.0 * np.log(6.77 / accuracy)))


def _panel_nodes(panels: np.ndarray, order: np.ndarray, roots: np.ndarray) -> tuple[np.ndarray, ...]:
    """Segment, position (0..1) and weight of all nodes of all panels."""
    rule_x, rule_w = _rules()
    owner = np.repeat(np.arange(len(panels)), panels)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(panels) - panels, panels)
    edges = [_equal_widths((number + k) / panels[owner], roots[:, owner]) for k in (0, 1)]
    count = ORDERS[order[owner]]
    panel = np.repeat(np.arange(len(owner)), count)
    which = np.arange(len(panel)) - np.repeat(np.cumsum(count) - count, count)
    rule = order[owner][panel]
    length = (edges[1] - edges[0])[panel]
    return owner[panel], edges[0][panel] + length * rule_x[rule, which], length * rule_w[rule, which]


@lru_cache(maxsize=1)
def _rules() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on 0..1 of each of ORDERS, padded. Axes: (rule, node)."""
    table = np.zeros((2, len(ORDERS), ORDERS[-1]))
    for row, n in enumerate(ORDERS):
        points, weights = np.polynomial.legendre.leggauss(n)
        table[0, row, :n], table[1, row, :n] = 0.5 * (points + 1.0), 0.5 * weights
    return table[0], table[1]


def _equal_widths(q: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Position along a segment at the share q of its length in widths (linear in the root of the distance)."""
    first, last = roots
    change = last - first
    flat = np.abs(change) < 1e-6 * (first + last)
    curved = ((first + q * change) ** 2 - first**2) / np.where(flat, 1.0, last**2 - first**2)
    return np.where(flat, q, curved)


def _boxes(line: Line, owner: np.ndarray, position: np.ndarray, frame: Frame, ranges: Ranges) -> tuple:
    """Range of x, y, drift distance of each node over all shifts, (2, node) each, and its slide along the drift."""
    shifts = np.array([ranges.shift_x, ranges.shift_y, ranges.shift_z])
    here = _points(line, frame, owner, position)
    low, high = here + shifts[:, :1], here + shifts[:, 1:]
    slide = np.zeros(len(owner))
    some = np.flatnonzero(_clipped_by_shifts(line, frame, shifts)[owner])
    for corner in {*product(*shifts.tolist())} if shifts.any() and some.size else ():
        there = _points(line.moved(*corner), frame, owner[some], position[some])
        low[:, some], high[:, some] = np.minimum(low[:, some], there), np.maximum(high[:, some], there)
        slide[some] = np.maximum(slide[some], np.abs(there[2] - here[2, some] - corner[2]))
    d = np.maximum(np.where(frame.direction[owner] > 0, (-high[2], -low[2]), (low[2], high[2])), 0.0)
    return np.array([low[0], high[0]]), np.array([low[1], high[1]]), d, slide


def _points(line: Line, frame: Frame, owner: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Coordinates (axis, node) of the nodes at `position` along the clipped lines."""
    enter, leave = _clip(line, frame)
    u = enter[owner] + (leave - enter)[owner] * position
    return np.array([start[owner] + u * step[owner] for start, step in zip(line[:3], line[3:], strict=True)])


def _clipped_by_shifts(line: Line, frame: Frame, shifts: np.ndarray) -> np.ndarray:
    """Whether a shift can push part of each segment out of its TPC."""
    crossed = np.zeros(len(line.x), dtype=bool)
    box = borders(Frame(*map(ep.astensor, frame)))
    for start, step, (low, high), (down, up) in zip(line[:3], line[3:], box, shifts, strict=True):
        crossed |= np.minimum(start, start + step) + down < low.numpy()
        crossed |= np.maximum(start, start + step) + up > high.numpy()
    return crossed


def _pairs(
    nodes: Nodes, geometry: Geometry, frame: Frame, plane: np.ndarray, ranges: Ranges
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a node and a pixel that it can reach: node, ix, iy. Axis: (pair,)."""
    owner = nodes.segment
    pitch = geometry.pitch[plane[owner]]
    widest = np.sqrt(transverse_variance(nodes.d[1], ranges.tran_diff[1], ranges.velocity[0]))
    widths = reach(ranges.accuracy) * widest / pitch
    boxes = []
    for box, anchor, count in ((nodes.x, frame.ix, geometry.n_x), (nodes.y, frame.iy, geometry.n_y)):
        middle = box / pitch + anchor[owner] + 0.5  # in pixels from the low border
        low = np.clip(np.floor(middle[0] - widths), 0, count[plane[owner]]).astype(np.int64)
        high = np.clip(np.floor(middle[1] + widths), -1, count[plane[owner]] - 1).astype(np.int64)
        boxes.append((low, np.maximum(high - low + 1, 0), middle))
    (x_low, x_count, x), (y_low, y_count, y) = boxes
    count = x_count * y_count
    node = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(node)) - np.repeat(np.cumsum(count) - count, count)
    column, row = np.divmod(number, y_count[node])
    ix, iy = x_low[node] + column, y_low[node] + row
    # the corners of the square are out of reach
    apart = [
        np.maximum(np.maximum(middle[0][node] - i - 1, i - middle[1][node]), 0.0) for i, middle in ((ix, x), (iy, y))
    ]
    near = apart[0] ** 2 + apart[1] ** 2 <= widths[node] ** 2
    return node[near], ix[near], iy[near]


def _arrivals(
    nodes: Nodes, t: np.ndarray, node: np.ndarray, first: np.ndarray, ranges: Ranges
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pixel: nearest drift distance, longest span of arrivals, first and last arrival over all parameters."""
    starts = first[:-1]
    if len(starts) == 0:
        return np.zeros(0), np.zeros(0), np.zeros((2, 0))
    t = t[nodes.segment]
    middle = nodes.d.mean(axis=0)
    earliest, latest, span = (np.full(len(starts), value) for value in (np.inf, -np.inf, 0.0))
    for v in ranges.velocity:
        tail = TAILS * np.sqrt(arrival_variance(nodes.d[1], ranges.long_diff[1], v)) + ranges.sampling.tick
        early, late = (t + drift_time(d, v, ranges.distance) for d in nodes.d)
        early, late = early - tail, late + tail
        earliest = np.minimum(earliest, np.minimum.reduceat(early[node], starts))
        latest = np.maximum(latest, np.maximum.reduceat(late[node], starts))
        slack = nodes.slide / v + tail
        early, late = t + middle / v - slack, t + middle / v + slack
        span = np.maximum(span, np.maximum.reduceat(late[node], starts) - np.minimum.reduceat(early[node], starts))
    return np.minimum.reduceat(nodes.d[0][node], starts), span, np.array([earliest, latest])
