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
    """What is added to the charge of each pixel. Axes: (pixel, attempt), (block, tick) as the waveforms."""

    reset: Any  # (pixel, attempt) left on the pixel by the reset before each attempt to digitise
    comparator: Any  # (block, tick) what the comparator sees beside the charge
    digitised: Any  # (pixel, attempt) on the digitised value
    discriminator: Any  # (pixel, attempt) on the threshold that the digitised value is compared with


class Widths(NamedTuple):
    """How wide the noise of each pixel is, electrons; for models that integrate it over. Axis: (pixel,)."""

    reset: Any
    uncorrelated: Any
    discriminator: Any


def draw(seed: int, pixels: Any, length: int, electronics: Electronics, blocks: Any = None) -> Noise:
    """Noise for `pixels`: anything with integer arrays `event`, `plane`, `ix`, `iy`, `burst` (pixel,); float32.

    The comparator's has so many ticks for each of `blocks`: `pixel` and `tick` (block,) say whose they are and at which
    even tick they begin; default: one block of each pixel. The widths are those of `electronics`: numbers, or
    one per pixel (`Electronics.per_pixel`).
    """
    if not 0 <= seed < 2**63:
        raise ArgumentError("seed", "be a whole number from 0 to 2**63 - 1", f"it is {seed}")
    number = electronics.max_hits * ATTEMPTS
    uncorrelated, discriminator = electronics.uncorrelated_noise, electronics.discriminator_noise
    key = hashed([np.full(len(pixels.ix), seed), pixels.event, pixels.plane, pixels.ix, pixels.iy, pixels.burst])
    rows = np.arange(len(key)) if blocks is None else np.asarray(blocks.pixel)
    begin = None if blocks is None else np.asarray(blocks.tick)
    comparator = np.broadcast_to(np.hypot(uncorrelated, discriminator), len(key))[rows]
    return Noise(
        _row(key, 0, electronics.reset_noise, number),
        _row(key[rows], 1, comparator, length, begin),
        _row(key, 2, uncorrelated, number),
        _row(key, 3, discriminator, number),
    )


def _row(key: np.ndarray, kind: int, width: Any, length: int, begin: np.ndarray | None = None) -> np.ndarray:
    """Noise of one kind and width. Axes: (key, length)."""
    if not np.any(width):
        return np.zeros((len(key), length), dtype=np.float32)
    values = normal(hashed([key, np.full(len(key), kind)]), length, begin)
    values *= np.asarray(width, dtype=np.float32)[..., None]
    return values


def normal(key: np.ndarray, length: int, begin: np.ndarray | None = None) -> np.ndarray:
    """Normal numbers of mean 0 and width 1, float32: a row per key, from an even place `begin` of it on (default: 0).

    Axes: (key, length).
    """
    values = np.empty((len(key), length + length % 2), dtype=np.float32)
    step = max(1, ROWS // max(length, 1))
    place = STEP * np.arange(1, values.shape[1] // 2 + 1, dtype=np.uint64)
    state = key if begin is None else key + STEP * (np.asarray(begin) // 2).astype(np.uint64)
    for start in range(0, len(key), step):
        rows = slice(start, start + step)
        bits = mixed(state[rows, None] + place)
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
