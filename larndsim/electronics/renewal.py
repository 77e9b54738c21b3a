"""How the attempts of a pixel follow each other: which ones could have led to what was recorded (NumPy, integers).

The tick of a recorded hit is known, and with it the next reset. So what a pixel records falls into pieces that have
nothing to do with each other: up to its first hit, from there to the second, ..., and the silence after the last. In a
piece there may have been failed attempts: the comparator fired, what was digitised lay below the threshold, the pixel
reset, and began anew. With L the probability that an attempt ends the piece at once, and f(s) that it fails at tick s,

    V = L + sum over s of f(s) V of the attempt that begins after s

Attempts that begin at the same tick of the same piece are one, whatever came before: at most one for each tick. All but
a few are left out, since failures are rare: the comparator has to fire though the charge is low, or the charge to stay
low though it fired. What decides is how many widths of the noise that is away (`Quadrature.fail`). Where they are not
that rare (a threshold of four widths of the noise), there is one at every tick; but what follows changes little from
tick to tick: it is computed after some of them, `nodes`, and interpolated between.

Axes: (pixel,), (attempt,), (tick,): live ticks of all attempts, one attempt after the other; those of a flat piece of a
waveform are taken together. Columns count ticks from the start of a pixel's window, -1 stands for before. Charges in
electrons.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from .chip import Cycle

# what follows a failure, where it is no attempt that is known: silence; what cannot have led to the data; an attempt
SURE, NEVER, LOUD = -1, -2, -3
FOREVER = 2**40  # a column that no window reaches
PLAUSIBLE = 2.0  # widths: what takes no more of the noise is likely
LONGEST = 0.25  # widths between the charges that attempts at two nodes begin with, at most
EQUAL = 1e-7  # electrons: rounding, not a slope
TINY = 1e-300  # stands for a probability of zero in quotients


class Quadrature(NamedTuple):
    """How exact a likelihood is. Widths are those of the noise that decides."""

    step: float = 1 / 3  # between nodes of the reset noise, in its widths
    fine: float = 0.6  # and in widths of what the comparator sees, at most
    reach: float = 4.7  # of these nodes, in widths
    low: float = 5.8  # widths below the threshold at which a comparator does not fire
    fail: float = 5.0  # widths: failures that are less likely are left out
    dropped: float = 1e-4  # probability of failures that may be left out of a piece that is likely without them
    flat: bool = True  # whether ticks of equal charge are taken together
    apart: int = 64  # ticks between nodes, at most; 1: after every failure
    between: float = 2.5e-5  # widths between them times how probable the failure is, at most


class Seen(NamedTuple):
    """The waveforms of some pixels, and what they recorded."""

    charge: np.ndarray  # (pixel, tick) cumulative
    until: np.ndarray  # (pixel,) column at which the comparator dies
    live: np.ndarray  # (pixel,) false where the channel is off
    count: np.ndarray  # type: ignore[assignment]  # (pixel,) recorded hits
    tick: np.ndarray  # (pixel, hit) their columns
    low: np.ndarray  # (pixel, hit) the charges that are digitised to their words, from low to high
    high: np.ndarray


class Noise(NamedTuple):
    """Threshold and widths of the noise. Axis: (pixel,)."""

    threshold: np.ndarray
    reset: np.ndarray
    uncorrelated: np.ndarray
    discriminator: np.ndarray

    @property
    def comparator(self) -> np.ndarray:
        """What the comparator sees at each tick."""
        return np.hypot(self.uncorrelated, self.discriminator)


class Pieces(NamedTuple):
    """Attempts: the first of each piece, then those that follow failures. Axis: (attempt,)."""

    pixel: np.ndarray
    piece: np.ndarray  # the attempt that its piece began with
    base: np.ndarray  # column of the charge that it begins with
    first: np.ndarray  # first live column
    stop: np.ndarray  # column of the hit that ends the piece, or where the comparator dies
    hit: np.ndarray  # number of that hit, or -1
    budget: np.ndarray  # squared widths that its failures may still cost
    reached: np.ndarray  # how probable it is at most that its piece comes to it
    spare: np.ndarray  # how probable failures may be, in its piece, that are left out of it and the others of its age


class Ticks(NamedTuple):
    """Live ticks of attempts. Axis: (tick,)."""

    attempt: np.ndarray
    column: np.ndarray
    times: np.ndarray  # ticks that it stands for
    follows: np.ndarray  # the attempt after a failure here, or at the node before; SURE or NEVER
    other: np.ndarray  # that at the node after
    part: np.ndarray  # how far it is from the one to the other


class Padded(NamedTuple):
    """Waveforms with a column of zeros before them: charges at any column."""

    charge: np.ndarray  # (pixel, 1 + tick)

    def place(self, column: np.ndarray) -> np.ndarray:
        """Where a column is: those beyond the window are its ends."""
        return np.clip(column + 1, 0, self.charge.shape[1] - 1)

    def at(self, pixel: np.ndarray, column: np.ndarray) -> np.ndarray:
        return self.charge[pixel, self.place(column)]


def first_attempts(seen: Seen, cycle: Cycle, budget: float) -> Pieces:
    """One for each recorded hit, and one for the silence after the last, unless there can be no more hits."""
    pieces = np.where(seen.live, np.minimum(seen.count + 1, cycle.hits), 0)
    pixel = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(pixel)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    hit = np.where(number < seen.count[pixel], number, -1)
    before = seen.tick[pixel, np.maximum(number - 1, 0)]
    restart = before + cycle.hold + cycle.reset
    base = np.where(number > 0, restart, -1)
    first = np.where(number > 0, restart + max(cycle.busy, 1), 0)
    end = np.where(hit >= 0, seen.tick[pixel, np.maximum(hit, 0)], np.maximum(seen.until[pixel], first))
    return Pieces(
        pixel, np.arange(len(pixel)), base, first, end, hit, np.full(len(pixel), budget), np.ones(len(pixel)),
        np.zeros(len(pixel)),
    )  # fmt: skip


def all_attempts(seen: Seen, noise: Noise, cycle: Cycle, q: Quadrature) -> tuple[Pieces, Ticks]:
    """Those that pieces begin with, and those after failures that count; generation by generation."""
    padded = Padded(np.concatenate([np.zeros((len(seen.charge), 1)), seen.charge], axis=1))
    new = first_attempts(seen, cycle, q.fail**2)
    generations, ticks, known = [new], [_no_ticks()], {}
    before, total = 0, len(new.pixel)
    while len(new.pixel):
        own = live_ticks(new, padded, noise, q, cycle)
        follows, cost, chance, spare = _failures(new, own, seen, padded, noise, cycle, q)
        loud = np.flatnonzero(follows == LOUD)
        nodes = _nodes(new, own, loud, chance, spare > 0.0, padded, noise, cycle, q)
        cost, chance = _of_nodes(nodes, cost[loud], np.minimum, np.inf), _of_nodes(nodes, chance[loud], np.add, 0.0)
        at = loud[nodes.at]
        failed: list[int] = []  # the node after whose failure each new attempt begins
        number = np.zeros(len(at), dtype=np.int64)
        for node in np.argsort(cost, kind="stable").tolist():  # of equal attempts the likeliest
            key = int(new.piece[own.attempt[at[node]]]), int(own.column[at[node]])
            if key not in known:
                known[key] = total + len(failed)
                failed.append(node)
            number[node] = known[key]
        own = own._replace(attempt=own.attempt + before, follows=follows)
        ticks.append(_interpolated(own, loud, nodes, number))
        before, total = total, total + len(failed)
        chosen = np.array(failed, dtype=np.int64)
        parent = own.attempt[at[chosen]] - (before - len(new.pixel))
        new = _after_failures(new, parent, own.column[at[chosen]], cost[chosen], chance[chosen], cycle, spare)
        generations.append(new)
    return _joined(generations), _joined(ticks)


class _Nodes(NamedTuple):
    """Those of some ticks after whose failure what follows is computed."""

    at: np.ndarray  # (node,) which of the ticks
    below: np.ndarray  # (tick,) the node at it, or before it
    above: np.ndarray  # (tick,) the node at it, or after it


def _nodes(
    attempts: Pieces, ticks: Ticks, loud: np.ndarray, chance: np.ndarray, likely: np.ndarray, padded: Padded,
    noise: Noise, cycle: Cycle, q: Quadrature,
) -> _Nodes:  # fmt: skip
    """Of ticks that are `loud`, one after the other: ends of runs, and those where a new attempt would begin with
    another charge, by as much as matters for failures that are so probable. In attempts that are not `likely` to end
    their pieces without failures, all."""
    if not len(loud):
        return _Nodes(*(np.zeros(0, dtype=np.int64),) * 3)
    attempt, column = ticks.attempt[loud], ticks.column[loud]
    pixel = attempts.pixel[attempt]
    wide = np.hypot(noise.reset, noise.comparator)[pixel]
    charge = padded.at(pixel, column + cycle.hold + cycle.reset)
    begins = (np.diff(attempt, prepend=-1) != 0) | (np.diff(loud, prepend=-2) != 1)
    moved = np.abs(np.diff(charge, prepend=0.0)) / wide * np.maximum(chance[loud], q.between / LONGEST)
    moved[begins] = 0.0
    way = np.cumsum(moved)
    way = np.floor((way - np.maximum.accumulate(np.where(begins, way, -np.inf))) / q.between)
    node = begins | np.append(begins[1:], True) | ~likely[attempt]
    for key in (way, column // q.apart):
        node |= np.diff(key, prepend=-1) != 0
    at = np.flatnonzero(node)
    below = np.cumsum(node) - 1
    return _Nodes(at, below, np.where(node, below, np.minimum(below + 1, len(at) - 1)))


def _of_nodes(nodes: _Nodes, values: np.ndarray, gather: np.ufunc, start: float) -> np.ndarray:
    """Of each node, from those of the ticks that it is used for. Axis: (node,)."""
    found = np.full(len(nodes.at), start)
    gather.at(found, nodes.below, values)
    inner = nodes.above != nodes.below
    gather.at(found, nodes.above[inner], values[inner])
    return found


def _interpolated(ticks: Ticks, loud: np.ndarray, nodes: _Nodes, number: np.ndarray) -> Ticks:
    """With what follows the `loud` ones; `number` is the attempt that begins after each node."""
    column = ticks.column[loud]
    first, last = (column[nodes.at[each]] for each in (nodes.below, nodes.above))
    part = (column - first) / np.maximum(last - first, 1)
    follows, other, parts = ticks.follows.copy(), ticks.follows.copy(), np.zeros(len(ticks.follows))
    follows[loud], other[loud], parts[loud] = number[nodes.below], number[nodes.above], part
    return ticks._replace(follows=follows, other=other, part=parts)


def _after_failures(
    old: Pieces, parent: np.ndarray, column: np.ndarray, cost: np.ndarray, chance: np.ndarray, cycle: Cycle,
    spare: np.ndarray,
) -> Pieces:  # fmt: skip
    """The attempts that follow when `parent` fails at a column: they end as it would have."""
    restart = column + cycle.hold + cycle.reset
    pixel, piece, stop, hit = (values[parent] for values in (old.pixel, old.piece, old.stop, old.hit))
    return Pieces(pixel, piece, restart, restart + 1, stop, hit, old.budget[parent] - cost, chance, spare[parent])


def live_ticks(attempts: Pieces, padded: Padded, noise: Noise, q: Quadrature, cycle: Cycle) -> Ticks:
    """The ticks at which a comparator may fire, flat pieces of the waveform taken together; nothing follows yet."""
    a, n = attempts, Noise(*(width[attempts.pixel] for width in noise))
    base = padded.at(a.pixel, a.base)
    # less of what is improbable anyway has to be followed: of each by itself, and of all that a piece may come to
    all_reached = np.bincount(a.piece, a.reached, minlength=a.piece.max(initial=0) + 1)[a.piece]
    spare = a.spare / np.maximum(all_reached * (a.stop - a.first), TINY)
    faint = np.maximum(ndtr(-q.low) / np.maximum(a.reached, TINY), spare)
    low = -ndtri(np.minimum(faint, 0.5))
    bottom = base + n.threshold - low * np.hypot(n.reset, n.comparator)
    begin = np.maximum(a.first, _first_above(padded, a.pixel, bottom))
    length = np.maximum(a.stop - begin, 0)
    attempt = np.repeat(np.arange(len(length)), length)
    column = np.arange(len(attempt)) - np.repeat(np.cumsum(length) - length - begin, length)
    times = np.ones(len(attempt))
    if q.flat and len(attempt):
        pixel, starts = a.pixel[attempt], np.diff(attempt, prepend=-1) != 0
        for ahead in (0, cycle.hold):
            starts |= np.abs(np.diff(padded.at(pixel, column + ahead), prepend=-1)) > EQUAL
        start = np.flatnonzero(starts)
        times = np.diff(start, append=len(attempt)).astype(float)
        attempt, column = attempt[start], column[start] + (times.astype(np.int64) - 1) // 2
    nothing = np.full(len(attempt), NEVER)
    return Ticks(attempt, column, times, nothing, nothing, np.zeros(len(attempt)))


def _first_above(padded: Padded, pixel: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The first column of each row whose charge is above a level; beyond the window, where none is."""
    above = padded.charge[pixel] > bottom[:, None]
    return np.where(above.any(axis=1), above.argmax(axis=1) - 1, FOREVER)


