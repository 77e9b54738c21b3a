"""Segments and their plan -> a batch: chunks of tiles, relative to nearby origins, on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Backend, map_leaves, static
from ..data.batch import Batch, Deposits, Fixed, Frame, Member, Members, Part, Pixels
from ..data.segments import Segments
from ..detector import Detector
from ..detector.geometry import Geometry, plane_of
from ..pixelization import Plan, Ranges, bursts_of, frames, local_lines, plan, times_in
from .chunks import Planned, chunks_of
from .folding import Resolution, resolutions
from .footprint import numbers_of, split
from .recording import Recorder, blocks_of, slots_of
from .tiles import asked_work

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
    responses = [tuple(respond(each.pitch, known[level]) for level in each.levels) for each in chunks]
    sizes = [numbers_of(each.chunk, own, sampling) for each, own in zip(chunks, responses, strict=True)]
    parts, members, first = [], [], 0
    for chosen in split(sizes, backend, memory):
        own = chunks[chosen]
        people = tuple(_member(planned, each, ranges) for each in own)
        recorders = tuple(record(each.padded) for each in people)
        on_device = backend.put((tuple(_narrow(each.chunk) for each in own), recorders))
        parts.append(Part(on_device[0], tuple(responses[chosen]), on_device[1]))
        members.append(Members(people, first))
        first += sum(len(each.slot) for each in people)
    everyone = joined(tuple(each.pixels for part in members for each in part.chunks))
    fixed = Fixed(
        members=tuple(members),
        limits=limits,
        padding=_padding(chunks, ranges),
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


def _member(planned: Plan, each: Planned, ranges: Ranges) -> Member:
    """Who the pixels of a chunk are, with padding and without."""
    pixels = _pixels(planned, each.members, ranges)
    row = np.zeros(len(each.chunk.ticks), dtype=np.int64)
    row[each.slots] = np.arange(len(each.slots))
    return Member(pixels, each.slots, map_leaves(lambda column: column[row], pixels), blocks_of(each.chunk))


def _window(plan: Plan, ranges: Ranges) -> int:
    """Ticks of the windows that hold every signal for all parameters within bounds."""
    longest = (plan.window[1] - plan.window[0]).max(initial=0.0) / ranges.sampling.tick + 2
    return ranges.sampling.block * int(np.ceil(longest / ranges.sampling.block)) + ranges.sampling.span


def _padding(chunks: list[Planned], ranges: Ranges) -> float:
    """Share of the nodes that are padding, or resolved more finely than they ask, by their work."""
    stacks = [pair for each in chunks for pair in zip(each.levels, each.chunk.stacks, strict=True)]
    done = sum(asked_work(level, ranges) * stack.weight[stack.wanted].size for level, stack in stacks)
    if not done:
        return 0.0
    asked = sum(asked_work(level, ranges) * np.count_nonzero(stack.weight) for level, stack in stacks)
    return 1.0 - float(asked / done)


def _narrow(tree: Any) -> Any:
    return map_leaves(_narrow_one, tree)


def _narrow_one(column: np.ndarray) -> np.ndarray:
    """Indices take 32 bits."""
    return column.astype(np.int32) if column.dtype.kind == "i" else column
