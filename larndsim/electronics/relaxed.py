"""The relaxed model: a chip that reads the waveform on the line between its columns; with its derivative.

Each attempt to digitise reads the waveform w at three places: where it crosses the level, at the end of integration,
and at the end of the reset. With `d` for how something moves, and w' for the slope of the waveform at a place:

    d tick    = (d base - dw(tick)) / w'(tick)    where the waveform crosses the level, else d first; 0 if it never does
    d charge  = dw(stop) + w'(stop) * d tick - d base
    d base    = dw(restart) + w'(restart) * d tick
    d first   = d tick

in which dw(t) is read on the line between the columns of what is added to the waveform, at a place that stays; `base`
is the charge at the end of the last reset, and `first` the tick at which the comparator comes alive after it: both are
those of the attempt before. So the waveform is walked once, whatever the derivative, and a pass back through the
attempts adds to six columns for each.
Axes as in `triggering`; places are the last of (attempt, pixel, place), directions come before all others.
"""

from __future__ import annotations

import operator
from functools import cache, partial
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import Derived, add_along, floor, scan, take_along, to_integer, to_real, with_derivative
from ..detector import Electronics
from .chip import Blocks, Comparator, Cycle, Find, Reading, Waveform, attempts, chosen, finder, moved_up
from .noise import Noise

PLACES = 3  # of the waveform that an attempt reads


class Kept(NamedTuple):
    """What is kept for the derivatives: where each attempt reads the waveform, and how what it reads moves."""

    before: Any  # (pixel, attempt * place) the earlier of the two columns that each lies between, in the flat waveforms
    after: Any  # the later
    part: Any  # of the way from the one before
    slope: Any  # of the waveform there; of the first place 1 over that of what the comparator sees, 0 if none crosses
    waits: Any  # (attempt, pixel) 1 where the level is reached before the comparator comes alive, else 0
    choice: Any  # (pixel, hit, attempt) 1 where an attempt gave a hit, else 0


def hits_between_ticks(waveform: Waveform, comparator: Comparator, electronics: Electronics) -> tuple[Any, Any, Any]:
    """Ticks, charges, and whether there is such a hit; the waveforms and the threshold move them."""
    rest = (comparator.threshold, *waveform.blocks, comparator.until, *(comparator.noise or ()))
    derived = _derived(Cycle.of(electronics), waveform.charge.shape)
    hits = with_derivative(derived, waveform.charge, *rest)
    return hits[:, :, 0], hits[:, :, 1], hits[:, :, 2] > 0.5


@cache
def _derived(cycle: Cycle, shape: tuple[int, int]) -> Derived:
    return Derived(partial(_value, cycle), _jvp, partial(_vjp, shape), movers=2, again=False)


def _value(cycle: Cycle, charge: Any, threshold: Any, *rest: Any) -> tuple[Any, Kept]:
    """Tick, charge and 1 of each hit; zeros where there is none. Axes: (pixel, hit, 3)."""
    blocks, until, *noise = Blocks(*rest[:4]), *rest[4:]
    waveform = Waveform(charge, blocks)
    comparator = Comparator(until, threshold, Noise(*noise) if noise else None)
    read = partial(_read, waveform, finder(waveform, comparator), comparator.noise, cycle)
    shots = attempts(read, comparator, cycle)
    column, part, slope, waits = shots.details
    columns = column.transpose((1, 0, 2)).reshape((column.shape[1], -1))
    before, after = (blocks.places(columns - shift, charge.shape[1]) for shift in (1, 0))
    kept = Kept(before, after, part, slope, waits, chosen(shots.kept, cycle.hits, charge))
    seen = ep.stack([shots.tick, shots.charge, ep.ones_like(shots.tick)], axis=2)
    return moved_up(kept.choice, seen.transpose((1, 0, 2))), kept


def _read(waveform: Waveform, find: Find, noise: Noise | None, cycle: Cycle, level: Any, first: Any) -> Reading:
    """One attempt."""
    column, fired = find(level, first)
    seen = _pairs(waveform, ep.expand_dims(column, 1))
    if noise is not None:
        noises = _pairs(waveform._replace(charge=noise.comparator), ep.expand_dims(column, 1))
        seen = tuple(map(operator.add, seen, noises))
    before, after = (each[:, 0] for each in seen)
    crosses = (before < level).logical_and(after > before)  # else it was above already when the comparator came alive
    rise = ep.where(crosses, after - before, 1.0)
    part = ep.where(crosses, level - before, 0.0) / rise
    crossing = to_real(column - 1, level) + part
    moves = fired.logical_and(crosses).logical_and(crossing > first)
    tick = ep.where(fired, ep.where(moves, crossing, first), to_real(waveform.blocks.ticks, first))
    later = ep.stack([tick + cycle.hold, tick + (cycle.hold + cycle.reset)], axis=1)
    columns = to_integer(floor(later)) + 1
    before, after = _pairs(waveform, columns)
    slopes, parts = after - before, later - to_real(columns - 1, later)
    ends = before + parts * slopes
    places = zip((column, part, to_real(moves, rise) / rise), (columns, parts, slopes), strict=True)
    waits = to_real(fired.logical_and(moves.logical_not()), level)
    details = (*(ep.concatenate([ep.expand_dims(one, 1), two], axis=1) for one, two in places), waits)
    return Reading(fired, tick, ends[:, 0], ends[:, 1], details)


