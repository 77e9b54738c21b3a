"""Around the likelihood: recorded hits, pixel by pixel, beside the signals of a simulation; and the way back to them.

Axes: (pixel,), (pixel, hit), (pixel, tick). Ticks count from the reference time of a pixel's burst of deposits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend import Backend
from ..backend.operations import Derived, add_windows, take
from ..charge import Signal
from ..data.batch import Member, Pixels
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


def known_signals(signals: list[Signal], members: tuple[Member, ...], backend: Backend) -> Known:
    """The pixels of some chunks, one after the other, without padding; the shorter signals stay as they end."""
    parts = [_known_signal(*pair, backend) for pair in zip(signals, members, strict=True)]
    columns = max(part.charge.shape[1] for part in parts)
    charge = [np.pad(part.charge, ((0, 0), (0, columns - part.charge.shape[1])), mode="edge") for part in parts]
    start, end = (np.concatenate(column) for column in list(zip(*parts, strict=True))[1:])
    return Known(np.concatenate(charge), start, end)


def _known_signal(signal: Signal, member: Member, backend: Backend) -> Known:
    """The pixels of a chunk; the shorter signals stay as they end."""
    charge = backend.known(signal.charge)
    index = _index(member, charge.shape[1])
    start, end = (backend.known(each)[member.slot].astype(np.int64) for each in (signal.start, signal.end))
    return Known(charge.ravel()[index].astype(np.float64), start, end)


def _index(member: Member, length: int) -> np.ndarray:
    """Where each tick of the pixels is in the waveforms of a chunk. Axes: (pixel, tick)."""
    first, ticks = (each[member.slot, None] for each in (member.blocks.first, member.blocks.ticks))
    return first * length + np.minimum(np.arange(ticks.max()), ticks - 1)


def likelihood_of(known: Known, r: Recorded, cycle: Cycle, backend: Backend) -> Likelihood:
    """How likely it is that the pixels recorded just this; no derivative passes through."""
    seen = Seen(known.charge, known.end, r.live, r.count, r.tick - known.start[:, None], r.low, r.high)
    noise = Noise(r.threshold, r.reset, r.uncorrelated, r.discriminator)
    with backend.underived():
        return likelihood(seen, noise, cycle, backend)


def log_probabilities(
    signal: Signal, member: Member, chips: Any, found: Likelihood, recorded: Recorded, backend: Backend
) -> Any:
    """What was found of the pixels of a chunk, native: it carries the gradient by the signal. Axis: as in the chunk.

    And by what stands behind the pixels, `chips` (pixel, parameter) as `tuned`, unless that is None.
    """
    blocks, (count, length) = member.blocks, signal.charge.shape
    index = _index(member, length)
    slope = np.bincount(index.ravel(), found.charge[:, : index.shape[1]].ravel(), count * length)
    slope[index[:, -1]] += found.charge[:, index.shape[1] :].sum(axis=1)  # what was read after its end is its end
    value = np.zeros(len(blocks.first))
    value[member.slot] = found.value
    known = blocks.pixel.astype(np.int32), value, slope.reshape(count, length)
    if chips is None:
        return backend.derived(_BY_CHARGE, signal.charge, *known)
    by_chips = np.zeros((len(value), len(ELECTRONIC)))
    by_chips[member.slot] = _by_chips(found, recorded)
    return backend.derived(_BY_BOTH, signal.charge, chips, *known, by_chips)


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


# A value that is known, with its known derivative by the waveforms; `owner` is the pixel of each block. And the same
# with that by what stands behind the pixels.


def _value(charge: Any, owner: Any, value: Any, slope: Any) -> tuple[Any, tuple]:
    return value + 0.0, ()  # a copy: PyTorch does not take what comes in for what comes out


def _value_of_both(charge: Any, chips: Any, owner: Any, value: Any, *slopes: Any) -> tuple[Any, tuple]:
    return value + 0.0, ()


def _by_charge_jvp(tensors: tuple, _: tuple, step: Any) -> Any:
    _, owner, value, slope = tensors
    moved = (ep.expand_dims(slope, 0) * step).sum(axis=2).transpose((1, 0))
    return add_windows(ep.expand_dims(moved, 1), owner, value.shape[0]).transpose((1, 0))


def _by_charge_vjp(tensors: tuple, _: tuple, by_value: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    _, owner, _, slope = tensors
    return (ep.expand_dims(take(by_value, owner), 1) * slope if wanted[0] else None,)


def _by_both_jvp(tensors: tuple, kept: tuple, step: Any, chips: Any) -> Any:
    charge, _, owner, value, slope, by_chips = tensors
    moved = None if step is None else _by_charge_jvp((charge, owner, value, slope), kept, step)
    if chips is None:
        return moved
    by_chip = (ep.expand_dims(by_chips, 0) * chips).sum(axis=2)
    return by_chip if moved is None else moved + by_chip


def _by_both_vjp(tensors: tuple, kept: tuple, by_value: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    charge, _, owner, value, slope, by_chips = tensors
    by_charge = _by_charge_vjp((charge, owner, value, slope), kept, by_value, wanted)
    return *by_charge, ep.expand_dims(by_value, 1) * by_chips if wanted[1] else None


_BY_CHARGE = Derived(_value, _by_charge_jvp, _by_charge_vjp, movers=1)
_BY_BOTH = Derived(_value_of_both, _by_both_jvp, _by_both_vjp, movers=2)
