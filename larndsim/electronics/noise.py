"""Noise of the electronics, drawn outside the core from a stated seed (NumPy).

Each number is a function of the seed, the pixel (event, plane, ix, iy, burst), the kind of noise and its
own place in the row, and of nothing else. So a pixel has the same noise whatever else is simulated with it, on every
backend and in either precision; and more ticks only add numbers at the end of a row.

The function is the output of SplitMix64 (Steele, Lea, Flood 2014) for a state that is a hash of all but the place,
turned into normal numbers in pairs by the transformation of Box and Muller. Charges in electrons.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..detector import Electronics
from ..errors import ArgumentError

ATTEMPTS = 2  # attempts to digitise per possible hit: with noise, some of them fail
STEP = np.uint64(0x9E3779B97F4A7C15)  # by which the state of SplitMix64 goes on
ROWS = 2**17  # numbers drawn at once: few enough for a processor's cache


class Noise(NamedTuple):
    """What is added to the charge of each pixel. Axes: (pixel, attempt), (pixel, tick)."""

    reset: Any  # (pixel, attempt) left on the pixel by the reset before each attempt to digitise
    comparator: Any  # (pixel, tick) what the comparator sees beside the charge
    digitised: Any  # (pixel, attempt) on the digitised value
    discriminator: Any  # (pixel, attempt) on the threshold that the digitised value is compared with


class Widths(NamedTuple):
    """How wide the noise of each pixel is, electrons; for models that integrate it over. Axis: (pixel,)."""

    reset: Any
    uncorrelated: Any
    discriminator: Any


def draw(seed: int, pixels: Any, ticks: int, electronics: Electronics) -> Noise:
    """Noise for `pixels`: anything with integer arrays `event`, `plane`, `ix`, `iy`, `burst` (pixel,); float32.

    The widths are those of `electronics`: numbers, or one per pixel (`Electronics.per_pixel`).
    """
    if not 0 <= seed < 2**63:
        raise ArgumentError("seed", "be a whole number from 0 to 2**63 - 1", f"it is {seed}")
    number = electronics.max_hits * ATTEMPTS
    uncorrelated, discriminator = electronics.uncorrelated_noise, electronics.discriminator_noise
    rows = [
        (electronics.reset_noise, number),
        (np.hypot(uncorrelated, discriminator), ticks),
        (uncorrelated, number),
        (discriminator, number),
    ]
    key = hashed([np.full(len(pixels.ix), seed), pixels.event, pixels.plane, pixels.ix, pixels.iy, pixels.burst])
    return Noise(*(_row(key, kind, width, length) for kind, (width, length) in enumerate(rows)))


def _row(key: np.ndarray, kind: int, width: Any, length: int) -> np.ndarray:
    """Noise of one kind and width. Axes: (pixel, length)."""
    if not np.any(width):
        return np.zeros((len(key), length), dtype=np.float32)
    values = normal(hashed([key, np.full(len(key), kind)]), length)
    values *= np.asarray(width, dtype=np.float32)[..., None]
    return values


def normal(key: np.ndarray, length: int) -> np.ndarray:
    """Normal numbers of mean 0 and width 1, float32: a row per key. Axes: (key, length)."""
    values = np.empty((len(key), length + length % 2), dtype=np.float32)
    step = max(1, ROWS // max(length, 1))
    place = STEP * np.arange(1, values.shape[1] // 2 + 1, dtype=np.uint64)
    for start in range(0, len(key), step):
        rows = slice(start, start + step)
        bits = mixed(key[rows, None] + place)
        radius = np.sqrt(-2.0 * np.log(_uniform(bits >> np.uint64(32))))
        angle = np.float32(2.0 * np.pi) * _uniform(bits & np.uint64(0xFFFFFFFF))
        values[rows, 0::2] = radius * np.cos(angle)
        values[rows, 1::2] = radius * np.sin(angle)
    return values[:, :length]


def hashed(columns: Iterable[np.ndarray]) -> np.ndarray:
    """One well-mixed 64-bit number per row of integer columns; the order of the columns matters."""
    state: Any = np.uint64(0)
    for column in columns:
        state = mixed((state ^ np.asarray(column).astype(np.uint64)) + STEP)
    return state


def mixed(state: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every bit of the state changes half of the bits of the result."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _uniform(bits: np.ndarray) -> np.ndarray:
    """32 random bits -> a number in (0, 1], float32."""
    return (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