def _pairs(waveform: Waveform, column: Any) -> tuple[Any, Any]:
    """What is in the columns before some, and in these. Axes: (pixel, m)."""
    pairs, count = waveform.at(ep.concatenate([column - 1, column], axis=1)), column.shape[1]
    return pairs[:, :count], pairs[:, count:]


def _jvp(_: tuple[Any, ...], kept: tuple[Any, ...], step: Any, raised: Any) -> Any:
    """How the hits move with the waveforms, `step` (direction, block, tick), and the thresholds, `raised`
    (direction, pixel); either may be None. Axes: (direction, pixel, hit, 3)."""
    found = Kept(*kept)
    moving = raised if step is None else step
    directions, pixels = moving.shape[0], found.waits.shape[1]
    nothing = ep.zeros(moving, (directions, pixels))
    raised = nothing if raised is None else raised
    read = _read_steps(step, found) if step is not None else ep.zeros(moving, (len(found.waits), 3, directions, pixels))

    def attempt(state: tuple[Any, Any], row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        (base, first), (read, slope, waits) = state, row
        tick = slope[:, 0] * (base + raised - read[0]) + waits * first
        return (read[2] + slope[:, 2] * tick, tick), ep.stack([tick, read[1] + slope[:, 1] * tick - base], axis=2)

    moved = scan(attempt, (nothing, nothing), (read, found.slope, found.waits))[1]
    hits = moved_up(found.choice, moved.transpose((2, 0, 1, 3)).reshape((pixels, -1, 2 * directions)))
    hits = hits.reshape((pixels, -1, directions, 2)).transpose((2, 0, 1, 3))
    return ep.concatenate([hits, ep.zeros(hits, (*hits.shape[:3], 1))], axis=3)


def _read_steps(step: Any, found: Kept) -> Any:
    """How the waveforms move where each attempt reads them. Axes: (attempt, place, direction, pixel)."""
    directions, pixels = step.shape[0], found.waits.shape[1]
    index = ep.concatenate([found.before, found.after], axis=1).reshape((1, -1))
    read = take_along(step.reshape((directions, -1)), ep.tile(index, (directions, 1)))
    read = read.reshape((directions, pixels, 2, -1, PLACES)).transpose((2, 3, 4, 0, 1))
    part = ep.expand_dims(found.part.transpose((0, 2, 1)), 2)
    return (1.0 - part) * read[0] + part * read[1]


def _vjp(
    shape: tuple[int, int], _: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, wanted: tuple[bool, ...]
) -> tuple[Any, Any]:
    """The transposed of `_jvp`: slopes by the hits (pixel, hit, 3) -> by waveforms (block, tick), thresholds."""
    found = Kept(*kept)
    by_tick, by_charge = ((found.choice * slope[:, :, row : row + 1]).sum(axis=1).transpose((1, 0)) for row in (0, 1))

    def attempt(later: tuple[Any, Any], row: tuple[Any, ...]) -> tuple[Any, Any]:
        (by_base, by_first), (by_tick, by_charge, slope, waits) = later, row
        by_tick = by_tick + by_first + slope[:, 1] * by_charge + slope[:, 2] * by_base
        by_level = slope[:, 0] * by_tick
        return (by_level - by_charge, waits * by_tick), ep.stack([-1.0 * by_level, by_charge, by_base], axis=1)

    nothing = ep.zeros_like(found.waits[0])
    rows = (ep.flip(each, 0) for each in (by_tick, by_charge, found.slope, found.waits))
    by_read = ep.flip(scan(attempt, (nothing, nothing), tuple(rows))[1], 0)  # (attempt, pixel, place)
    by_threshold = -1.0 * by_read[:, :, 0].sum(axis=0) if wanted[1] else None
    by_before, by_after = (
        (weight * by_read).transpose((1, 0, 2)).reshape(found.before.shape) for weight in (1.0 - found.part, found.part)
    )
    if not wanted[0]:
        return None, by_threshold
    index = ep.concatenate([found.before, found.after], axis=1).reshape((1, -1))
    by_column = ep.concatenate([by_before, by_after], axis=1).reshape((1, -1))
    return add_along(by_column, index, shape[0] * shape[1]).reshape(shape), by_threshold
