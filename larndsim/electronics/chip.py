"""How a chip triggers itself: attempts to digitise, one after the other, of all pixels at once.

The charge of a pixel accumulates from a reset on. When the comparator sees the threshold, integration goes on for
`hold` ticks; then the charge is digitised and the pixel resets, which takes `reset` ticks. What it sees from then on
counts for the next hit, but its comparator is dead for `busy` ticks. A digitised value below the threshold gives no
hit: the pixel resets just so, and nothing keeps it busy.

The one loop is over the attempts. There are as many as a pixel may have hits; with noise, where some fail, as many as
there is noise for (twice that). What is read from the waveform, and how, is up to the model (`electronics`).
Ticks count from the start of each pixel's window; charges are in electrons. Axes: (pixel,), (pixel, tick),
(pixel, hit), (attempt, pixel).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend.operations import first_true, floor, least, scan_while, take, to_integer, to_real
from ..detector import Electronics


class Blocks(NamedTuple):
    """Where the waveforms of some pixels are: in blocks of ticks, those of a pixel one after the other.

    So waveforms of any lengths make one array (block, tick). Ticks are counted from the first of each pixel.
    """

    pixel: Any  # (block,)
    tick: Any  # (block,) its first tick
    first: Any  # (pixel,) first block
    ticks: Any  # (pixel,) how many ticks its blocks have

    def places(self, column: Any, length: int) -> Any:
        """Where some columns of each pixel (pixel, m) are in the flat waveforms, of blocks of some `length`.

        The first one for what is before it, the last one for what is after.
        """
        inside = ep.minimum(ep.maximum(column, 0), ep.expand_dims(self.ticks, 1) - 1)
        return ep.expand_dims(self.first * length, 1) + inside


class Waveform(NamedTuple):
    """Cumulative charge, and where it is."""

    charge: Any  # (block, tick) electrons
    blocks: Blocks

    @classmethod
    def of_rows(cls, charge: Any) -> Waveform:
        """Waveforms of one length, (pixel, tick): each is a block."""
        row = ep.arange(charge, charge.shape[0])
        return cls(charge, Blocks(row, 0 * row, row, 0 * row + charge.shape[1]))

    def at(self, column: Any) -> Any:
        """What is in some columns, (pixel, m), that need not be there."""
        return take(self.charge.reshape((-1,)), self.blocks.places(column, self.charge.shape[1]))

    def rows(self, columns: int) -> Any:
        """The waveforms of all pixels, so many ticks of each, (pixel, tick); each stays as it ends."""
        return self.at(ep.expand_dims(ep.arange(self.charge, columns), 0) + 0 * ep.expand_dims(self.blocks.first, 1))


class Cycle(NamedTuple):
    """What a chip does between two attempts, in ticks; and its most hits."""

    hold: int
    reset: int
    busy: int
    hits: int

    @classmethod
    def of(cls, electronics: Electronics) -> Cycle:
        """As the electronics say."""
        return cls(electronics.hold_ticks, electronics.reset_ticks, electronics.busy_ticks, electronics.max_hits)


class Comparator(NamedTuple):
    """What decides when a pixel fires, beside its charge. Axis: (pixel,)."""

    until: Any  # tick at which it dies for good
    threshold: Any  # electrons
    noise: Any  # Noise, or the Widths of it for a model that integrates it over; or None


class Reading(NamedTuple):
    """What the waveform says in one attempt. Axis: (pixel,)."""

    fired: Any  # whether the threshold is seen at all
    tick: Any  # when; after the window, if never
    stop: Any  # cumulative charge at the end of integration
    restart: Any  # and at the end of the reset
    details: Any = None  # what the model wants to know later


class Shot(NamedTuple):
    """One attempt of each pixel to digitise. Axis: (pixel,)."""

    tick: Any
    charge: Any
    fired: Any  # whether there is one
    kept: Any  # whether it becomes a hit
    details: Any


# level, first tick alive -> the first column that reaches the level, or one beyond all; whether there is one
Find = Callable[[Any, Any], tuple[Any, Any]]


def finder(waveform: Waveform, comparator: Comparator) -> Find:
    """The comparator of each pixel: it looks at the block in which it comes alive, and at the next that has a peak."""
    charge, blocks = waveform
    pixels, length = blocks.first.shape[0], charge.shape[1]
    column = ep.expand_dims(ep.arange(charge, length), 0)
    seen = charge if comparator.noise is None else charge + comparator.noise.comparator
    alive = column < ep.expand_dims(take(comparator.until, blocks.pixel) - to_real(blocks.tick, charge), 1)
    seen = ep.where(alive, seen, -np.inf)
    peak, number = seen.max(axis=1), ep.arange(charge, charge.shape[0])
    last = blocks.first + (blocks.ticks - 1) // length

    def reached(block: Any, level: Any, first: Any) -> Any:
        """The first column of a block that reaches the level, or one beyond all."""
        fires = take(seen, block) >= ep.expand_dims(level, 1)
        return first_true(fires if first is None else fires.logical_and(column >= ep.expand_dims(first, 1)))

    def find(level: Any, first: Any) -> tuple[Any, Any]:
        alive = to_integer(ep.minimum(-1.0 * floor(-1.0 * first), to_real(blocks.ticks, first)))  # the next whole tick
        begin = ep.minimum(blocks.first + alive // length, last)
        here = reached(begin, level, alive - (begin - blocks.first) * length)
        peaks = (peak >= take(level, blocks.pixel)).logical_and(number > take(begin, blocks.pixel))
        after = least(ep.where(peaks, to_real(number, level), NEVER), blocks.pixel, pixels)
        later = after < NEVER
        block = ep.where(here < length, begin, to_integer(ep.where(later, after, 0.0 * after)))
        column = ep.where(here < length, here, reached(block, level, None))
        fired = (here < length).logical_or(later)
        return ep.where(fired, (block - blocks.first) * length + column, blocks.ticks), fired

    return find


NEVER = 1e9  # ticks


def attempts(read: Callable[[Any, Any], Reading], comparator: Comparator, cycle: Cycle) -> Shot:
    """All attempts to digitise, until no pixel fires any more. Axes of what it returns: (attempt, pixel).

    `read` is given the level that the comparator waits for, and the first tick at which it is alive.
    """

    def attempt(state: tuple[Any, Any], row: tuple[Any, Any, Any]) -> tuple[Any, Shot]:
        (base, first), (reset, digitised, discriminator) = state, row
        seen = read(comparator.threshold + base - reset, first)
        value = seen.stop - base + reset + digitised
        kept = seen.fired.logical_and(value >= comparator.threshold + discriminator)
        # the comparator sees the first tick after the reset, or that at which the chip is no longer busy
        wait = 1.0 + to_real(kept, value) * (max(cycle.busy, 1) - 1)
        alive = seen.tick + (cycle.hold + cycle.reset) + wait
        return (seen.restart, alive), Shot(seen.tick, value, seen.fired, kept, seen.details)

    zero, noise = ep.zeros_like(comparator.threshold), comparator.noise
    if noise is None:
        rows = (ep.zeros(zero, (cycle.hits, *zero.shape)),) * 3
    else:
        rows = tuple(kind.transpose((1, 0)) for kind in (noise.reset, noise.digitised, noise.discriminator))
    return scan_while(attempt, lambda shot: shot.fired.any(), (zero, zero), rows)


def chosen(kept: Any, hits: int, like: Any) -> Any:
    """1 where an attempt gave a hit, else 0; axes (pixel, hit, attempt). `kept` (attempt, pixel) are those that did."""
    kept = kept.transpose((1, 0))
    number = to_real(kept, like).cumsum(axis=1)
    order = ep.expand_dims(to_real(ep.arange(kept, 1, hits + 1), like), 1)
    same = (ep.expand_dims(number, 1) == order).logical_and(ep.expand_dims(kept, 1))
    return to_real(same, like)


def moved_up(choice: Any, values: Any) -> Any:
    """What belongs to attempts (pixel, attempt, ...), of those that were `chosen` (pixel, hit, ...).

    As a sum, not a product of matrices, which frameworks round as they are told.
    """
    return (ep.expand_dims(choice, 3) * ep.expand_dims(values, 1)).sum(axis=2)


def within(index: Any, columns: int) -> Any:
    """The nearest column that there is."""
    return ep.minimum(ep.maximum(index, 0), columns - 1)
