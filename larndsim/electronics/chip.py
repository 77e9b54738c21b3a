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

from ..backend.operations import first_true, scan_while, take_along, to_real
from ..detector import Electronics


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


# level, first tick alive -> the first column that reaches the level, or their number
Find = Callable[[Any, Any], Any]


def finder(charge: Any, comparator: Comparator) -> Find:
    """The comparator of each pixel."""
    ticks = ep.expand_dims(to_real(ep.arange(charge, charge.shape[1]), charge), 0)
    seen = charge if comparator.noise is None else charge + comparator.noise.comparator
    seen = ep.where(ticks < ep.expand_dims(comparator.until, 1), seen, -np.inf)

    def find(level: Any, first: Any) -> Any:
        return first_true((seen >= ep.expand_dims(level, 1)).logical_and(ticks >= ep.expand_dims(first, 1)))

    return find


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


def columns_of(charge: Any, index: Any) -> Any:
    """Columns of the waveform (pixel, m): the first for what is before it, the last for what is after."""
    return take_along(charge, within(index, charge.shape[1]))


def within(index: Any, columns: int) -> Any:
    """The nearest column that there is."""
    return ep.minimum(ep.maximum(index, 0), columns - 1)
