"""The derivative of the renewal process by the waveform, written down in both modes.

Forwards the population moves along, in each direction. Backwards an adjoint population, the worth of being alive at a
level, comes from the last tick to the first, and meets the population that is computed again, block by block: so what
is held is the population at the beginning of each block. Axes as in `renewal`; directions go with the orders.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep

from .backend import map_leaves
from .backend.operations import add_along, batched_matmul, scan, scan_where, take_along
from .firing import OUTCOMES, Slopes, Tables, Ticks, slopes_of, tables_of
from .renewal import Course, Rows, Scheme, State, after_block, course_of, in_blocks, outer, tick, tick_alone, views


def push(scheme: Scheme, rows: Rows, mean: Any, step: Any) -> Any:
    """How the moments move with the waveforms, `step` (pixel, direction, tick): (pixel, direction, order, moment)."""
    (pixels, directions, _), orders, course = step.shape, scheme.orders, course_of(scheme, rows)
    index = ep.tile(ep.expand_dims(course.index, 1), (1, directions, 1)).reshape((pixels * directions, -1))
    steps = take_along(step.reshape((pixels * directions, -1)), index)
    steps = steps.reshape((pixels, directions, -1)).transpose((2, 0, 1))
    steps = tuple(in_blocks(scheme, column) for column in views(scheme, steps))

    def block(states: tuple[State, State], row: tuple[Ticks, tuple[Any, ...], Any]) -> tuple[Any, Any]:
        states, moved = _block_moved(course, scheme, states, *row[:2])
        moved = moved.reshape((*moved.shape[:2], directions, orders, OUTCOMES))
        return states, _moments_moved(moved, row[2], mean)

    still = State(*(ep.zeros_like(each) for each in course.begin))
    none = State(
        ep.tile(still.alive, (1, directions, 1)),
        *(ep.tile(each, (1, 1, directions)) for each in still[1:]),
    )
    return scan_where(block, (course.begin, none), (course.ticks, steps, course.times), course.going)[1].sum(axis=0)


def _block_moved(
    course: Course, scheme: Scheme, states: tuple[State, State], ticks: Ticks, steps: tuple[Any, ...]
) -> tuple[tuple[State, State], Any]:
    """Through a block: the state after it and how it moves, and the steps of S."""
    (state, moved), count = states, scheme.failed
    tables, slopes = tables_of(ticks, course.chip, scheme.grid), slopes_of(ticks, course.chip, scheme.grid)
    rows = (tables, state.busy[:count], state.failed), (moved.busy[:count], moved.failed), slopes, steps
    (alive, alive_moved), (seen, seen_moved) = scan(_tick_moved, (state.alive, moved.alive), rows)
    after = after_block(scheme, state, alive, seen), after_block(scheme, moved, alive_moved, seen_moved)
    return after, seen_moved


def _tick_moved(alive: tuple[Any, Any], row: tuple[Any, ...]) -> tuple[Any, Any]:
    """The same as `renewal.tick`, and how it moves."""
    (alive, moved), (own, begin, slopes, steps) = alive, row
    (tables, after_hit, _), (hit_moved, failure_moved), (now, stop, after, again) = own, begin, steps
    alive_next, (alive, seen) = tick(alive, own)
    moved = moved + outer(failure_moved, tables.again) + outer(_each_way(again, own[2]), slopes.again)
    by_now = batched_matmul(alive, slopes.seen_now.transpose((0, 2, 1))) + outer(after_hit, slopes.at_once_now)
    by_stop = batched_matmul(alive, slopes.seen_stop.transpose((0, 2, 1))) + outer(after_hit, slopes.at_once_stop)
    by_after = outer(after_hit, -1.0 * (slopes.at_once_now + slopes.at_once_stop))
    seen_moved = batched_matmul(moved, tables.seen.transpose((0, 2, 1))) + outer(hit_moved, tables.at_once)
    for step, each in ((now, by_now), (stop, by_stop), (after, by_after)):
        seen_moved = seen_moved + _each_way(step, each)
    moved = moved + outer(hit_moved, tables.after) + outer(_each_way(after, after_hit), slopes.after)
    staying = (alive + outer(after_hit, tables.after)) * ep.expand_dims(slopes.stay_now, 1)
    moved = moved * ep.expand_dims(tables.stay, 1) + _each_way(now, staying)
    return (alive_next, moved), (seen, seen_moved)


def _each_way(step: Any, values: Any) -> Any:
    """(pixel, direction), (pixel, order, ...) -> their products (pixel, direction * order, ...)."""
    step = step.reshape((*step.shape, *(1,) * (values.ndim - 1)))
    return (step * ep.expand_dims(values, 1)).reshape((values.shape[0], -1, *values.shape[2:]))


def _moments_moved(seen: Any, time: Any, mean: Any) -> Any:
    """Steps of S (tick, pixel, direction, order, outcome) -> of the moments (pixel, direction, order, moment)."""
    hits, time = seen[..., 0], time.reshape((*time.shape, 1, 1))
    away = time - ep.expand_dims(mean, 1)
    columns = (hits, time * hits, away * away * hits, seen[..., 2], seen[..., 3])
    return ep.stack([column.sum(axis=0) for column in columns], axis=-1)


class Worth(NamedTuple):
    """What comes of one tick on the way back; the last three are sums over orders. Axes: (pixel, ...)."""

    hit: Any  # (order,) slopes by the attempts that begin after a hit
    failure: Any  # (order,) by those after a failure
    seen: Any  # (outcome, level) by the table `seen`
    stay: Any  # (level,) by `stay`, for those that were alive
    after: Any  # (level,) by `after` times `stay`
    again: Any  # (level,) by `again`


def pull(scheme: Scheme, rows: Rows, mean: Any, slope: Any) -> Any:
    """The transposed of `push`: slopes by the moments (pixel, order, moment) -> by the waveforms (pixel, tick)."""
    course = course_of(scheme, rows)
    states = _states(scheme, course)

    def block(worth: State, row: tuple[Ticks, State, Any]) -> tuple[State, tuple[Any, ...]]:
        return _block_back(course, scheme, worth, row[0], row[1], _slopes_of_outcomes(slope, row[2], mean))

    nothing = State(*(ep.zeros_like(each) for each in course.begin))
    back = map_leaves(lambda values: ep.flip(values, 0), (course.ticks, states, course.times))
    found = scan_where(block, nothing, back, ep.flip(course.going, 0))[1]
    by_view = (ep.flip(each, 0).reshape((scheme.ticks, -1)) for each in found)
    return add_along(_views_back(scheme, *by_view).transpose((1, 0)), course.index, scheme.columns)


def _states(scheme: Scheme, course: Course) -> State:
    """The state before each block."""

    def block(state: State, ticks: Ticks) -> tuple[State, State]:
        tables = tables_of(ticks, course.chip, scheme.grid)
        alive, seen = scan(tick_alone, state.alive, (tables, state.busy[: scheme.failed], state.failed))
        return after_block(scheme, state, alive, seen), state

    return scan_where(block, course.begin, course.ticks, course.going)[1]


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
    count = scheme.failed
    tables, slopes = tables_of(ticks, course.chip, scheme.grid), slopes_of(ticks, course.chip, scheme.grid)
    begin = state.busy[:count], state.failed
    population = scan(tick, state.alive, (tables, *begin))[1][0]
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
