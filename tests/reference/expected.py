"""The hits of one pixel on average over all noise: every attempt by itself, from every tick, for every reset noise."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from larndsim.detector import Electronics

FINE = 10  # steps to a width of the reset noise
FAR = 6.0  # widths
LEAST = 1e-10  # attempts that are less probable are left out


def hits(charge: np.ndarray, end: float, electronics: Electronics) -> np.ndarray:
    """Probability, mean tick, mean charge and the spreads of both, of each hit of a pixel. Axes: (order, 5).

    `charge` (tick,) is cumulative; the comparator is alive at ticks before `end`.
    """
    e, ticks = electronics, len(charge)
    held = np.append(charge, np.full(e.hold_ticks + e.reset_ticks + e.busy_ticks + 2, charge[-1]))
    begin = np.zeros((ticks + len(held), e.max_hits + 1, 2))  # probability to begin, after a hit or after a failure
    begin[0, 0, 0] = 1.0
    sums = np.zeros((e.max_hits, 5))
    for first in range(int(np.ceil(min(end, ticks)))):
        for kind, wait in enumerate((max(e.busy_ticks, 1), 1)):
            base = held[first - wait] if first else 0.0
            if begin[first, : e.max_hits, kind].max() > LEAST:
                time = np.arange(first, int(np.ceil(min(end, ticks))))
                one = attempt(held, base, time, e)
                then = time + e.hold_ticks + e.reset_ticks
                for order in range(e.max_hits):
                    seen = begin[first, order, kind] * one
                    begin[then + max(e.busy_ticks, 1), order + 1, 0] += seen[0]
                    begin[then + 1, order, 1] += seen[1]
                    sums[order] += [
                        seen[0].sum(), (time * seen[0]).sum(), seen[2].sum(), (time**2 * seen[0]).sum(), seen[3].sum()
                    ]  # fmt: skip
    probability = np.maximum(sums[:, :1], 1e-300)
    tick, charge_, tick2, charge2 = (sums[:, 1:] / probability).T
    spreads = np.sqrt(np.maximum(tick2 - tick**2, 0)), np.sqrt(np.maximum(charge2 - charge_**2, 0))
    return np.stack([sums[:, 0], tick, charge_, *spreads], axis=1)


def attempt(held: np.ndarray, base: float, time: np.ndarray, e: Electronics) -> np.ndarray:
    """Of an attempt that is alive from the first of some ticks on, at each of them: the probability of a hit and of a
    failure, and with that of a hit its mean charge and the mean of the square of it. Axes: (4, tick)."""
    reset = e.reset_noise * np.arange(-FAR * FINE, FAR * FINE + 1) / FINE
    weight = norm.pdf(reset, scale=e.reset_noise) * e.reset_noise / FINE
    comparator = np.hypot(e.uncorrelated_noise, e.discriminator_noise)
    fires = norm.cdf((held[time, None] - base + reset - e.threshold) / comparator)
    alive = np.cumprod(np.concatenate([np.ones((1, len(reset))), 1.0 - fires[:-1]]), axis=0)
    fires = weight * alive * fires
    mean = held[time + e.hold_ticks, None] - base + reset
    kept, charge, square = digitised(mean, e)
    return np.stack([(fires * column).sum(axis=1) for column in (kept, 1.0 - kept, charge, square)])


def digitised(mean: np.ndarray, e: Electronics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability to be kept of a value with this mean, and with it the means of the value and of its square.

    The value is `mean` + u, kept where u - d is at least threshold - mean: so u = c (u - d) + a rest of its own.
    """
    width = np.hypot(e.uncorrelated_noise, e.discriminator_noise)
    share = e.uncorrelated_noise**2 / width**2  # c
    rest = e.uncorrelated_noise**2 * (1.0 - share)  # its variance
    low = (e.threshold - mean) / width
    kept = norm.sf(low)
    first, second = norm.pdf(low) * width, (kept + low * norm.pdf(low)) * width**2  # of u - d
    charge = mean * kept + share * first
    return kept, charge, mean**2 * kept + 2 * mean * share * first + share**2 * second + rest * kept
