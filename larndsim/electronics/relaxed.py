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
from .chip import Comparator, Cycle, Find, Reading, attempts, chosen, columns_of, finder, moved_up, within
from .noise import Noise


class Kept(NamedTuple):
    """What is kept for the derivatives: where each attempt reads the waveform, and how what it reads moves."""

    column: Any  # the later of the two that each place lies between
    part: Any  # of the way from the one before
    slope: Any  # of the waveform there; of the first place 1 over that of what the comparator sees, 0 if none crosses
    waits: Any  # (attempt, pixel) 1 where the level is reached before the comparator comes alive, else 0
    choice: Any  # (pixel, hit, attempt) 1 where an attempt gave a hit, else 0


def hits_between_ticks(charge: Any, comparator: Comparator, electronics: Electronics) -> tuple[Any, Any, Any]:
    """Ticks, charges, and whether there is such a hit, of a cumulative `charge`; it and the threshold move them."""
    rest = (comparator.threshold, comparator.until, *(comparator.noise or ()))
    hits = with_derivative(_derived(Cycle.of(electronics), charge.shape[1]), charge, *rest)
    return hits[:, :, 0], hits[:, :, 1], hits[:, :, 2] > 0.5


@cache
def _derived(cycle: Cycle, columns: int) -> Derived:
    return Derived(partial(_value, cycle), _push, partial(_pull, columns), movers=2, again=False)


def _value(cycle: Cycle, charge: Any, threshold: Any, until: Any, *noise: Any) -> tuple[Any, Kept]:
    """Tick, charge and 1 of each hit; zeros where there is none. Axes: (pixel, hit, 3)."""
    comparator = Comparator(until, threshold, Noise(*noise) if noise else None)
    read = partial(_read, charge, finder(charge, comparator), comparator.noise, cycle)
    shots = attempts(read, comparator, cycle)
    kept = Kept(*(*shots.details, chosen(shots.kept, cycle.hits, charge)))
    seen = ep.stack([shots.tick, shots.charge, ep.ones_like(shots.tick)], axis=2)
    return moved_up(kept.choice, seen.transpose((1, 0, 2))), kept


def _read(charge: Any, find: Find, noise: Noise | None, cycle: Cycle, level: Any, first: Any) -> Reading:
    """One attempt."""
    column, size = find(level, first), charge.shape[1]
    before, after = _pair(charge, column)
    if noise is not None:
        before, after = map(operator.add, (before, after), _pair(noise.comparator, column))
    fired = column < size
    crosses = (before < level).logical_and(after > before)  # else it was above already when the comparator came alive
    rise = ep.where(crosses, after - before, 1.0)
    part = ep.where(crosses, level - before, 0.0) / rise
    crossing = to_real(column - 1, level) + part
    moves = fired.logical_and(crosses).logical_and(crossing > first)
    tick = ep.where(fired, ep.where(moves, crossing, first), float(size))
    stop, *at_stop = _at(charge, tick + cycle.hold)
    restart, *at_restart = _at(charge, tick + (cycle.hold + cycle.reset))
    places = zip((column, part, to_real(moves, rise) / rise), at_stop, at_restart, strict=True)
    waits = to_real(fired.logical_and(moves.logical_not()), level)
    return Reading(fired, tick, stop, restart, (*(ep.stack(three, axis=1) for three in places), waits))


def _at(charge: Any, time: Any) -> tuple[Any, Any, Any, Any]:
    """The waveform at any time; the column after it, the part of the way there, and the slope. Axis: (pixel,)."""
    column = to_integer(floor(time)) + 1
    before, after = _pair(charge, column)
    part, slope = time - to_real(column - 1, time), after - before
    return before + part * slope, column, part, slope


def _pair(values: Any, column: Any) -> tuple[Any, Any]:
    """What is in the column before, and in it. Axis: (pixel,)."""
    pair = columns_of(values, ep.stack([column - 1, column], axis=1))
    return pair[:, 0], pair[:, 1]


def _push(_: tuple[Any, ...], kept: tuple[Any, ...], step: Any, raised: Any) -> Any:
    """How the hits move with the waveforms, `step` (direction, pixel, tick), and the thresholds, `raised`
    (direction, pixel); either may be None. Axes: (direction, pixel, hit, 3)."""
    found = Kept(*kept)
    moving = raised if step is None else step
    directions, pixels = moving.shape[:2]
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
    directions, pixels, columns = step.shape
    index, weight = _columns_and_weights(found, columns)
    rows = take_along(step.reshape((-1, columns)), ep.tile(index, (directions, 1)))
    read = (rows.reshape((directions, pixels, -1)) * weight).reshape((directions, pixels, -1, 3, 2)).sum(axis=4)
    return read.transpose((2, 3, 0, 1))


def _pull(
    columns: int, _: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, wanted: tuple[bool, ...]
) -> tuple[Any, Any]:
    """The transposed of `_push`: slopes by the hits (pixel, hit, 3) -> by waveforms (pixel, tick), thresholds."""
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
    index, weight = _columns_and_weights(found, columns)
    by_read = by_read.transpose((1, 0, 2)).reshape((weight.shape[0], -1, 1))
    by_column = (weight.reshape((weight.shape[0], -1, 2)) * by_read).reshape(weight.shape)
    return add_along(by_column, index, columns) if wanted[0] else None, by_threshold


def _columns_and_weights(found: Kept, columns: int) -> tuple[Any, Any]:
    """The two columns of each place, and how much each counts. Axes: (pixel, attempt * place * 2)."""
    pixels = found.column.shape[1]
    index = ep.stack([found.column - 1, found.column], axis=3).transpose((1, 0, 2, 3)).reshape((pixels, -1))
    weight = ep.stack([1.0 - found.part, found.part], axis=3).transpose((1, 0, 2, 3)).reshape((pixels, -1))
    return within(index, columns), weight
