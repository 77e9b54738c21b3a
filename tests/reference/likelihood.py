"""The probability of what one pixel records, attempt by attempt and tick by tick: the recursion as it is written down.

An attempt begins with a base charge and a first live tick. With the reset noise r on the pixel, its comparator stays
below the threshold, tick by tick, until it fires; then the charge `hold` ticks later is digitised, and kept or not. An
attempt that is not kept is followed by another one. Everything is summed over a grid of r.
"""

from __future__ import annotations

from functools import cache
from math import inf
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

from larndsim.detector import Electronics


class Pixel:
    """A waveform (tick,), the tick at which its comparator dies, and the grid of the reset noise."""

    def __init__(self, charge: np.ndarray, until: int, e: Electronics, nodes: np.ndarray, weights: np.ndarray) -> None:
        self.charge, self.until, self.e = np.asarray(charge, dtype=float), until, e
        self.r, self.weights = e.reset_noise * nodes, weights
        self.comparator = float(np.hypot(e.uncorrelated_noise, e.discriminator_noise))
        self.silence = cache(self._silence)
        self.hit = cache(self._hit)

    def log_probability(self, hits: list[tuple[int, int]]) -> float:
        """Of these hits (tick, ADC word), in order, and of no other."""
        e, total, base, first = self.e, 0.0, -1, 0
        for tick, adc in hits:
            total += float(np.log(self.hit(first, base, tick, adc)))
            base = tick + e.hold_ticks + e.reset_ticks
            first = base + e.busy_ticks
        if len(hits) < e.max_hits:
            total += float(np.log(self.silence(first, base)))
        return total

    def at(self, tick: int) -> float:
        """The charge: zero before the window, its last value after it."""
        return 0.0 if tick < 0 else float(self.charge[min(tick, len(self.charge) - 1)])

    def _survival(self, first: int, base: int, stop: int) -> np.ndarray:
        """That the comparator has not fired before `stop`, for each r; with the weight of r."""
        live = np.ones_like(self.r)
        for tick in range(first, stop):
            live = live * norm.cdf(-self._excess(tick, base))
        return self.weights * live

    def _excess(self, tick: int, base: int) -> np.ndarray:
        """How far the pixel is above the threshold, in widths of the comparator's noise, for each r."""
        return (self.at(tick) - self.at(base) + self.r - self.e.threshold) / self.comparator

    def _stopped(self, tick: int, base: int) -> np.ndarray:
        """The charge at the end of integration, for each r."""
        return self.at(tick + self.e.hold_ticks) - self.at(base) + self.r

    def _failures(self, first: int, base: int, stop: int) -> list[tuple[int, float]]:
        """Ticks, and the probability that the attempt ends there without a hit."""
        found, live = [], self.weights.copy()
        for tick in range(first, stop):
            x = self._excess(tick, base)
            lost = ndtr((self.e.threshold - self._stopped(tick, base)) / self.comparator)
            found.append((tick, float((live * norm.cdf(x) * lost).sum())))
            live = live * norm.cdf(-x)
        return found

    def _silence(self, first: int, base: int) -> float:
        """That no hit comes any more."""
        total = float(self._survival(first, base, self.until).sum())
        restart = self.e.hold_ticks + self.e.reset_ticks
        for tick, lost in self._failures(first, base, self.until):
            total += lost * self.silence(tick + restart + 1, tick + restart)
        return total

    def _hit(self, first: int, base: int, tick: int, adc: int) -> float:
        """That the next hit comes at `tick` with this word."""
        live = self._survival(first, base, tick) * norm.cdf(self._excess(tick, base))
        total = float(sum(live * [self._kept(m, adc) for m in self._stopped(tick, base)]))
        restart = self.e.hold_ticks + self.e.reset_ticks
        for failed, lost in self._failures(first, base, tick):
            if failed + restart + 1 <= tick:
                total += lost * self.hit(failed + restart + 1, failed + restart, tick, adc)
        return total

    def _kept(self, charge: float, adc: int) -> float:
        """That a charge is digitised to this word, and is above the threshold of the discriminator."""
        e, (low, high) = self.e, cell(adc, self.e)
        u = e.uncorrelated_noise
        if e.discriminator_noise == 0.0:
            low = max(low, e.threshold)
            return max(float(ndtr((high - charge) / u) - ndtr((low - charge) / u)), 0.0)
        low, high = max(low, charge - 12 * u), min(high, charge + 12 * u)
        if high <= low:
            return 0.0
        points, weights = np.polynomial.legendre.leggauss(200)
        q = low + 0.5 * (high - low) * (points + 1.0)
        density = norm.pdf(q, charge, u) * ndtr((q - e.threshold) / e.discriminator_noise)
        return float(0.5 * (high - low) * (weights * density).sum())


def cell(adc: int, e: Electronics) -> tuple[float, float]:
    """The charges that are digitised to a word."""

    def charge(count: float) -> float:
        return (count * (e.v_ref - e.v_cm) / e.adc_counts + e.v_cm - e.v_pedestal) / e.gain

    shift = 0.5 if getattr(e, "digitisation", "round") == "round" else 0.0
    low = -inf if adc == 0 else charge(adc - shift)
    return low, inf if adc == e.adc_counts - 1 else charge(adc + 1 - shift)


def normal_grid(count: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """So many nodes within +- reach widths, and the weights of the trapezoid."""
    nodes = np.linspace(-reach, reach, count)
    return nodes, norm.pdf(nodes) * (nodes[1] - nodes[0])


def outcomes(pixel: Pixel, most: int, words: Any) -> float:
    """The probabilities of all that may be recorded with `most` hits or fewer, added up."""

    def following(first: int, base: int, left: int) -> float:
        total = pixel.silence(first, base)
        if not left:
            return total
        for tick in range(first, pixel.until):
            p = sum(pixel.hit(first, base, tick, adc) for adc in words)
            if p > 1e-12:
                stop = tick + pixel.e.hold_ticks + pixel.e.reset_ticks
                total += p * following(stop + pixel.e.busy_ticks, stop, left - 1)
        return total

    return following(0, -1, most)
