"""A waveform -> hits, as the chip of one pixel does it: tick by tick."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from larndsim.detector import Electronics


class Hit(NamedTuple):
    """One hit: when the comparator saw the threshold, and what was digitised."""

    tick: int
    charge: float
    adc: int


class Noise(NamedTuple):
    """Electrons: one per attempt to digitise, but `comparator`: one per tick."""

    reset: np.ndarray
    comparator: np.ndarray
    digitised: np.ndarray
    discriminator: np.ndarray


def hits(charge: np.ndarray, end: float, electronics: Electronics, noise: Noise | None = None) -> list[Hit]:
    """The hits of one pixel with cumulative `charge` (tick,); its comparator is alive at ticks before `end`.

    Computes in the precision of the charge.
    """
    e = electronics
    noise = without_noise(len(charge), e.max_hits) if noise is None else noise
    recorded: list[Hit] = []
    base = charge.dtype.type(0)
    tick = busy = attempt = 0
    while tick < min(end, len(charge)) and len(recorded) < e.max_hits and attempt < len(noise.reset):
        busy = max(busy - 1, 0)
        held = charge[tick] - base + noise.reset[attempt]
        if busy or held + noise.comparator[tick] < e.threshold:
            tick += 1
            continue
        stop = tick + e.hold_ticks
        value = charge[min(stop, len(charge) - 1)] - base + noise.reset[attempt] + noise.digitised[attempt]
        if value >= e.threshold + noise.discriminator[attempt]:
            recorded.append(Hit(tick, float(value), adc(float(value), e)))
            busy = e.busy_ticks
        restart = stop + e.reset_ticks
        base = charge[min(restart, len(charge) - 1)]
        tick = restart + 1
        attempt += 1
    return recorded


def adc(charge: float, e: Electronics) -> int:
    """What the converter makes of a charge."""
    whole = {"round": round, "floor": math.floor}[e.digitisation]
    count = whole((charge * e.gain + e.v_pedestal - e.v_cm) * e.adc_counts / (e.v_ref - e.v_cm))
    return min(max(count, 0), e.adc_counts - 1)


def without_noise(ticks: int, attempts: int) -> Noise:
    """Nothing is added anywhere."""
    return Noise(*(np.zeros(n, dtype=np.float32) for n in (attempts, ticks, attempts, attempts)))


def random_noise(rng: np.random.Generator, ticks: int, e: Electronics) -> Noise:
    """Noise of one pixel, for twice as many attempts as hits."""
    n: Any = 2 * e.max_hits
    return Noise(
        reset=e.reset_noise * rng.standard_normal(n),
        comparator=e.uncorrelated_noise * rng.standard_normal(ticks)
        + e.discriminator_noise * rng.standard_normal(ticks),
        digitised=e.uncorrelated_noise * rng.standard_normal(n),
        discriminator=e.discriminator_noise * rng.standard_normal(n),
    )
