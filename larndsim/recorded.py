"""Around the likelihood: recorded hits, pixel by pixel, beside the signals of a simulation; and the way back to them.

Axes: (pixel,), (pixel, hit), (pixel, tick). Ticks count from the reference time of a pixel's burst of deposits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from .backend import Backend
from .backend.operations import Derived, with_derivative
from .charge import Signal
from .data.batch import Pixels
from .detector import Channel, Detector, adc_cell
from .errors import ArgumentError
from .likelihood import Likelihood, likelihood
from .recording import channels_of, widths_of
from .renewal import Noise, Seen
from .triggering import Cycle

IDENTITY = ("event", "plane", "ix", "iy")


class Recorded(NamedTuple):
    """What some pixels recorded, and what stands behind them. Made by `recorded_of` for the pixels of a batch."""

    count: np.ndarray  # type: ignore[assignment]  # (pixel,) hits
    tick: np.ndarray  # (pixel, hit) whole ticks
    low: np.ndarray  # (pixel, hit) electrons, the charges that are digitised to the recorded words
    high: np.ndarray
    live: np.ndarray  # (pixel,) false where the channel is off
    threshold: np.ndarray  # (pixel,) electrons, as the widths of the noise
    reset: np.ndarray
    uncorrelated: np.ndarray
    discriminator: np.ndarray

    def rows(self, first: int, count: int) -> Recorded:
        """Of some pixels."""
        return Recorded(*(values[first : first + count] for values in self))


def recorded_of(hits: np.ndarray, pixels: Pixels, maps: Channel, detector: Detector) -> Recorded:
    """Hits (HIT_FIELDS), whole ticks and ADC words, of the given pixels; hits of other pixels are left out."""
    e = detector.electronics
    hits = hits[np.lexsort([hits[name] for name in ("order", *reversed(IDENTITY))])]
    burst, number = np.divmod(hits["order"].astype(np.int64), e.max_hits)
    row = _rows(np.stack([*(hits[name] for name in IDENTITY), burst]), np.stack([*pixels[:4], pixels.burst]))
    known = row >= 0
    hits, row, number = hits[known], row[known], number[known]
    _check_whole(hits)
    channel = channels_of(maps, pixels)
    size = len(pixels.ix)
    count = np.bincount(row, minlength=size)
    tick = np.zeros((size, e.max_hits), dtype=np.int64)
    tick[row, number] = np.rint(hits["tick"]).astype(np.int64) - pixels.reference[row]
    low, high = np.zeros((2, size, e.max_hits))
    own = Channel(*(values[row] for values in channel))
    low[row, number], high[row, number] = adc_cell(hits["adc"], own, e)
    noise = widths_of(pixels, detector)
    if not (noise.uncorrelated > 0.0).all():
        raise ArgumentError("uncorrelated_noise", "be greater than 0 for a likelihood", "it is 0 in some pixels")
    return Recorded(count, tick, low, high, channel.live > 0.0, channel.threshold, *noise)


def _check_whole(hits: np.ndarray) -> None:
    """Refuse what no clock counts."""
    wrong = hits["tick"] != np.rint(hits["tick"])
    if wrong.any():
        but = f"{wrong.sum()} of {len(hits)} are not, the first of them {hits['tick'][wrong][0]:.12g}"
        raise ArgumentError("hits", "have whole ticks for a likelihood", but, "Simulate them with `clocked`.")


def _rows(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The column of `known` that each column of `wanted` is equal to, or -1. Axes: (identifier, ...) -> (wanted,)."""
    both = np.concatenate([known, wanted.astype(known.dtype)], axis=1)
    identity = np.unique(both, axis=1, return_inverse=True)[1].ravel()
    row = np.full(identity.max(initial=-1) + 1, -1)
    row[identity[: known.shape[1]]] = np.arange(known.shape[1])
    return row[identity[known.shape[1] :]]


def log_probabilities(signal: Signal, recorded: Recorded, cycle: Cycle, backend: Backend) -> Any:
    """The logarithm of the probability of what each pixel recorded; native, it carries the gradient by the signal."""
    charge, start, until = map(backend.known, (signal.charge, signal.start, signal.end))
    with backend.underived():
        found = _found(charge, start, until, recorded, cycle, backend)
    rows, size = charge.shape[0], len(recorded.count)
    value, slope = np.zeros(rows), np.zeros(charge.shape)
    value[:size], slope[:size] = found.value, found.charge
    return backend.compile(_attached, (0,))(signal.charge, *backend.put((value, slope)))


def _found(
    charge: np.ndarray, start: np.ndarray, until: np.ndarray, r: Recorded, cycle: Cycle, backend: Backend
) -> Likelihood:
    size = len(r.count)
    column = r.tick - start[:size].astype(np.int64)[:, None]
    seen = Seen(charge[:size].astype(float), until[:size].astype(int), r.live, r.count, column, r.low, r.high)
    return likelihood(seen, Noise(r.threshold, r.reset, r.uncorrelated, r.discriminator), cycle, backend)


def _attached(charge: Any, value: Any, slope: Any) -> Any:
    """A value that is known, with its known derivative by the waveforms."""
    return with_derivative(_KNOWN, charge, value, slope)


def _value(charge: Any, value: Any, slope: Any) -> tuple[Any, tuple]:
    return value + 0.0, ()  # a copy: PyTorch does not take what comes in for what comes out


def _push(tensors: tuple, _: tuple, step: Any) -> Any:
    return (ep.expand_dims(tensors[2], 0) * step).sum(axis=2)


def _pull(tensors: tuple, _: tuple, by_value: Any, __: tuple) -> tuple[Any]:
    return (ep.expand_dims(by_value, 1) * tensors[2],)


_KNOWN = Derived(_value, _push, _pull, movers=1)
