"""Around the likelihood: recorded hits, pixel by pixel, beside the signals of a simulation; and the way back to them.

Axes: (pixel,), (pixel, hit), (pixel, tick). Ticks count from the reference time of a pixel's burst of deposits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend import Backend
from ..backend.operations import Derived, with_derivative
from ..charge import Signal
from ..data.batch import Pixels
from ..detector import Channel, Detector, Electronics, adc_cell
from ..detector.parameters import ELECTRONIC
from ..electronics.chip import Cycle
from ..electronics.likelihood import Likelihood, likelihood
from ..electronics.noise import Widths
from ..electronics.renewal import Noise, Seen
from ..electronics.tuning import Tuner, tuned, tuned_channel, tuned_widths, tuner_of
from ..errors import ArgumentError
from .recording import channels_of

IDENTITY = ("event", "plane", "ix", "iy")


class Recorded(NamedTuple):
    """What some pixels recorded, and what stands behind them. Made by `recorded_of` for the pixels of a batch."""

    count: np.ndarray  # type: ignore[assignment]  # (pixel,) hits
    tick: np.ndarray  # (pixel, hit) whole ticks
    low: np.ndarray  # (pixel, hit) electrons, the charges that are digitised to the recorded words
    high: np.ndarray
    live: np.ndarray  # (pixel,) false where the channel is off
    gain: np.ndarray  # (pixel,) mV per electron
    threshold: np.ndarray  # (pixel,) electrons, as the widths of the noise
    reset: np.ndarray
    uncorrelated: np.ndarray
    discriminator: np.ndarray

    def rows(self, first: int, count: int) -> Recorded:
        """Of some pixels."""
        return Recorded(*(values[first : first + count] for values in self))


def chips_of(pixels: Pixels, maps: Channel, detector: Detector, settings: Electronics) -> tuple[Channel, Widths]:
    """What stands behind some pixels, where the parameters of the electronics are now those of the `settings`."""
    channel = channels_of(maps, pixels)
    now = tuple(ep.astensor(np.asarray(getattr(settings, key), dtype=np.float64)) for key in ELECTRONIC.values())
    tuner = Tuner(*map(ep.astensor, tuner_of(channel, pixels.plane, detector)))
    values = tuned(now, tuner).numpy()
    return tuned_channel(channel, values), tuned_widths(values)


def recorded_of(hits: np.ndarray, pixels: Pixels, channel: Channel, noise: Widths, e: Electronics) -> Recorded:
    """Hits (HIT_FIELDS), whole ticks and ADC words, of the given pixels; hits of other pixels are left out.

    `channel` and `noise` are what stands behind the pixels.
    """
    hits, row, number = placed(hits, pixels, e)
    size = len(pixels.ix)
    count = np.bincount(row, minlength=size)
    tick = np.zeros((size, e.max_hits), dtype=np.int64)
    tick[row, number] = np.rint(hits["tick"]).astype(np.int64) - pixels.reference[row]
    low, high = np.zeros((2, size, e.max_hits))
    own = Channel(*(values[row] for values in channel))
    low[row, number], high[row, number] = adc_cell(hits["adc"], own, e)
    if not (noise.uncorrelated > 0.0).all():
        raise ArgumentError("uncorrelated_noise", "be greater than 0 for a likelihood", "it is 0 in some pixels")
    return Recorded(count, tick, low, high, channel.live > 0.0, channel.gain, channel.threshold, *noise)


def placed(
    hits: np.ndarray, pixels: Pixels, e: Electronics, argument: str = "hits"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hits of the pixels, the row of the pixel of each, and its number there; or a sentence why they are none."""
    hits = hits[np.lexsort([hits[name] for name in ("order", *reversed(IDENTITY))])]
    burst, number = np.divmod(hits["order"].astype(np.int64), e.max_hits)
    row = _rows(np.stack([*(hits[name] for name in IDENTITY), burst]), np.stack([*pixels[:4], pixels.burst]))
    known = row >= 0
    hits, row, number = hits[known], row[known], number[known]
    _check_whole(hits, argument)
    _check_order(hits, row, number, e, argument)
    wrong = np.abs(hits["tick"] - pixels.reference[row]) > LATEST
    if wrong.any():
        but = f"there is one at tick {hits['tick'][wrong][0]:.12g}"
        raise ArgumentError(argument, f"come within {LATEST} ticks of their deposits", but)
    return hits, row, number


def _check_whole(hits: np.ndarray, argument: str) -> None:
    """Refuse what no clock counts."""
    wrong = hits["tick"] != np.rint(hits["tick"])
    if wrong.any():
        but = f"{wrong.sum()} of {len(hits)} are not, the first of them {hits['tick'][wrong][0]:.12g}"
        raise ArgumentError(argument, "have whole ticks for a likelihood", but, "Simulate them with `clocked`.")


LATEST = 10**6  # ticks after the reference of a burst, 0.1 s: each tick until a hit is looked at


def _check_order(hits: np.ndarray, row: np.ndarray, number: np.ndarray, e: Electronics, argument: str) -> None:
    """Refuse hits that no chip records so: their `order` has to count them, by time, and each needs its dead time."""
    new = np.append(True, row[1:] != row[:-1])[: len(row)]
    first = np.maximum.accumulate(np.where(new, np.arange(len(row)), 0))
    wrong = number != np.arange(len(row)) - first
    if wrong.any():
        but = f"an `order` of {hits['order'][wrong][0]} is not the number of its hit"
        raise ArgumentError(argument, "be all that their pixels recorded, each once, numbered from 0", but)
    dead = e.hold_ticks + e.reset_ticks + max(e.busy_ticks, 1)
    wrong = ~new & (np.diff(hits["tick"], prepend=0.0) < dead)
    if wrong.any():
        but = f"one at tick {hits['tick'][wrong][0]:.12g} does not"
        raise ArgumentError(argument, f"follow each other in a pixel after {dead} ticks at the earliest", but)


