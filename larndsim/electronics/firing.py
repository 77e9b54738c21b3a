"""What an attempt to digitise does at each tick, with the noise integrated over: closed forms, on a grid of levels.

An attempt waits for its *level* l = threshold + base - reset noise: it sees the threshold at tick t if w(t) plus the
noise of the comparator is l or more. Of an attempt, its level is all that matters from then on: the value digitised is
w(t + hold) - l + threshold plus noise. So all attempts of a pixel, whenever they began, live on one grid of levels,
whose step resolves both the reset noise and that of the comparator.

Only a window of this grid is alive: what lies `REACH` widths below the highest charge so far has fired, and nothing
lies higher than a threshold and `REACH` widths above it. The window moves up with the charge, as a ring: place j
of the ring holds the level of the window whose number is j, modulo their count. So arrays keep their shape, and a level
keeps its place, until the window leaves it.

With a = w(t) - l, z = w(t + hold) - l, the widths s_u of the uncorrelated noise (u) and s of all that the comparator
sees, k = Phi(z / s) and its slope k':

    fires            f = Phi(a / s)
    is kept          k
    mean of z + u    z k + s_u^2 k'                                  where it is kept, times the probability of that
    of its square    (z^2 + s_u^2) k + s_u^2 (2 - s_u^2 / s^2) z k'

Charges in electrons. Axes: (tick, pixel, level) of arrays of the grid, (tick, pixel, outcome) of those of `OUTCOMES`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend.operations import bell, computed_once, erfc, floor, to_real
from ..detector import Electronics
from .noise import Widths

REACH = 5.0  # widths of noise that are followed: beyond lie 3e-7 at each end
STEPS = 3.0, 0.5  # steps to a width of the reset noise; widths of the comparator's noise to a step, at most
FAINT = 4.5  # where erfc is held (1e-10 there): denormal numbers would slow everything that follows a hundredfold
VECTOR = 8  # numbers that a processor takes at once: loops over multiples of them are the fastest
OUTCOMES = 4  # kept, failed, charge above the threshold where kept, and its square


class Grid(NamedTuple):
    """How many levels there are."""

    levels: int  # of the ring
    resets: int  # levels of attempts that begin together

    @classmethod
    def of(cls, electronics: Electronics) -> Grid:
        """Enough for all modules, and for thresholds up to that of the electronics."""
        settings = electronics
        widths = Widths(settings.reset_noise, settings.uncorrelated_noise, settings.discriminator_noise)
        reset, comparator = np.asarray(widths.reset), np.hypot(widths.uncorrelated, widths.discriminator)
        step = np.minimum(reset / STEPS[0], comparator * STEPS[1])
        threshold = np.asarray(settings.threshold)
        below = np.maximum(REACH * comparator, REACH * reset - threshold)
        levels = np.ceil(((below + threshold + REACH * reset) / step + 2) / VECTOR) * VECTOR
        resets = np.ceil(2.0 * REACH * reset / step / VECTOR) * VECTOR
        return cls(int(levels.max()), int(resets.max()))


class Chip(NamedTuple):
    """What decides about the charge of each pixel. Axis: (pixel,)."""

    threshold: Any
    reset: Any  # width of the reset noise
    uncorrelated: Any  # of that on the digitised value
    comparator: Any  # of all noise that the comparator sees
    step: Any  # of the grid of levels

    @classmethod
    def of(cls, threshold: Any, widths: Widths) -> Chip:
        """From a threshold that may be infinite."""
        comparator = ep.sqrt(widths.uncorrelated * widths.uncorrelated + widths.discriminator * widths.discriminator)
        step = ep.minimum(widths.reset / STEPS[0], comparator * STEPS[1])
        return cls(ep.minimum(threshold, 1e9), widths.reset, widths.uncorrelated, comparator, step)

    @property
    def below(self) -> Any:
        """How far below the highest charge so far the window of levels begins."""
        return ep.maximum(REACH * self.comparator, REACH * self.reset - self.threshold)

    @property
    def silent(self) -> Any:
        """Charge below which the threshold is never seen: 1e-9 at each tick."""
        return self.threshold - 6.0 * ep.sqrt(self.reset * self.reset + self.comparator * self.comparator)


class Ticks(NamedTuple):
    """The waveform as the chip reads it from each tick on, electrons. Axes: (..., tick, pixel)."""

    now: Any  # at the comparator
    stop: Any  # at the end of integration, if it fires now
    after: Any  # at the last reset of an attempt that comes alive now, after a hit
    again: Any  # after a failed attempt
    low: Any  # number of the lowest level of the window
    low_next: Any  # the same at the next tick
    live: Any  # 1 while the comparator is alive, else 0


class Tables(NamedTuple):
    """What happens at each tick, per attempt."""

    seen: Any  # (tick, pixel, outcome, level) outcomes of one at this level
    stay: Any  # (tick, pixel, level) whether it stays alive
    after: Any  # (tick, pixel, level) where those begin that come alive after a hit
    again: Any  # the same after a failed attempt
    at_once: Any  # (tick, pixel, outcome) outcomes of one that comes alive after a hit, at this very tick


class Slopes(NamedTuple):
    """How the tables move with the waveform; axes as there."""

    seen_now: Any  # `seen` by `now`
    seen_stop: Any  # `seen` by `stop`
    stay_now: Any
    after: Any  # `after` by the charge at the reset
    again: Any
    at_once_now: Any
    at_once_stop: Any  # by the charge at the reset it moves with minus the sum of these two


def tables_of(ticks: Ticks, chip: Chip, grid: Grid) -> Tables:
    """The tables of some ticks."""
    number, same = ring_of(ticks, grid)
    level = number * ep.expand_dims(chip.step, 1)
    now, stop, after, again, live = _columns(ticks)
    fire = computed_once((fires(now - level, chip) * live,))[0]
    after_hit, after_failure = (density(level - base, chip) for base in (after, again))
    base, weight = _begins(after, chip, grid)
    at_once = outcomes(fires(now - base, chip) * live * weight, stop - base, chip)
    seen = ep.stack(outcomes(fire, stop - level, chip), axis=2)
    return computed_once(Tables(seen, (1.0 - fire) * same, after_hit, after_failure, _sums(at_once)))


def slopes_of(ticks: Ticks, chip: Chip, grid: Grid) -> Slopes:
    """How they move."""
    number, same = ring_of(ticks, grid)
    level = number * ep.expand_dims(chip.step, 1)
    now, stop, after, again, live = _columns(ticks)
    fire, slope = computed_once((fires(now - level, chip) * live, firing_slope(now - level, chip) * live))
    seen_now = ep.stack(outcomes(slope, stop - level, chip), axis=2)
    seen_stop = ep.stack(outcome_slopes(fire, stop - level, chip), axis=2)
    after_hit, after_failure = (density_slope(level - base, chip) for base in (after, again))
    base, weight = _begins(after, chip, grid)
    weight = weight * live
    at_once_now = outcomes(firing_slope(now - base, chip) * weight, stop - base, chip)
    at_once_stop = outcome_slopes(fires(now - base, chip) * weight, stop - base, chip)
    begins = after_hit, after_failure
    return computed_once(
        Slopes(seen_now, seen_stop, -1.0 * slope * same, *begins, _sums(at_once_now), _sums(at_once_stop))
    )


def _columns(ticks: Ticks) -> tuple[Any, ...]:
    """What the chip reads, and whether it is alive, with an axis for levels."""
    return tuple(ep.expand_dims(each, 2) for each in (*ticks[:4], ticks.live))


def _begins(base: Any, chip: Chip, grid: Grid) -> tuple[Any, Any]:
    """Levels of attempts that begin with the same base, and their probability: the trapezoidal rule.

    Axes: (tick, pixel, reset), (pixel, reset).
    """
    steps = to_real(ep.arange(chip.step, grid.resets), chip.step) - 0.5 * (grid.resets - 1)
    reset = steps * ep.expand_dims(chip.step, 1)
    return base + ep.expand_dims(chip.threshold, 1) - reset, _bell(reset, chip.reset) * ep.expand_dims(chip.step, 1)


def _sums(columns: list[Any]) -> Any:
    """Sums over levels, as the last axis."""
    return ep.stack([column.sum(axis=-1) for column in computed_once(tuple(columns))], axis=-1)


def lowest_levels(highest: Any, chip: Chip) -> Any:
    """Number of the lowest level of the window, by the highest charge so far (pixel, tick)."""
    return floor((highest - ep.expand_dims(chip.below, 1)) / ep.expand_dims(chip.step, 1))


def ring_of(ticks: Ticks, grid: Grid) -> tuple[Any, Any]:
    """The number of the level at each place of the ring, and 1 where it is the same at the next tick, else 0."""
    place = to_real(ep.arange(ticks.now, grid.levels), ticks.now)

    def numbers(low: Any) -> Any:
        # the half: a quotient that is whole must not be rounded down
        return place - grid.levels * floor((place - ep.expand_dims(low, 2) + 0.5) / grid.levels)

    number = numbers(ticks.low)
    return number, to_real(number == numbers(ticks.low_next), number)


def density(distance: Any, chip: Chip) -> Any:
    """Share of the attempts that begin together at each level; `distance` is from their base to the level."""
    return _bell(distance - ep.expand_dims(chip.threshold, 1), chip.reset) * ep.expand_dims(chip.step, 1)


def density_slope(distance: Any, chip: Chip) -> Any:
    """How it moves with the base."""
    away = (distance - ep.expand_dims(chip.threshold, 1)) / ep.expand_dims(chip.reset * chip.reset, 1)
    return density(distance, chip) * away


def fires(above: Any, chip: Chip) -> Any:
    """Probability that the comparator fires; `above` is from the level to the charge."""
    return _normal(above / ep.expand_dims(chip.comparator, 1))


def firing_slope(above: Any, chip: Chip) -> Any:
    """How it moves with the charge, 1/electrons."""
    return _bell(above, chip.comparator)


def outcomes(weight: Any, z: Any, chip: Chip) -> list[Any]:
    """Of so many attempts that fired, by charge at the end of integration over the level, `z` (tick, pixel, level)."""
    s2 = ep.expand_dims(chip.uncorrelated * chip.uncorrelated, 1)
    rest = 2.0 - s2 / ep.expand_dims(chip.comparator * chip.comparator, 1)
    kept, slope = computed_once((weight * fires(z, chip), weight * firing_slope(z, chip) * s2))
    return [kept, weight - kept, z * kept + slope, (z * z + s2) * kept + rest * z * slope]


def outcome_slopes(weight: Any, z: Any, chip: Chip) -> list[Any]:
    """How they move with `z`."""
    s2, all2 = (ep.expand_dims(width * width, 1) for width in (chip.uncorrelated, chip.comparator))
    rest = 2.0 - s2 / all2
    kept, slope = computed_once((weight * fires(z, chip), weight * firing_slope(z, chip)))
    charge = kept + (rest - 1.0) * z * slope
    square = 2.0 * z * kept + (z * z + s2 + rest * s2 * (1.0 - z * z / all2)) * slope
    return [slope, -1.0 * slope, charge, square]


def _normal(x: Any) -> Any:
    """The normal distribution function."""
    return 0.5 * erfc(ep.minimum(x * -math.sqrt(0.5), FAINT))


def _bell(x: Any, width: Any) -> Any:
    """The normal density of some `width` (pixel,)."""
    scale = math.sqrt(0.5) / width
    return bell(x * ep.expand_dims(scale, 1)) * ep.expand_dims(scale / math.sqrt(math.pi), 1)
