"""The renewal process behind the expected model: the attempts of a pixel to digitise, followed tick by tick.

An attempt that fires at tick t is followed by another one, with the charge at the end of the reset as its base, at
t + hold + reset + 1 if it failed, later by the time that the chip is busy if it became a hit. What is followed is the
*population*

    x_k(l, t) = probability to be alive at tick t, with k hits so far, waiting for the level l

in which all attempts that wait for a level are one, whenever they began (`firing`). With the tables of a tick, F(k) the
attempts with k hits that failed hold + reset + 1 ticks ago and H(k) those whose k-th hit ends its busy time now,

    y_k = x_k + F_k again            S_k = sum of y_k seen + H_k at_once        x_k at t + 1 = (y_k + H_k after) stay

S_k are the densities of hits and of failures, and of the charge of hits. The first attempt is the one after hit zero.
This is exact, but for the grid of levels; the work grows with ticks times levels.

Ticks are taken in blocks of hold + reset + 1: within a block nothing begins that fired within it. Each pixel starts at
the first tick at which it could fire; pixels are taken together that are alive for about as long, and blocks in which
none of them is alive are left out. Axes: (block, tick, pixel), (pixel, order, level).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend import map_leaves
from ..backend.operations import (
    batched_matmul,
    cleared,
    constant,
    first_true,
    running_maximum,
    scan,
    scan_where,
    take,
    take_along,
    to_real,
)
from .chip import Cycle, within
from .firing import Chip, Grid, Tables, Ticks, lowest_levels, tables_of
from .noise import Widths

FADED = 1e-13  # of a population: less is nothing, since denormal numbers would slow everything that follows
ROWS, PARTS = 128, 16  # pixels that are taken together: so many, or that part of all where this is more
MOMENTS = 5  # probability; sums of tick, its squared distance from the mean, charge over the threshold, its square


class Scheme(NamedTuple):
    """The shapes of a computation."""

    cycle: Cycle
    grid: Grid
    columns: int  # ticks of the waveform

    @property
    def failed(self) -> int:
        """Ticks from one that fires until the next attempt after a failure; as many make a block."""
        return self.cycle.hold + self.cycle.reset + 1

    @property
    def kept(self) -> int:
        """Ticks from one that fires until the next attempt after a hit."""
        return self.cycle.hold + self.cycle.reset + max(self.cycle.busy, 1)

    @property
    def ticks(self) -> int:
        """Those that are looked at, in whole blocks."""
        return -(-self.columns // self.failed) * self.failed

    @property
    def orders(self) -> int:
        """Hits that a waveform has time for."""
        return min(self.cycle.hits, 1 + (self.columns - 1) // self.kept)


class State(NamedTuple):
    """What goes from block to block: attempts, or their steps, or their worth."""

    alive: Any  # (pixel, order, level)
    busy: Any  # (tick, pixel, order) those that come alive after a hit, from the next tick on
    failed: Any  # (tick, pixel, order) those that come alive after a failure


class Rows(NamedTuple):
    """What is known of each pixel. Axes: (pixel, tick), (pixel,)."""

    charge: Any
    until: Any  # tick at which the comparator dies for good
    threshold: Any
    widths: Widths

    @property
    def chip(self) -> Chip:
        """What decides about the charge."""
        return Chip.of(self.threshold, self.widths)


class Course(NamedTuple):
    """How the waveforms of some pixels are gone through."""

    chip: Chip
    index: Any  # (pixel, tick) columns that are looked at
    first: Any  # (pixel,) the first of them
    ticks: Ticks  # (block, tick, pixel)
    times: Any  # (block, tick, pixel) ticks since the windows began
    going: Any  # (block,) whether any pixel is alive
    begin: State


def by_rows(function: Callable[..., Any], size: int, rows: Rows, *trees: Any) -> Any:
    """A function of `Rows` and other trees (pixel, ...), some pixels after others; those of a like life together.

    `size` is how much it holds of each pixel, in units of what `moments` hold.
    """
    count = rows.charge.shape[0]
    together = max(ROWS // size, -(-count // PARTS))
    if together >= count:
        return function(rows, *trees)
    order = (rows.until - _first(rows)).argsort()
    missing = -count % together
    index = ep.concatenate([order[:missing], order], axis=0)

    def parted(values: Any) -> Any:
        return take(values, index).reshape((-1, together, *values.shape[1:]))

    found = scan(lambda _, part: ((), function(*part)), (), map_leaves(parted, (rows, *trees)))[1]
    back = order.argsort() + missing
    return map_leaves(lambda values: take(values.reshape((-1, *values.shape[2:])), back), found)


def moments(scheme: Scheme, rows: Rows) -> tuple[Any, Any]:
    """The moments of each hit (pixel, order, moment); and the mean ticks that they count from (pixel, order)."""
    course = course_of(scheme, rows)
    nothing = ep.zeros(rows.charge, (rows.charge.shape[0], scheme.orders, MOMENTS))
    found = scan_where(partial(_block, course, scheme), course.begin, course.ticks, course.going, nothing)[1]
    hits, ticks, squares, charge, square = (found[..., row] for row in range(MOMENTS))  # ticks from a block's middle
    middle = ep.expand_dims(0.5 * (course.times[:, 0] + course.times[:, -1]), 2)
    probability, sum_of_ticks = hits.sum(axis=0), (ticks + middle * hits).sum(axis=0)
    mean = sum_of_ticks / ep.where(probability > 0.0, probability, 1.0)
    away = middle - mean
    spread = (squares + 2.0 * away * ticks + away * away * hits).sum(axis=0)
    return ep.stack([probability, sum_of_ticks, spread, charge.sum(axis=0), square.sum(axis=0)], axis=2), mean


def _block(course: Course, scheme: Scheme, state: State, ticks: Ticks) -> tuple[State, Any]:
    """A block: the state after it, and the moments of its hits, with ticks from its middle (pixel, order, moment)."""
    state, _, seen = through_block(scheme, state, tables_of(ticks, course.chip, scheme.grid))
    time = to_real(ep.arange(seen, scheme.failed), seen) - 0.5 * (scheme.failed - 1)
    return state, sums_over_ticks(seen, time.reshape((-1, 1, 1)), time.reshape((-1, 1, 1)))


def sums_over_ticks(seen: Any, time: Any, away: Any) -> Any:
    """The moments of S (tick, ..., outcome) -> (..., moment); `away` is the time from which its square counts."""
    hits = seen[..., 0]
    columns = (hits, time * hits, away * away * hits, seen[..., 2], seen[..., 3])
    return ep.stack([column.sum(axis=0) for column in columns], axis=-1)


def through_block(scheme: Scheme, state: State, tables: Tables) -> tuple[State, Any, Any]:
    """The state after a block, and its y (tick, pixel, order, level) and S (tick, pixel, order, outcome)."""
    after_hit = state.busy[: scheme.failed]
    begin, later = outer(state.failed, tables.again), outer(after_hit, tables.after * tables.stay)
    alive, population = scan(_tick, state.alive, (begin, ep.expand_dims(tables.stay, 2), later))
    seen = products(population, tables.seen.transpose((0, 1, 3, 2))) + outer(after_hit, tables.at_once)
    return after_block(scheme, state, alive, seen), population, seen


def _tick(alive: Any, row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """From x at one tick to that at the next, and y; of attempts that begin before the comparator looks, or later."""
    begin, stay, later = row
    alive = alive + begin
    return cleared(alive * stay + later, FADED), alive


def after_block(scheme: Scheme, state: State, alive: Any, seen: Any) -> State:
    """The state after a block, of what was `seen` in it (tick, pixel, order, outcome); of steps (direction, order)."""
    busy = ep.concatenate([state.busy[scheme.failed :], _next_order(seen[:, :, :, 0], scheme.orders)], axis=0)
    return State(alive, busy, seen[:, :, :, 1])


def course_of(scheme: Scheme, rows: Rows) -> Course:
    """How these pixels are gone through."""
    chip, first = rows.chip, _first(rows)
    ticks = ep.expand_dims(ep.arange(first, scheme.ticks + scheme.cycle.hold), 0)
    index = within(ep.expand_dims(first, 1) + ticks, scheme.columns)
    first = to_real(first, rows.charge)
    time = to_real(ep.arange(first, scheme.ticks), first)
    times = in_blocks(scheme, ep.expand_dims(time, 1) + ep.expand_dims(first, 0))
    columns = _ticks(scheme, take_along(rows.charge, index), chip, rows.until - first)
    going = columns.live[:, 0].max(axis=1) > 0.5
    return Course(chip, index, first, columns, times, going, _begin(scheme, rows.charge))


def _first(rows: Rows) -> Any:
    """The first column at which each pixel could fire."""
    return first_true(rows.charge > ep.expand_dims(rows.chip.silent, 1))


def _ticks(scheme: Scheme, seen: Any, chip: Chip, until: Any) -> Ticks:
    """What is `seen` from the first tick on (pixel, tick), in blocks."""
    highest = running_maximum(ep.maximum(constant(seen), 0.0))[:, : scheme.ticks]
    highest = ep.concatenate([ep.zeros_like(highest[:, :1]), highest], axis=1)  # before each tick
    low = lowest_levels(highest, chip).transpose((1, 0))
    time = ep.expand_dims(to_real(ep.arange(low, scheme.ticks), low), 1)
    live = to_real(time < ep.expand_dims(until, 0), low)
    columns = (*views(scheme, seen.transpose((1, 0))), low[:-1], low[1:], live)
    return Ticks(*(in_blocks(scheme, column) for column in columns))


def views(scheme: Scheme, seen: Any) -> tuple[Any, Any, Any, Any]:
    """`seen` (tick, pixel, ...) as the chip reads it from each tick on: the first four of `Ticks`."""
    count, cycle = scheme.ticks, scheme.cycle
    at_reset = seen[cycle.hold + cycle.reset :]
    after, again = (
        ep.concatenate([ep.zeros(seen, (wait, *seen.shape[1:])), at_reset], axis=0)[:count]
        for wait in (scheme.kept, scheme.failed)
    )
    return seen[:count], seen[cycle.hold : cycle.hold + count], after, again


def in_blocks(scheme: Scheme, values: Any) -> Any:
    """(tick, ...) -> (block, tick, ...)"""
    return values.reshape((-1, scheme.failed, *values.shape[1:]))


def _begin(scheme: Scheme, like: Any) -> State:
    """Every pixel begins as if hit zero ended its busy time at the first tick."""
    pixels, orders = like.shape[0], scheme.orders
    tick, order = (to_real(ep.arange(like, count), like) for count in (scheme.kept, orders))
    first = ep.where(tick.reshape((-1, 1, 1)) + order.reshape((1, 1, -1)) < 0.5, 1.0, 0.0) * ep.ones(
        like, (1, pixels, 1)
    )
    alive = ep.zeros(like, (pixels, orders, scheme.grid.levels))
    return State(alive, first, ep.zeros(like, (scheme.failed, pixels, orders)))


def outer(per_order: Any, per_level: Any) -> Any:
    """(tick, pixel, order), (tick, pixel, level) -> (tick, pixel, order, level)"""
    return ep.expand_dims(per_order, 3) * ep.expand_dims(per_level, 2)


def products(a: Any, b: Any) -> Any:
    """(tick, pixel, m, k) times (tick, pixel, k, n) -> (tick, pixel, m, n)"""
    found = batched_matmul(a.reshape((-1, *a.shape[2:])), b.reshape((-1, *b.shape[2:])))
    return found.reshape((*a.shape[:2], *found.shape[1:]))


def _next_order(values: Any, orders: int) -> Any:
    """What belongs to a hit, at the place of the next one; the last is dropped. (..., direction * order)."""
    parted = values.reshape((*values.shape[:-1], -1, orders))
    return ep.concatenate([ep.zeros_like(parted[..., :1]), parted[..., :-1]], axis=-1).reshape(values.shape)
