"""The derivative of the renewal process by the waveform, written down in both modes.

Forwards the population moves along, in each direction. Backwards an adjoint population, the worth of being alive at a
level, comes from the last tick to the first, and meets the population that is computed again, block by block: so what
is held is the population at the beginning of each block. Axes as in `expected_renewal`; directions go with the orders.
"""

from __future__ import annotations

from typing import Any

import eagerpy as ep

from ..backend import map_leaves
from ..backend.operations import add_along, scan, scan_where, take_along
from .expected_renewal import (
    MOMENTS,
    Course,
    Rows,
    Scheme,
    State,
    after_block,
    course_of,
    in_blocks,
    outer,
    products,
    sums_over_ticks,
    through_block,
    views,
)
from .firing import OUTCOMES, Slopes, Tables, Ticks, slopes_of, tables_of


def jvp(scheme: Scheme, rows: Rows, mean: Any, step: Any) -> Any:
    """How the moments move with the waveforms, `step` (pixel, direction, tick): (pixel, direction, order, moment)."""
    (pixels, directions, _), course = step.shape, course_of(scheme, rows)
    index = ep.tile(ep.expand_dims(course.index, 1), (1, directions, 1)).reshape((pixels * directions, -1))
    steps = take_along(step.reshape((pixels * directions, -1)), index)
    steps = steps.reshape((pixels, directions, -1)).transpose((2, 0, 1))
    steps = tuple(in_blocks(scheme, column) for column in views(scheme, steps))

    def block(states: tuple[State, State], row: tuple[Ticks, tuple[Any, ...], Any]) -> tuple[Any, Any]:
        states, moved = _block_moved(course, scheme, states, *row[:2])
        moved = moved.reshape((*moved.shape[:2], directions, scheme.orders, OUTCOMES))
        time = row[2].reshape((*row[2].shape, 1, 1))
        return states, sums_over_ticks(moved, time, time - ep.expand_dims(mean, 1))

    begin = course.begin, _at_rest(course.begin, directions)
    nothing = ep.zeros(step, (pixels, directions, scheme.orders, MOMENTS))
    return scan_where(block, begin, (course.ticks, steps, course.times), course.going, nothing)[1].sum(axis=0)


def _at_rest(state: State, directions: int) -> State:
    """Steps of a state that does not move."""
    alive, *others = (ep.zeros_like(each) for each in state)
    return State(ep.tile(alive, (1, directions, 1)), *(ep.tile(each, (1, 1, directions)) for each in others))


def _block_moved(
    course: Course, scheme: Scheme, states: tuple[State, State], ticks: Ticks, steps: tuple[Any, ...]
) -> tuple[tuple[State, State], Any]:
    """Through a block: the state after it and how it moves, and the steps of S."""
    (state, moved), (now, stop, after, again) = states, steps
    tables, slopes = tables_of(ticks, course.chip, scheme.grid), slopes_of(ticks, course.chip, scheme.grid)
    state_after, population, _ = through_block(scheme, state, tables)
    hit, hit_moved, stay = state.busy[: scheme.failed], moved.busy[: scheme.failed], ep.expand_dims(tables.stay, 2)
    begin = outer(moved.failed, tables.again) + outer(_each_way(again, state.failed), slopes.again)
    staying = (population + outer(hit, tables.after)) * ep.expand_dims(slopes.stay_now, 2)
    later = (outer(hit_moved, tables.after) + outer(_each_way(after, hit), slopes.after)) * stay
    alive, population_moved = scan(_tick_moved, moved.alive, (begin, stay, later + _each_way(now, staying)))
    seen = products(population_moved, tables.seen.transpose((0, 1, 3, 2))) + outer(hit_moved, tables.at_once)
    by_now = products(population, slopes.seen_now.transpose((0, 1, 3, 2))) + outer(hit, slopes.at_once_now)
    by_stop = products(population, slopes.seen_stop.transpose((0, 1, 3, 2))) + outer(hit, slopes.at_once_stop)
    by_after = outer(hit, -1.0 * (slopes.at_once_now + slopes.at_once_stop))
    seen = seen + _each_way(now, by_now) + _each_way(stop, by_stop) + _each_way(after, by_after)
    return (state_after, after_block(scheme, moved, alive, seen)), seen