def _rows(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The column of `known` that each column of `wanted` is equal to, or -1. Axes: (identifier, ...) -> (wanted,)."""
    both = np.concatenate([known, wanted.astype(known.dtype)], axis=1)
    identity = np.unique(both, axis=1, return_inverse=True)[1].ravel()
    row = np.full(identity.max(initial=-1) + 1, -1)
    row[identity[: known.shape[1]]] = np.arange(known.shape[1])
    return row[identity[known.shape[1] :]]


class Known(NamedTuple):
    """The signals of some pixels as they are now, in NumPy."""

    charge: np.ndarray  # (pixel, tick)
    start: np.ndarray  # (pixel,)
    end: np.ndarray


def known_signals(signals: Sequence[Signal], sizes: Sequence[int], backend: Backend) -> Known:
    """The pixels of some groups, one after the other, without padding; the shorter signals stay as they end."""
    columns = max(signal.charge.shape[1] for signal in signals)
    charge = []
    for signal, size in zip(signals, sizes, strict=True):
        own = backend.known(signal.charge)[:size].astype(np.float64)
        charge.append(np.pad(own, ((0, 0), (0, columns - own.shape[1])), mode="edge"))
    ends = [
        [backend.known(each)[:size].astype(np.int64) for each, size in zip(column, sizes, strict=True)]
        for column in ((signal.start for signal in signals), (signal.end for signal in signals))
    ]
    return Known(np.concatenate(charge), *map(np.concatenate, ends))


def likelihood_of(known: Known, r: Recorded, cycle: Cycle, backend: Backend) -> Likelihood:
    """How likely it is that the pixels recorded just this; no derivative passes through."""
    seen = Seen(known.charge, known.end, r.live, r.count, r.tick - known.start[:, None], r.low, r.high)
    noise = Noise(r.threshold, r.reset, r.uncorrelated, r.discriminator)
    with backend.underived():
        return likelihood(seen, noise, cycle, backend)


def log_probabilities(signal: Signal, chips: Any, found: Likelihood, recorded: Recorded, backend: Backend) -> Any:
    """What was found of the pixels of a group, native: it carries the gradient by the signal.

    And by what stands behind the pixels, `chips` (row, parameter) as `tuned`, unless that is None.
    """
    (rows, columns), size = signal.charge.shape, len(found.value)
    value, slope = np.zeros(rows), np.zeros((rows, columns))
    value[:size], slope[:size] = found.value, found.charge[:, :columns]
    slope[:size, -1] += found.charge[:, columns:].sum(axis=1)  # what was read after its end is its end
    if chips is None:
        return backend.compile(_attached, (0,))(signal.charge, *backend.put((value, slope)))
    by_chips = np.zeros((rows, len(ELECTRONIC)))
    by_chips[:size] = _by_chips(found, recorded)
    both = backend.compile(_attached_to_both, (0, 1))
    return both(signal.charge, chips, *backend.put((value, slope, by_chips)))


def _by_chips(found: Likelihood, r: Recorded) -> np.ndarray:
    """Derivatives by what stands behind each pixel. Axes: (pixel, parameter).

    A charge q where one word ends and the next begins is (counts - pedestal) / gain: it moves with both.
    """
    low, high = (np.where(np.isfinite(q), q, 0.0) for q in (r.low, r.high))  # the ends of the ADC stay open
    by_gain = -(found.low * low + found.high * high).sum(axis=1) / r.gain
    by_pedestal = -(found.low + found.high).sum(axis=1) / r.gain
    by_noise = found.reset, found.uncorrelated, found.discriminator
    columns = dict(zip(ELECTRONIC, (found.threshold, by_gain, by_pedestal, *by_noise), strict=True))
    return np.stack([columns[name] for name in ELECTRONIC], axis=1)


def _attached(charge: Any, value: Any, slope: Any) -> Any:
    """A value that is known, with its known derivative by the waveforms."""
    return with_derivative(_KNOWN[1], charge, value, slope)


def _attached_to_both(charge: Any, chips: Any, value: Any, slope: Any, by_chips: Any) -> Any:
    """The same with that by what stands behind the pixels."""
    return with_derivative(_KNOWN[2], charge, chips, value, slope, by_chips)


def _value(*tensors: Any) -> tuple[Any, tuple]:
    value = tensors[len(tensors) // 2]
    return value + 0.0, ()  # a copy: PyTorch does not take what comes in for what comes out


def _push(tensors: tuple, _: tuple, *steps: Any) -> Any:
    slopes = tensors[len(steps) + 1 :]
    pairs = zip(slopes, steps, strict=True)
    moved = [(ep.expand_dims(slope, 0) * step).sum(axis=2) for slope, step in pairs if step is not None]
    return sum(moved[1:], start=moved[0])


def _pull(tensors: tuple, _: tuple, by_value: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    slopes = tensors[len(wanted) + 1 :]
    pairs = zip(slopes, wanted, strict=True)
    return tuple(ep.expand_dims(by_value, 1) * slope if one else None for slope, one in pairs)


# tensors: so many that move the value, the value, and the slope by each of them
_KNOWN = {movers: Derived(_value, _push, _pull, movers=movers) for movers in (1, 2)}
