"""Segments and their plan -> a batch: arrays of fixed shape, relative to nearby origins, on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import Backend, map_leaves, static
from .data.batch import Deposits, Fixed, Frame, Part, Pixels, SizeClass, Slots
from .data.segments import Segments
from .detector.geometry import Geometry, plane_of
from .memory import split
from .pixelization import Plan, Ranges, bursts_of, frames, local_lines, plan, times_in
from .response import TICK
from .size_classes import FINE_LADDER, Shape, fill, on_ladder, sort_into_classes, window_length

static(Fixed)


def make_batch(
    segments: Segments,
    geometry: Geometry,
    ranges: Ranges,
    respond: Callable[..., Any],
    backend: Backend,
    memory: float,
) -> tuple[Deposits, Frame, list[tuple[Part, tuple[Pixels, ...]]]]:
    """Plan the segments for all parameters within `ranges` and sort their pixels into size classes.

    `respond(pitch, resolution)` gives the folded response, on the device. Each part takes no more than `memory`.
    """
    s = segments
    middles = ((s.x_start + s.x_end) / 2, (s.y_start + s.y_end) / 2, (s.z_start + s.z_end) / 2)
    plane = plane_of(geometry, *middles)
    frame = frames(segments, geometry, plane)
    bursts = bursts_of(segments, geometry, ranges)
    planned = plan(segments, geometry, frame, plane, bursts, ranges)
    entries = sort_into_classes(planned, geometry.pitch[planned.plane], ranges)
    length = window_length(planned)
    channels = [respond(shape.pitch, shape.resolution).mixing.shape[0] for shape, _ in entries]
    sizes = [shape.numbers(len(members), count) for (shape, members), count in zip(entries, channels, strict=True)]
    deposits = _deposits(segments, geometry, frame, plane, times_in(bursts, segments))
    parts = [
        _part(planned, frame, entries[chosen], length, respond, backend) for chosen in split(sizes, backend, memory)
    ]
    return *(map_leaves(backend.asarray, _padded(columns)) for columns in (deposits, frame)), parts


def _part(
    planned: Plan,
    frame: Frame,
    entries: list[tuple[Shape, np.ndarray]],
    length: int,
    respond: Callable[..., Any],
    backend: Backend,
) -> tuple[Part, tuple[Pixels, ...]]:
    """Some size classes on the device, without what stands behind their pixels; and who these are."""
    filled = [fill(planned, shape, members, length) for shape, members in entries]
    classes = _one_after_the_other([size for size, _, _ in filled])
    slots = [
        _slots(planned, frame, shape.pitch, node, rows)
        for (shape, _), (_, node, rows) in zip(entries, filled, strict=True)
    ]
    part = Part(
        slots=map_leaves(backend.asarray, _padded(_joined(slots))),
        classes=tuple(map_leaves(backend.asarray, size) for size in classes),
        responses=tuple(respond(shape.pitch, shape.resolution) for shape, _ in entries),
        recorders=(),
    )
    return part, tuple(_pixels(planned, members, size) for (_, members), size in zip(entries, classes, strict=True))


def _one_after_the_other(classes: list[SizeClass]) -> list[SizeClass]:
    """The same classes, each with the place of its first node among those of all."""
    first = np.cumsum([0, *(size.weight.size for size in classes)])
    return [size._replace(first_slot=np.int32(start)) for size, start in zip(classes, first, strict=False)]


def _slots(planned: Plan, frame: Frame, pitch: float, node: np.ndarray, rows: np.ndarray) -> Slots:
    """The nodes of a class; `node` (pixel, node), `rows` (pixel,) the plan's pixels."""
    segment = planned.nodes.segment[node].ravel()
    columns, lines = (np.repeat(index[rows], node.shape[1]) for index in (planned.ix, planned.iy))
    x, y = pitch * (columns - frame.ix[segment]), pitch * (lines - frame.iy[segment])
    return Slots(segment.astype(np.int32), planned.nodes.position[node].ravel(), x, y)


def _joined(parts: list[Slots]) -> Slots:
    """The nodes of all classes."""
    nothing = Slots(np.zeros(0, np.int32), np.zeros(0), np.zeros(0), np.zeros(0))
    return Slots._make(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))


def _deposits(segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray, t: np.ndarray) -> Deposits:
    """The differentiable part of the segments, in their frames; `t` in their bursts."""
    line = local_lines(segments, geometry, frame, plane)
    end = line.moved(line.dx, line.dy, line.dz)
    return Deposits(line.x, line.y, line.z, end.x, end.y, end.z, segments.dE, segments.dEdx, t)


def _pixels(planned: Plan, members: np.ndarray, size: SizeClass) -> Pixels:
    """Who the pixels of a class are, and when (us) their windows start."""
    start = TICK * (planned.reference[members] + size.first_tick[: len(members)])
    p = planned
    event, plane, ix, iy, burst = (column[members] for column in (p.event, p.plane, p.ix, p.iy, p.burst))
    return Pixels(event, plane, ix, iy, start, planned.reference[members], burst)


def _padded(columns: Any) -> Any:
    """Columns with zeros at the end, where no node belongs to, up to a length that batches share."""
    count = int(on_ladder(np.array([len(columns[0])]), FINE_LADDER)[0])

    def pad(column: np.ndarray) -> np.ndarray:
        column = column.astype(np.int32) if column.dtype.kind == "i" else column
        return np.concatenate([column, np.zeros(count - len(column), dtype=column.dtype)])

    return map_leaves(pad, columns)
