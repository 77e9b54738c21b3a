"""The probability of what one pixel records, attempt by attempt and tick by tick: the recursion as it is written down.

An attempt begins with a base charge and a first live tick. With the reset noise r on the pixel, its comparator stays
below the threshold, tick by tick, until it fires; then the charge `hold` ticks later is digitised, and kept or not. An
attempt that is not kept is followed by another one. Everything is summed over a grid of r.

All of it is analytic in charges and settings. So these may be complex numbers: with an imaginary step i h, h tiny, the
imaginary part of the result over h is its derivative, exact to rounding.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

FAR = 9.0  # widths: beyond them what is digitised has no probability
Word = tuple[Any, Any]  # the charges that are digitised to it, from low to high


class Chip(NamedTuple):
    """Threshold and widths of the noise, electrons; ticks of the cycle, and the most hits."""

    threshold: Any
    reset: Any
    uncorrelated: Any
    discriminator: Any
    hold: int
    dead: int  # ticks of the reset
    busy: int
    hits: int


class Pixel:
    """A waveform (tick,), the tick at which its comparator dies, and the grid of the reset noise."""

    def __init__(self, charge: np.ndarray, until: int, chip: Chip, nodes: np.ndarray, weights: np.ndarray) -> None:
        self.charge, self.until, self.chip, self.weights = charge, until, chip, weights
        self.r = chip.reset * nodes
        self.comparator = np.sqrt(chip.uncorrelated**2 + chip.discriminator**2)
        self.silence = cache(self._silence)
        self.hit = cache(self._hit)

    def log_probability(self, hits: list[tuple[int, Word]]) -> Any:
        """Of these hits (tick, word), in order, and of no other."""
        chip, total, base, first = self.chip, 0.0, -1, 0
        for tick, word in hits:
            total = total + np.log(self.hit(first, base, tick, word))
            base = tick + chip.hold + chip.dead
            first = base + max(chip.busy, 1)
        if len(hits) < chip.hits:
            total = total + np.log(self.silence(first, base))
        return total

    def at(self, tick: Any) -> Any:
        """The charge: zero before the window, its last value after it."""
        return np.append(0.0, self.charge)[np.clip(tick + 1, 0, len(self.charge))]

    def _attempt(self, first: int, base: int, stop: int) -> tuple[Any, Any, Any]:
        """Of an attempt with each r, at ticks from `first` to before `stop`: the weight of r times the probability that
        the comparator has not fired before, also before `stop`; that it fires; the charge at the end of integration.
        Axes: (tick, node).
        """
        ticks = np.arange(first, max(stop, first))
        seen, stopped = (self.at(ticks + wait)[:, None] - self.at(base) + self.r for wait in (0, self.chip.hold))
        x = (seen - self.chip.threshold) / self.comparator
        return np.cumprod(np.concatenate([self.weights[None, :], ndtr(-x)]), axis=0), ndtr(x), stopped

    def _failures(self, first: int, base: int, stop: int) -> Any:
        """The probability that an attempt ends at a tick before `stop` without a hit, for each tick."""
        live, fires, stopped = self._attempt(first, base, stop)
        return (live[:-1] * fires * ndtr((self.chip.threshold - stopped) / self.comparator)).sum(axis=1)

    def _silence(self, first: int, base: int) -> Any:
        """That no hit comes any more."""
        total = self._attempt(first, base, self.until)[0][-1].sum()
        restart = self.chip.hold + self.chip.dead
        for tick, lost in enumerate(self._failures(first, base, self.until), start=first):
            total += lost * self.silence(tick + restart + 1, tick + restart)
        return total

    def _hit(self, first: int, base: int, tick: int, word: Word) -> Any:
        """That the next hit comes at `tick` with this word."""
        live, fires, stopped = self._attempt(first, base, tick + 1)
        total = (live[-2] * fires[-1] * self._kept(stopped[-1], word)).sum()
        restart = self.chip.hold + self.chip.dead
        for failed, lost in enumerate(self._failures(first, base, tick - restart), start=first):
            total += lost * self.hit(failed + restart + 1, failed + restart, tick, word)
        return total

    def _kept(self, charge: Any, word: Word) -> Any:
        """That a charge is digitised to this word, and is above the threshold of the discriminator, for each r."""
        chip, u = self.chip, self.chip.uncorrelated
        low = np.where(np.real(word[0] - charge) > -FAR * np.real(u), word[0], charge - FAR * u)
        high = np.where(np.real(word[1] - charge) < FAR * np.real(u), word[1], charge + FAR * u)
        if not chip.discriminator:
            low = np.where(np.real(low) > np.real(chip.threshold), low, chip.threshold)
            return np.where(np.real(high) > np.real(low), ndtr((high - charge) / u) - ndtr((low - charge) / u), 0.0)
        half = 0.5 * np.where(np.real(high) > np.real(low), high - low, 0.0)[:, None]
        points, weights = np.polynomial.legendre.leggauss(60)
        q = low[:, None] + half * (points + 1.0)
        density = np.exp(-0.5 * ((q - charge[:, None]) / u) ** 2) / (np.sqrt(2.0 * np.pi) * u)
        return (half * weights * density * ndtr((q - chip.threshold) / chip.discriminator)).sum(axis=1)


def normal_grid(count: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """So many nodes within +- reach widths, and the weights of the trapezoid."""
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


STEP = 1e-20  # imaginary: no digits are lost


def slope(function: Any, given: Any, steps: Any) -> float:
    """The derivative of a real function of several arguments, which are moved by these steps."""
    moved = (value + 1j * STEP * np.asarray(step) for value, step in zip(given, steps, strict=True))
    return float(function(*moved).imag / STEP)