def _tick_moved(alive: Any, row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """How x moves at the next tick, and y now."""
    begin, stay, later = row
    alive = alive + begin
    return alive * stay + later, alive


def _each_way(step: Any, values: Any) -> Any:
    """(tick, pixel, direction), (tick, pixel, order, ...) -> their products (tick, pixel, direction * order, ...)."""
    step = step.reshape((*step.shape, *(1,) * (values.ndim - 2)))
    return (step * ep.expand_dims(values, 2)).reshape((*values.shape[:2], -1, *values.shape[3:]))


def vjp(scheme: Scheme, rows: Rows, mean: Any, slope: Any) -> Any:
    """The transposed of `jvp`: slopes by the moments (pixel, order, moment) -> by the waveforms (pixel, tick)."""
    course = course_of(scheme, rows)

    def block(worth: State, row: tuple[Ticks, State, Any]) -> tuple[State, tuple[Any, ...]]:
        return _block_back(course, scheme, worth, row[0], row[1], _slopes_of_outcomes(slope, row[2], mean))

    worth, nothing = State(*(ep.zeros_like(each) for each in course.begin)), (ep.zeros_like(course.times[0]),) * 4
    given = course.ticks, _states(scheme, course), course.times, course.going
    *back, going = map_leaves(lambda values: ep.flip(values, 0), given)
    found = scan_where(block, worth, tuple(back), going, nothing)[1]
    by_view = (ep.flip(each, 0).reshape((scheme.ticks, -1)) for each in found)
    return add_along(_views_back(scheme, *by_view).transpose((1, 0)), course.index, scheme.columns)


def _states(scheme: Scheme, course: Course) -> State:
    """The state before each block."""

    def block(state: State, ticks: Ticks) -> tuple[State, State]:
        return through_block(scheme, state, tables_of(ticks, course.chip, scheme.grid))[0], state

    nothing = State(*(ep.zeros_like(each) for each in course.begin))
    return scan_where(block, course.begin, course.ticks, course.going, nothing)[1]


def _slopes_of_outcomes(slope: Any, time: Any, mean: Any) -> Any:
    """Slopes by the moments (pixel, order, moment) -> by S (tick, pixel, order, outcome)."""
    time = ep.expand_dims(time, 2)
    away, ones = time - mean, ep.ones_like(time)
    by_hit = slope[:, :, 0] + time * slope[:, :, 1] + away * away * slope[:, :, 2]
    return ep.stack([by_hit, 0.0 * by_hit, ones * slope[:, :, 3], ones * slope[:, :, 4]], axis=3)


def _block_back(
    course: Course, scheme: Scheme, worth: State, ticks: Ticks, state: State, by_seen: Any
) -> tuple[State, tuple[Any, ...]]:
    """Back through a block: slopes by the state before it, and by the first four of `Ticks` (tick, pixel)."""
    count, rest = scheme.failed, scheme.kept - scheme.failed
    tables, slopes = tables_of(ticks, course.chip, scheme.grid), slopes_of(ticks, course.chip, scheme.grid)
    population, hit, failed = through_block(scheme, state, tables)[1], state.busy[:count], state.failed
    later = worth.busy[rest:]
    later = ep.concatenate([later[:, :, 1:], ep.zeros_like(later[:, :, :1])], axis=2)
    by_seen = by_seen + ep.stack([later, worth.failed, 0.0 * later, 0.0 * later], axis=3)
    rows = products(by_seen, tables.seen), ep.expand_dims(tables.stay, 2)
    first, (after, now) = scan(_tick_back, worth.alive, tuple(ep.flip(each, 0) for each in rows))
    after, now = ep.flip(after, 0), ep.flip(now, 0)  # worth of being alive after each tick, and at it
    by_hit = (by_seen * ep.expand_dims(tables.at_once, 2)).sum(axis=3)
    by_hit = by_hit + products(after, ep.expand_dims(tables.after * tables.stay, 3))[:, :, :, 0]
    by_failure = products(now, ep.expand_dims(tables.again, 3))[:, :, :, 0]
    before = State(first, ep.concatenate([by_hit, worth.busy[:rest]], axis=0), by_failure)
    by_tables = Tables(
        seen=products(by_seen.transpose((0, 1, 3, 2)), population),
        stay=(after * population).sum(axis=2),
        after=products(ep.expand_dims(hit, 2), after)[:, :, 0],  # times `stay`
        again=products(ep.expand_dims(failed, 2), now)[:, :, 0],
        at_once=products(ep.expand_dims(hit, 2), by_seen)[:, :, 0],
    )
    return before, _by_ticks(tables, slopes, by_tables)


def _tick_back(worth: Any, row: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
    """From the worth of being alive after a tick to that before it; and both."""
    fired, stay = row
    before = worth * stay + fired
    return before, (worth, before)


def _by_ticks(tables: Tables, slopes: Slopes, by: Tables) -> tuple[Any, Any, Any, Any]:
    """Slopes by the tables -> by the first four of `Ticks` (tick, pixel)."""
    by_now = (by.at_once * slopes.at_once_now).sum(axis=2)
    by_stop = (by.at_once * slopes.at_once_stop).sum(axis=2)
    staying = ((by.stay + by.after * tables.after) * slopes.stay_now).sum(axis=2)
    return (
        (by.seen * slopes.seen_now).sum(axis=(2, 3)) + staying + by_now,
        (by.seen * slopes.seen_stop).sum(axis=(2, 3)) + by_stop,
        (by.after * tables.stay * slopes.after).sum(axis=2) - by_now - by_stop,
        (by.again * slopes.again).sum(axis=2),
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