def _failures(
    attempts: Pieces, ticks: Ticks, seen: Seen, padded: Padded, noise: Noise, cycle: Cycle, q: Quadrature
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What follows a failure at each tick - LOUD: another attempt - what it costs in squared widths, and how probable
    it is at most; and of each attempt, how probable failures may be that are left out of those that follow it."""
    a = Pieces(*(values[ticks.attempt] for values in attempts))
    n = Noise(*(width[a.pixel] for width in noise))
    wide, base = np.hypot(n.reset, n.comparator), padded.at(a.pixel, a.base)
    level = padded.at(a.pixel, ticks.column) - base - n.threshold
    stopped = padded.at(a.pixel, ticks.column + cycle.hold) - base - n.threshold
    # it must fire though the charge is low, fail though it is high, and both though it grows meanwhile
    rare = np.maximum.reduce([-level / wide, stopped / wide, (stopped - level) / (np.sqrt(2.0) * n.comparator)])
    rare = np.maximum(rare, 0.0)
    cost = rare**2 - 2.0 * np.log(ticks.times)
    chance = a.reached * np.minimum(ticks.times * ndtr(-rare), 1.0)
    restart = padded.at(a.pixel, ticks.column + cycle.hold + cycle.reset)
    alive = ticks.column + cycle.hold + cycle.reset + 1
    hit, number = a.hit >= 0, np.maximum(a.hit, 0)
    left = padded.at(a.pixel, a.stop) - restart  # what the next attempt sees until the piece ends
    digitised = padded.at(a.pixel, a.stop + cycle.hold) - restart
    enough = np.maximum(seen.low[a.pixel, number], n.threshold) - q.low * np.hypot(n.reset, n.uncorrelated)
    possible = (alive <= a.stop) & (left > n.threshold - q.low * wide) & (digitised > enough)
    quiet = (alive >= a.stop) | (left < n.threshold - q.low * wide)
    follows = np.where(hit, np.where(possible, LOUD, NEVER), np.where(quiet, SURE, LOUD))
    follows[~hit & (left > n.threshold + 2.0 * q.low * wide)] = NEVER  # it would not stay silent
    follows[cost >= a.budget] = NEVER
    likely = _likely(attempts, ticks, level / wide, seen, padded, noise, cycle)
    faint = (follows == LOUD) & likely[ticks.attempt] & (_together(attempts, ticks, chance) <= q.dropped)
    spare = np.where(likely, q.dropped, attempts.spare)
    return np.where(faint, np.where(hit, NEVER, SURE), follows), cost, chance, spare


def _together(attempts: Pieces, ticks: Ticks, chance: np.ndarray) -> np.ndarray:
    """How probable a failure at each tick, or at any of the same attempt that are less probable, is. Axis: (tick,)."""
    order = np.lexsort((chance, ticks.attempt))
    total = np.cumsum(chance[order])
    first = np.searchsorted(ticks.attempt, np.arange(len(attempts.pixel)))
    before = np.append(0.0, total)[first]
    result = np.empty(len(chance))
    result[order] = total - before[ticks.attempt[order]]
    return result


def _likely(
    a: Pieces, ticks: Ticks, above: np.ndarray, seen: Seen, padded: Padded, noise: Noise, cycle: Cycle
) -> np.ndarray:
    """Whether an attempt may well end its piece without failures, which then matter as much as they are probable.

    `above` (tick,) is the charge above the threshold in widths.
    """
    n = Noise(*(width[a.pixel] for width in noise))
    highest = np.full(len(a.pixel), -np.inf)
    np.maximum.at(highest, ticks.attempt, above)
    base, hit = padded.at(a.pixel, a.base), np.maximum(a.hit, 0)
    at_hit = padded.at(a.pixel, a.stop) - base - n.threshold
    digitised = padded.at(a.pixel, a.stop + cycle.hold) - base
    away = np.maximum(seen.low[a.pixel, hit] - digitised, digitised - seen.high[a.pixel, hit])
    fires = at_hit > -PLAUSIBLE * np.hypot(n.reset, n.comparator)
    recorded = fires & (away < PLAUSIBLE * np.hypot(n.reset, n.uncorrelated))
    return (highest < PLAUSIBLE) & ((a.hit < 0) | recorded)


def levels(attempts: Pieces, ticks: Ticks) -> np.ndarray:
    """How many generations of attempts may follow each one. Axis: (attempt,)."""
    level = np.zeros(len(attempts.pixel), dtype=np.int64)
    followed = ticks.follows >= 0
    parent = np.tile(ticks.attempt[followed], 2)
    child = np.concatenate([ticks.follows[followed], ticks.other[followed]])
    while True:
        before = level.copy()
        np.maximum.at(level, parent, level[child] + 1)
        if (level == before).all():
            return level


def _no_ticks() -> Ticks:
    none = np.zeros(0, dtype=np.int64)
    return Ticks(none, none, np.zeros(0), none, none, np.zeros(0))


def _joined(parts: list) -> Any:
    """Columns, one after the other."""
    return type(parts[0])(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
