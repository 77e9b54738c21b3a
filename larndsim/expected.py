"""The expected model: how probable the first, second, ... hit of a pixel is, and its mean tick and charge.

All noise is integrated over. The attempts of a pixel to digitise are a renewal process: one that fires at tick t begins
anew with the charge at the end of the reset as its base, at t + hold + reset + 1 if it failed, later by the time that
the chip is busy if it became a hit. What is followed tick by tick, and exactly, is the *population*

    x_k(l, t) = probability to be alive at tick t, with k hits so far, waiting for the level l

in which all attempts that wait for a level are one, whenever they began (`firing`). With the tables of a tick, F(k) the
attempts with k hits that failed hold + reset + 1 ticks ago and H(k) those whose k-th hit ends its busy time now,

    y_k = x_k + F_k again            S_k = sum of y_k seen + H_k at_once        x_k at t + 1 = (y_k + H_k after) stay

S_k are the densities of hits and of failures, and of the charge of hits. The first attempt is the one after hit zero.
Ticks are taken in blocks of hold + reset + 1: within a block nothing begins that fired within it. Each pixel starts at
the first tick at which it could fire, and blocks in which no pixel is alive are left out.

The derivative by the waveform is written down in both modes: forwards the population moves along; backwards an adjoint
population, the worth of being alive at a level, comes from the last tick to the first, and meets the population that
is computed again block by block. Axes: (block, tick, pixel), (pixel, order, level); directions go with the orders.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import eagerpy as ep

from .backend import map_leaves
from .backend.operations import (
    Derived,
    add_along,
    batched_matmul,
    constant,
    first_true,
    running_maximum,
    scan,
    scan_where,
    take_along,
    to_real,
    with_derivative,
)
from .detector import Electronics
from .firing import OUTCOMES, Chip, Grid, Slopes, Tables, Ticks, lowest_levels, slopes_of, tables_of
from .noise import Widths
from .triggering import Comparator, Cycle, within

FADED = 1e-15  # of a population: less is nothing, since denormal numbers would slow everything that follows
LEAST = 1e-4  # probability from which on there is such a hit
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


class Found(NamedTuple):
    """The hits of each pixel, in order; zeros where `mask` is false, but the probability. Axes: (pixel, hit)."""

    tick: Any  # mean, if there is such a hit
    charge: Any  # mean
    mask: Any  # whether the hit is probable enough to be told
    probability: Any
    tick_spread: Any  # standard deviations
    charge_spread: Any


class State(NamedTuple):
    """What goes from block to block: attempts, or their steps, or their worth."""

    alive: Any  # (pixel, order, level)
    busy: Any  # (tick, pixel, order) those that come alive after a hit, from the next tick on
    failed: Any  # (tick, pixel, order) those that come alive after a failure


def expected_hits(charge: Any, comparator: Comparator, electronics: Electronics) -> Found:
    """The hits of a cumulative `charge` (pixel, tick), which alone moves them; `comparator.noise` are the widths.

    No threshold is higher than that of the electronics, or the grid would not hold the levels.
    """
    scheme = Scheme(Cycle.of(electronics), Grid.of(electronics), charge.shape[1])
    rest = (comparator.until, comparator.threshold, *comparator.noise)
    moments = with_derivative(_derived(scheme), charge, *rest)
    missing = scheme.cycle.hits - scheme.orders
    if missing:
        moments = ep.concatenate([moments, ep.zeros(moments, (moments.shape[0], missing, MOMENTS))], axis=1)
    probability, *sums = (moments[:, :, row] for row in range(MOMENTS))
    mask = probability > LEAST
    tick, tick_square, charge, square = (ep.where(mask, each, 0.0) / ep.where(mask, probability, 1.0) for each in sums)
    spreads = (
        ep.where(mask, ep.sqrt(ep.where(mask, ep.maximum(each, 1e-12), 1.0)), 0.0)
        for each in (tick_square, square - charge * charge)
    )
    charge = ep.where(mask, charge + ep.expand_dims(comparator.threshold, 1), 0.0)
    return Found(tick, charge, mask, probability, *spreads)


@cache
def _derived(scheme: Scheme) -> Derived:
    return Derived(partial(_value, scheme), partial(_push, scheme), partial(_pull, scheme), movers=1)


def _value(scheme: Scheme, charge: Any, until: Any, threshold: Any, *widths: Any) -> tuple[Any, tuple[Any, Any]]:
    """The moments of each hit (pixel, order, moment); the first tick of each pixel and its mean ticks are kept."""
    chip = Chip.of(threshold, Widths(*widths))
    index, first = _places(scheme, charge, chip)
    ticks, going = _ticks(scheme, take_along(charge, index), chip, until - first)
    block = partial(_block, chip, scheme.grid)
    seen = scan_where(lambda state, row: block(state, row)[::2], _begin(scheme, charge), ticks, going)[1]
    seen = seen.reshape((scheme.ticks, -1, scheme.orders, OUTCOMES))
    time = ep.expand_dims(_times(scheme, first), 2)
    hits = seen[:, :, :, 0]
    probability, sum_of_ticks = hits.sum(axis=0), (time * hits).sum(axis=0)
    mean = sum_of_ticks / ep.where(probability > 0.0, probability, 1.0)
    away = time - mean
    charges = (seen[:, :, :, row].sum(axis=0) for row in (2, 3))
    moments = (probability, sum_of_ticks, (away * away * hits).sum(axis=0), *charges)
    return ep.stack(moments, axis=2), (first, mean)


def _block(chip: Chip, grid: Grid, state: State, ticks: Ticks) -> tuple[State, Any, Any]:
    """The ticks of a block: the state after it; the population y (tick, pixel, order, level), and S."""
    tables = tables_of(ticks, chip, grid)
    begin = state.busy[: ticks.now.shape[0]]
    alive, (population, seen) = scan(_tick, state.alive, (tables, begin, state.failed))
    busy = ep.concatenate([state.busy[ticks.now.shape[0] :], _next_order(seen[:, :, :, 0])], axis=0)
    return State(alive, busy, seen[:, :, :, 1]), population, seen


def _tick(alive: Any, row: tuple[Tables, Any, Any]) -> tuple[Any, tuple[Any, Any]]:
    """One tick."""
    tables, after_hit, after_failure = row
    alive = alive + _outer(after_failure, tables.again)
    seen = batched_matmul(alive, tables.seen.transpose((0, 2, 1))) + _outer(after_hit, tables.at_once)
    alive_next = (alive + _outer(after_hit, tables.after)) * ep.expand_dims(tables.stay, 1)
    return ep.where(alive_next > FADED, alive_next, 0.0), (alive, seen)


def _places(scheme: Scheme, charge: Any, chip: Chip) -> tuple[Any, Any]:
    """The columns that each pixel looks at, from the first at which it could fire: (pixel, tick), and that (pixel,)."""
    first = first_true(charge > ep.expand_dims(chip.silent, 1))
    ticks = ep.expand_dims(ep.arange(first, scheme.ticks + scheme.cycle.hold), 0)
    return within(ep.expand_dims(first, 1) + ticks, scheme.columns), to_real(first, charge)


def _ticks(scheme: Scheme, seen: Any, chip: Chip, until: Any) -> tuple[Ticks, Any]:
    """What is `seen` (pixel, tick) in blocks (block, tick, pixel), and in which of these a pixel is alive (block,)."""
    highest = running_maximum(ep.maximum(constant(seen), 0.0))[:, : scheme.ticks]
    highest = ep.concatenate([ep.zeros_like(highest[:, :1]), highest], axis=1)  # before each tick
    low = lowest_levels(highest, chip).transpose((1, 0))
    tick = ep.expand_dims(to_real(ep.arange(low, scheme.ticks), low), 1)
    live = to_real(tick < ep.expand_dims(until, 0), low)
    columns = (*_views(scheme, seen.transpose((1, 0))), low[:-1], low[1:], live)
    ticks = Ticks(*(_in_blocks(scheme, column) for column in columns))
    return ticks, ticks.live[:, 0].max(axis=1) > 0.5


def _views(scheme: Scheme, seen: Any) -> tuple[Any, Any, Any, Any]:
    """`seen` (tick, pixel, ...) as the chip reads it from each tick on: the first four of `Ticks`."""
    count, cycle = scheme.ticks, scheme.cycle
    at_reset = seen[cycle.hold + cycle.reset :]
    after, again = (
        ep.concatenate([ep.zeros(seen, (wait, *seen.shape[1:])), at_reset], axis=0)[:count]
        for wait in (scheme.kept, scheme.failed)
    )
    return seen[:count], seen[cycle.hold : cycle.hold + count], after, again


def _in_blocks(scheme: Scheme, values: Any) -> Any:
    """(tick, ...) -> (block, tick, ...)"""
    return values.reshape((-1, scheme.failed, *values.shape[1:]))


def _times(scheme: Scheme, first: Any) -> Any:
    """Ticks since the windows began. Axes: (tick, pixel)."""
    return ep.expand_dims(to_real(ep.arange(first, scheme.ticks), first), 1) + ep.expand_dims(first, 0)


def _begin(scheme: Scheme, like: Any) -> State:
    """Every pixel begins as if hit zero ended its busy time at the first tick."""
    pixels, orders = like.shape[0], scheme.orders
    tick, order = (to_real(ep.arange(like, count), like) for count in (scheme.kept, orders))
    first = ep.where(tick.reshape((-1, 1, 1)) + order.reshape((1, 1, -1)) < 0.5, 1.0, 0.0) * ep.ones(
        like, (1, pixels, 1)
    )
    alive = ep.zeros(like, (pixels, orders, scheme.grid.levels))
    return State(alive, first, ep.zeros(like, (scheme.failed, pixels, orders)))


def _outer(per_order: Any, per_level: Any) -> Any:
    """(pixel, order), (pixel, level) -> (pixel, order, level)"""
    return ep.expand_dims(per_order, 2) * ep.expand_dims(per_level, 1)


def _next_order(values: Any, orders: int | None = None) -> Any:
    """What belongs to a hit, at the place of the next one; the last is dropped. Axes: (..., [direction *] order)."""
    parted = values if orders is None else values.reshape((*values.shape[:-1], -1, orders))
    return ep.concatenate([ep.zeros_like(parted[..., :1]), parted[..., :-1]], axis=-1).reshape(values.shape)


def _push(scheme: Scheme, arrays: tuple[Any, ...], kept: tuple[Any, Any], step: Any) -> Any:
    """How the moments move with the waveforms, `step` (direction, pixel, tick): (direction, pixel, order, moment)."""
    (charge, until, threshold, *widths), (first, mean), (directions, pixels, _) = arrays, kept, step.shape
    chip, orders = Chip.of(threshold, Widths(*widths)), scheme.orders
    index, first = _places(scheme, charge, chip)
    ticks, going = _ticks(scheme, take_along(charge, index), chip, until - first)
    steps = take_along(step.reshape((directions * pixels, -1)), ep.tile(index, (directions, 1)))
    steps = steps.reshape((directions, pixels, -1)).transpose((2, 1, 0))
    steps = tuple(_in_blocks(scheme, column) for column in _views(scheme, steps))
    times = _in_blocks(scheme, _times(scheme, first))

    def block(states: tuple[State, State], row: tuple[Ticks, tuple[Any, ...], Any]) -> tuple[Any, Any]:
        states, moved = _block_moved(chip, scheme, states, *row[:2])
        moved = moved.reshape((*moved.shape[:2], directions, orders, OUTCOMES))
        return states, _moments_moved(moved, row[2], mean)

    begin = _begin(scheme, charge)
    still = State(*(ep.zeros_like(each) for each in begin))
    none = State(
        ep.tile(still.alive, (1, directions, 1)),
        *(ep.tile(each, (1, 1, directions)) for each in still[1:]),
    )
    moved = scan_where(block, (begin, none), (ticks, steps, times), going)[1].sum(axis=0)
    return moved.transpose((1, 0, 2, 3))


def _moments_moved(seen: Any, time: Any, mean: Any) -> Any:
    """Steps of S (tick, pixel, direction, order, outcome) -> of the moments (pixel, direction, order, moment)."""
    hits, time = seen[..., 0], time.reshape((*time.shape, 1, 1))
    away = time - ep.expand_dims(mean, 1)
    columns = (hits, time * hits, away * away * hits, seen[..., 2], seen[..., 3])
    return ep.stack([column.sum(axis=0) for column in columns], axis=-1)


def _block_moved(
    chip: Chip, scheme: Scheme, states: tuple[State, State], ticks: Ticks, steps: tuple[Any, ...]
) -> tuple[tuple[State, State], Any]:
    """The same as `_block`, and how it moves: states and steps after it, and the steps of S."""
    (state, moved), count = states, scheme.failed
    tables, slopes = tables_of(ticks, chip, scheme.grid), slopes_of(ticks, chip, scheme.grid)
    rows = (tables, state.busy[:count], state.failed), (moved.busy[:count], moved.failed), slopes, steps
    alive, (seen, seen_moved) = scan(_tick_moved, (state.alive, moved.alive), rows)
    busy, busy_moved = (
        ep.concatenate([each.busy[count:], _next_order(own[:, :, :, 0], scheme.orders)], axis=0)
        for each, own in ((state, seen), (moved, seen_moved))
    )
    after = State(alive[0], busy, seen[:, :, :, 1]), State(alive[1], busy_moved, seen_moved[:, :, :, 1])
    return after, seen_moved


def _tick_moved(alive: tuple[Any, Any], row: tuple[Any, ...]) -> tuple[Any, Any]:
    """The same as `_tick`, and how it moves."""
    (alive, moved), (own, begin, slopes, steps) = alive, row
    (tables, after_hit, _), (hit_moved, failure_moved), (now, stop, after, again) = own, begin, steps
    alive_next, (alive, seen) = _tick(alive, own)
    moved = moved + _outer(failure_moved, tables.again) + _outer(_each_way(again, own[2]), slopes.again)
    by_now = batched_matmul(alive, slopes.seen_now.transpose((0, 2, 1))) + _outer(after_hit, slopes.at_once_now)
    by_stop = batched_matmul(alive, slopes.seen_stop.transpose((0, 2, 1))) + _outer(after_hit, slopes.at_once_stop)
    by_after = _outer(after_hit, -1.0 * (slopes.at_once_now + slopes.at_once_stop))
    seen_moved = batched_matmul(moved, tables.seen.transpose((0, 2, 1))) + _outer(hit_moved, tables.at_once)
    for step, each in ((now, by_now), (stop, by_stop), (after, by_after)):
        seen_moved = seen_moved + _each_way(step, each)
    moved = moved + _outer(hit_moved, tables.after) + _outer(_each_way(after, after_hit), slopes.after)
    staying = (alive + _outer(after_hit, tables.after)) * ep.expand_dims(slopes.stay_now, 1)
    moved = moved * ep.expand_dims(tables.stay, 1) + _each_way(now, staying)
    return (alive_next, moved), (seen, seen_moved)


def _each_way(step: Any, values: Any) -> Any:
    """(pixel, direction), (pixel, order, ...) -> their products (pixel, direction * order, ...)."""
    step = step.reshape((*step.shape, *(1,) * (values.ndim - 1)))
    return (step * ep.expand_dims(values, 1)).reshape((values.shape[0], -1, *values.shape[2:]))


class Worth(NamedTuple):
    """What comes of one tick on the way back; the last three are sums over orders. Axes: (pixel, ...)."""

    hit: Any  # (order,) slopes by the attempts that begin after a hit
    failure: Any  # (order,) by those after a failure
    seen: Any  # (outcome, level) by the table `seen`
    stay: Any  # (level,) by `stay`, for those that were alive
    after: Any  # (level,) by `after` times `stay`
    again: Any  # (level,) by `again`


def _pull(
    scheme: Scheme, arrays: tuple[Any, ...], kept: tuple[Any, Any], slope: Any, _: tuple[bool, ...]
) -> tuple[Any]:
    """The transposed of `_push`: slopes by the moments (pixel, order, moment) -> by the waveforms (pixel, tick)."""
    (charge, until, threshold, *widths), (first, mean) = arrays, kept
    chip = Chip.of(threshold, Widths(*widths))
    index, first = _places(scheme, charge, chip)
    ticks, going = _ticks(scheme, take_along(charge, index), chip, until - first)
    begin = _begin(scheme, charge)
    states = scan_where(lambda state, row: (_block(chip, scheme.grid, state, row)[0], state), begin, ticks, going)[1]
    times = _in_blocks(scheme, _times(scheme, first))

    def block(worth: State, row: tuple[Ticks, State, Any]) -> tuple[State, tuple[Any, ...]]:
        return _block_back(chip, scheme, worth, row[0], row[1], _slopes_of_outcomes(slope, row[2], mean))

    nothing = State(*(ep.zeros_like(each) for each in begin))
    rows = map_leaves(lambda values: ep.flip(values, 0), (ticks, states, times))
    found = scan_where(block, nothing, rows, ep.flip(going, 0))[1]
    by_view = (ep.flip(each, 0).reshape((scheme.ticks, -1)) for each in found)
    return (add_along(_views_back(scheme, *by_view).transpose((1, 0)), index, scheme.columns),)


def _slopes_of_outcomes(slope: Any, time: Any, mean: Any) -> Any:
    """Slopes by the moments (pixel, order, moment) -> by S (tick, pixel, order, outcome)."""
    time = ep.expand_dims(time, 2)
    away, ones = time - mean, ep.ones_like(time)
    by_hit = slope[:, :, 0] + time * slope[:, :, 1] + away * away * slope[:, :, 2]
    return ep.stack([by_hit, 0.0 * by_hit, ones * slope[:, :, 3], ones * slope[:, :, 4]], axis=3)


def _block_back(
    chip: Chip, scheme: Scheme, worth: State, ticks: Ticks, state: State, by_seen: Any
) -> tuple[State, tuple[Any, ...]]:
    """Back through a block: slopes by the state before it, and by the first four of `Ticks` (tick, pixel)."""
    count = scheme.failed
    tables, slopes = tables_of(ticks, chip, scheme.grid), slopes_of(ticks, chip, scheme.grid)
    begin = state.busy[:count], state.failed
    population = scan(_tick, state.alive, (tables, *begin))[1][0]
    later = worth.busy[scheme.kept - count :]
    later = ep.concatenate([later[:, :, 1:], ep.zeros_like(later[:, :, :1])], axis=2)
    by_seen = by_seen + ep.stack([later, worth.failed, 0.0 * later, 0.0 * later], axis=3)
    rows = map_leaves(lambda values: ep.flip(values, 0), (tables, population, by_seen, *begin))
    alive, found = scan(_tick_back, worth.alive, rows)
    found = Worth(*(ep.flip(each, 0) for each in found))
    before = State(alive, ep.concatenate([found.hit, worth.busy[: scheme.kept - count]], axis=0), found.failure)
    at_once = (ep.expand_dims(begin[0], 3) * by_seen).sum(axis=2)
    return before, _by_ticks(tables, slopes, found, at_once)


def _tick_back(worth: Any, row: tuple[Any, ...]) -> tuple[Any, Worth]:
    """Back through a tick: `worth` (pixel, order, level) is that of being alive after it, then before it."""
    tables, population, by_seen, after_hit, after_failure = row
    staying = worth * ep.expand_dims(tables.stay, 1)
    before = batched_matmul(by_seen, tables.seen) + staying
    hit = (by_seen * ep.expand_dims(tables.at_once, 1)).sum(axis=2)
    return before, Worth(
        hit + (staying * ep.expand_dims(tables.after, 1)).sum(axis=2),
        (before * ep.expand_dims(tables.again, 1)).sum(axis=2),
        batched_matmul(by_seen.transpose((0, 2, 1)), population),
        (worth * population).sum(axis=1),
        batched_matmul(ep.expand_dims(after_hit, 1), worth)[:, 0],
        batched_matmul(ep.expand_dims(after_failure, 1), before)[:, 0],
    )


def _by_ticks(tables: Tables, slopes: Slopes, found: Worth, at_once: Any) -> tuple[Any, Any, Any, Any]:
    """Slopes by the first four of `Ticks`; `at_once` (tick, pixel, outcome) are those by the table. (tick, pixel)."""
    by_now = (at_once * slopes.at_once_now).sum(axis=2)
    by_stop = (at_once * slopes.at_once_stop).sum(axis=2)
    staying = ((found.stay + found.after * tables.after) * slopes.stay_now).sum(axis=2)
    return (
        (found.seen * slopes.seen_now).sum(axis=(2, 3)) + staying + by_now,
        (found.seen * slopes.seen_stop).sum(axis=(2, 3)) + by_stop,
        (found.after * tables.stay * slopes.after).sum(axis=2) - by_now - by_stop,
        (found.again * slopes.again).sum(axis=2),
    )


def _views_back(scheme: Scheme, now: Any, stop: Any, after: Any, again: Any) -> Any:
    """The transposed of `_views`. Axes: (tick, pixel)."""
    hold, reset = scheme.cycle.hold, scheme.cycle.reset

    def laid(values: Any, before: int) -> Any:
        behind = scheme.ticks + hold - before - values.shape[0]
        ends = (ep.zeros(values, (rows, values.shape[1])) for rows in (before, behind))
        first, last = ends
        return ep.concatenate([first, values, last], axis=0)

    at_reset = laid(after[scheme.kept :], hold + reset) + laid(again[scheme.failed :], hold + reset)
    return laid(now, 0) + laid(stop, hold) + at_reset
