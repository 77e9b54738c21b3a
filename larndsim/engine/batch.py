"""Segments and their plan -> a batch: arrays of fixed shape, relative to nearby origins, on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Backend, Room, map_leaves, static
from ..data.batch import Deposits, Fixed, Frame, Members, Part, Pixels
from ..data.segments import Segments
from ..detector.geometry import Geometry, plane_of
from ..pixelization import Plan, Ranges, bursts_of, frames, local_lines, plan, times_in
from ..response import BEFORE, TICK
from .footprint import split
from .shapes import Piece, bunched, fill, padding, sort_into_classes, window_length

static(Fixed)

SHORTEST = 64  # segments that a batch is padded to, at least


def make_batch(
    segments: Segments,
    geometry: Geometry,
    ranges: Ranges,
    respond: Callable[..., Any],
    backend: Backend,
    memory: float,
    room: Room,
) -> tuple[Deposits, Frame, list[tuple[Part, Members]], int, float]:
    """Plan the segments for all parameters within `ranges` and sort their pixels into size classes.

    `respond(pitch, resolution)` gives the folded response, on the device. Each part takes no more than `memory`. Last
    come the ticks of the windows that hold all signals, and the share of the work that is done on padding.
    """
    s = segments
    middles = ((s.x_start + s.x_end) / 2, (s.y_start + s.y_end) / 2, (s.z_start + s.z_end) / 2)
    plane = plane_of(geometry, *middles)
    frame = frames(segments, geometry, plane)
    bursts = bursts_of(segments, geometry, ranges)
    planned = plan(segments, geometry, frame, plane, bursts, ranges)
    pieces = sort_into_classes(planned, geometry.pitch[planned.plane], ranges, room)
    channels = [respond(shape.pitch, shape.resolution).mixing.shape[0] for shape, _, _ in pieces]
    sizes = [shape.numbers(rows, count) for (shape, rows, _), count in zip(pieces, channels, strict=True)]
    deposits = _deposits(segments, geometry, frame, plane, times_in(bursts, segments))
    parts = [_part(planned, frame, pieces[chosen], respond, backend, room) for chosen in split(sizes, backend, memory)]
    deposits, frame = backend.put((_padded(deposits), _padded(frame)))
    return deposits, frame, parts, window_length(planned), padding(planned, pieces, ranges)


def _part(
    planned: Plan, frame: Frame, pieces: list[Piece], respond: Callable[..., Any], backend: Backend, room: Room
) -> tuple[Part, Members]:
    """Some size classes on the device, without what stands behind their pixels; and who these are."""
    nodes, classes = map(list, zip(*(fill(planned, frame, piece) for piece in pieces), strict=True))
    bunches, places = bunched(nodes, room.nodes)
    responses = tuple(respond(piece.shape.pitch, piece.shape.resolution) for piece in pieces)
    bunches, classes = backend.put((bunches, tuple(classes)))
    part = Part(bunches, classes, responses, windows=(), recorders=())
    return part, Members(tuple(_pixels(planned, piece.members) for piece in pieces), places, groups=())


def _deposits(segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray, t: np.ndarray) -> Deposits:
    """The differentiable part of the segments, in their frames; `t` in their bursts."""
    line = local_lines(segments, geometry, frame, plane)
    end = line.moved(line.dx, line.dy, line.dz)
    return Deposits(line.x, line.y, line.z, end.x, end.y, end.z, segments.dE, segments.dEdx, t)


def _pixels(planned: Plan, members: np.ndarray) -> Pixels:
    """Who the pixels of a class are, and when (us) their windows start."""
    event, plane, ix, iy, reference, burst = (
        getattr(planned, name)[members] for name in ("event", "plane", "ix", "iy", "reference", "burst")
    )
    first = np.floor(planned.window[0, members] / TICK) - BEFORE
    return Pixels(event, plane, ix, iy, TICK * (reference + first), reference, burst)


def _padded(columns: Any) -> Any:
    """Columns with zeros at the end, where no node belongs to, up to a power of two, so that batches share lengths."""
    count = len(columns[0])
    more = (1 << max(count - 1, SHORTEST - 1).bit_length()) - count

    def pad(column: np.ndarray) -> np.ndarray:
        column = column.astype(np.int32) if column.dtype.kind == "i" else column
        return np.concatenate([column, np.zeros(more, dtype=column.dtype)])

    return map_leaves(pad, columns)
