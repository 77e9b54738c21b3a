"""Segments and their plan -> a batch: chunks of tiles, relative to nearby origins, on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Backend, map_leaves, static
from ..data.batch import Batch, Deposits, Fixed, Frame, Members, Part, Pixels
from ..data.segments import Segments
from ..detector import Detector
from ..detector.geometry import Geometry, plane_of
from ..pixelization import Plan, Ranges, bursts_of, frames, local_lines, plan, times_in
from .folding import Resolution, resolutions
from .footprint import numbers_of, split
from .recording import Recorder, blocks_of, slots_of
from .tiles import Planned, asked_work, chunks_of

static(Fixed)


def make_batch(
    segments: Segments,
    detector: Detector,
    ranges: Ranges,
    respond: Callable[[float, Resolution], Any],
    record: Callable[[Pixels], Recorder],
    backend: Backend,
    memory: float,
    limits: np.ndarray,
) -> Batch:
    """Plan the segments for all parameters within `ranges`; each part takes no more than `memory`.

    `respond(pitch, resolution)` gives the folded response, on the device; `record(pixels)` what stands behind pixels.
    """
    s, geometry, sampling = segments, detector.geometry, ranges.sampling
    middles = ((s.x_start + s.x_end) / 2, (s.y_start + s.y_end) / 2, (s.z_start + s.z_end) / 2)
    plane = plane_of(geometry, *middles)
    frame, bursts = frames(segments, geometry, plane), bursts_of(segments, geometry, ranges)
    planned, t = plan(segments, geometry, frame, plane, bursts, ranges), times_in(bursts, segments, sampling.tick)
    chunks = chunks_of(planned, t, geometry.pitch[planned.plane], frame, ranges, backend.sizes(memory))
    known = resolutions(ranges.accuracy)
    responses = [respond(each.pitch, known[each.level]) for each in chunks]
    sizes = [numbers_of(each.chunk, response, sampling) for each, response in zip(chunks, responses, strict=True)]
    parts, members, first = [], [], 0
    for chosen in split(sizes, backend, memory):
        own = chunks[chosen]
        pixels = tuple(_pixels(planned, each.members, ranges) for each in own)
        rows = tuple(_with_padding(each, len(chunk.chunk.ticks)) for each, chunk in zip(pixels, own, strict=True))
        recorders = tuple(record(each) for each in rows)
        on_device = backend.put((tuple(_narrow(each.chunk) for each in own), recorders))
        parts.append(Part(on_device[0], tuple(responses[chosen]), on_device[1]))
        blocks = tuple(blocks_of(each.chunk) for each in own)
        members.append(Members(pixels, rows, blocks, first))
        first += sum(len(each.ix) for each in pixels)
    everyone = joined(tuple(each for part in members for each in part.pixels))
    fixed = Fixed(
        members=tuple(members),
        limits=limits,
        padding=_padding(chunks, planned, ranges),
        pixels=everyone,
        slots=slots_of(everyone, detector),
        ticks=_window(planned, ranges),
    )
    for column in (*fixed.pixels, *fixed.slots):
        column.flags.writeable = False  # all results share them
    deposits, frame = backend.put((_deposits(segments, geometry, frame, plane, t), map_leaves(_narrow_one, frame)))
    return Batch(deposits, frame, tuple(parts), fixed)


def joined(parts: tuple[Pixels, ...]) -> Pixels:
    """All pixels of the parts, one after the other."""
    none = np.zeros(0, dtype=np.int64)
    nothing = Pixels(none, none, none, none, np.zeros(0), none, none)
    return Pixels._make(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))


def _deposits(segments: Segments, geometry: Geometry, frame: Frame, plane: np.ndarray, t: np.ndarray) -> Deposits:
    """The differentiable part of the segments, in their frames; `t` in their bursts."""
    line = local_lines(segments, geometry, frame, plane)
    end = line.moved(line.dx, line.dy, line.dz)
    return Deposits(line.x, line.y, line.z, end.x, end.y, end.z, segments.dE, segments.dEdx, t)


def _pixels(planned: Plan, members: np.ndarray, ranges: Ranges) -> Pixels:
    """Who the pixels of a chunk are, and when (us) their windows start."""
    event, plane, ix, iy, reference, burst = (
        getattr(planned, name)[members] for name in ("event", "plane", "ix", "iy", "reference", "burst")
    )
    first = np.floor(planned.window[0, members] / ranges.sampling.tick) - ranges.sampling.before
    return Pixels(event, plane, ix, iy, ranges.sampling.tick * (reference + first), reference, burst)


def _with_padding(pixels: Pixels, count: int) -> Pixels:
    """So many pixels: the last one again and again."""
    row = np.minimum(np.arange(count), len(pixels.ix) - 1)
    return map_leaves(lambda column: column[row], pixels)


def _window(plan: Plan, ranges: Ranges) -> int:
    """Ticks of the windows that hold every signal for all parameters within bounds."""
    longest = (plan.window[1] - plan.window[0]).max(initial=0.0) / ranges.sampling.tick + 2
    return ranges.sampling.block * int(np.ceil(longest / ranges.sampling.block)) + ranges.sampling.span


def _padding(chunks: list[Planned], plan: Plan, ranges: Ranges) -> float:
    """Share of the nodes that are padding, or resolved more finely than they ask, by their work."""
    done = sum(asked_work(each.level, ranges) * each.chunk.weight.size for each in chunks)
    if not done:
        return 0.0
    asked = sum(asked_work(each.level, ranges) * np.count_nonzero(each.chunk.weight) for each in chunks)
    return 1.0 - float(asked / done)


def _narrow(tree: Any) -> Any:
    return map_leaves(_narrow_one, tree)


def _narrow_one(column: np.ndarray) -> np.ndarray:
    """Indices take 32 bits."""
    return column.astype(np.int32) if column.dtype.kind == "i" else column
