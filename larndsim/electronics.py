"""Stage 5, waveforms -> hits: the LArPix chip triggers itself.

The charge of a pixel accumulates from a reset on. When the comparator sees the threshold, integration goes on for
`hold_ticks`; then the charge is digitised and the pixel resets, which takes `reset_ticks`. What it sees from then on
counts for the next hit, but its comparator is dead for `busy_ticks`. A digitised value below the threshold gives no
hit: the pixel resets just so, and nothing keeps it busy.

The models (`MODELS`) are functions of the same arguments:
 - clocked: at whole ticks, as the hardware does it; whole ADC counts. For making data; it has no gradient.
 - relaxed: linear between ticks; the ADC is a real number. Smooth, with an exact gradient. For fits without noise.
 - expected, a place left free: the probability of a hit, its mean charge and time, with the noise integrated over.

All in EagerPy, for all pixels at once: the one loop is over the attempts of a pixel to digitise. There are as many as
a pixel may have hits; with noise, where some fail, as many as there is noise for (twice that).
Ticks count from the start of each pixel's window; charges are in electrons. Axes: (pixel,), (pixel, tick),
(pixel, hit), (attempt, pixel).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from .backend.operations import constant, first_true, floor, rounded, scan, scan_while, take_along, to_integer, to_real
from .detector import Electronics
from .errors import check_choice
from .noise import Noise


class Channel(NamedTuple):
    """The electronics behind each pixel. Axis: (pixel,)."""

    threshold: Any  # electrons
    gain: Any  # mV per electron
    pedestal: Any  # mV, as the next two
    v_cm: Any
    v_ref: Any
    live: Any  # 1, or 0 where the channel is off


class PixelHits(NamedTuple):
    """What each pixel records, in order; all zero where `mask` is false. Axes: (pixel, hit)."""

    tick: Any  # when the comparator sees the threshold; integration ends `hold_ticks` later
    charge: Any  # electrons, as digitised: with the noise
    adc: Any
    mask: Any  # true for real hits


class Shot(NamedTuple):
    """One attempt of each pixel to digitise. Axis: (pixel,)."""

    tick: Any
    charge: Any
    fired: Any  # whether there is one
    kept: Any  # whether it becomes a hit
    columns: Any  # of the `Reading`


class Reading(NamedTuple):
    """What the waveform says in one attempt. Axis: (pixel,)."""

    fired: Any  # whether the threshold is seen at all
    tick: Any  # when; after the window, if never
    stop: Any  # cumulative charge at the end of integration
    restart: Any  # and at the end of the reset
    columns: Any = None  # (pixel, 3) where the relaxed model has looked


# level, first tick alive -> the first column that reaches the level, or their number
Find = Callable[[Any, Any], Any]
# which of the three places of an attempt, column -> column, what is seen in the one before it and in it (pixel, 2)
Look = Callable[[int, Any], tuple[Any, Any]]


def digitize(
    charge: Any, end: Any, channel: Channel, noise: Noise | None, electronics: Electronics, model: str = "relaxed"
) -> PixelHits:
    """The hits of cumulative `charge` (pixel, tick).

    A pixel has seen nothing before its window, and sees nothing more after its last column. Its comparator is alive
    at ticks before `end` (pixel,): how far a window is padded makes no difference.
    """
    check_choice("electronics", model, MODELS)
    return MODELS[model](charge, end, channel, noise, electronics)


def clocked(charge: Any, end: Any, channel: Channel, noise: Noise | None, electronics: Electronics) -> PixelHits:
    """The hits of the hardware, tick by tick."""
    charge = constant(charge)
    find = finder(charge, end, channel, noise)

    def read(level: Any, first: Any, _: None) -> Reading:
        column = find(level, first)
        stop = column + electronics.hold_ticks
        seen = columns_of(charge, ep.stack([stop, stop + electronics.reset_ticks], axis=1))
        return Reading(column < charge.shape[1], to_real(column, charge), seen[:, 0], seen[:, 1])

    hits = recorded(attempts(read, channel, noise, electronics, search=True), channel, electronics)
    return hits._replace(adc=rounded(hits.adc))


def relaxed(charge: Any, end: Any, channel: Channel, noise: Noise | None, electronics: Electronics) -> PixelHits:
    """The hits of a clock without ticks: the waveform is read on the line between its columns.

    It is walked twice. The first time, without gradient, tells which columns are needed; then they are taken from the
    waveform all at once, so that the gradient passes through the whole waveform only once.
    """
    still = constant(charge)
    find = finder(still, end, channel, noise)
    walk = partial(_between_ticks, charge.shape[1], None if noise is None else noise.comparator, electronics)

    def search(level: Any, first: Any, _: None) -> Reading:
        return walk(find, lambda place, column: (column, pair_of(still, column)), level, first)

    def again(level: Any, first: Any, known: tuple[Any, Any]) -> Reading:
        columns, pairs = (values.transpose((1, 0, *range(2, values.ndim))) for values in known)
        return walk(lambda *_: columns[0], lambda place, _: (columns[place], pairs[place]), level, first)

    columns = attempts(search, channel, noise, electronics, search=True).columns
    pixel_first = columns.transpose((1, 0, 2))
    pairs = pair_of(charge, pixel_first.reshape((charge.shape[0], -1))).reshape((*pixel_first.shape, 2))
    shots = attempts(again, channel, noise, electronics, (columns, pairs.transpose((1, 0, 2, 3))))
    return recorded(shots, channel, electronics)


MODELS: dict[str, Callable[..., PixelHits]] = {"clocked": clocked, "relaxed": relaxed}


def finder(charge: Any, end: Any, channel: Channel, noise: Noise | None) -> Find:
    """The comparator of each pixel."""
    ticks = ep.expand_dims(to_real(ep.arange(charge, charge.shape[1]), charge), 0)
    alive = (ticks < ep.expand_dims(end, 1)).logical_and(ep.expand_dims(channel.live > 0.0, 1))
    seen = ep.where(alive, charge if noise is None else charge + noise.comparator, -np.inf)

    def find(level: Any, first: Any) -> Any:
        return first_true((seen >= ep.expand_dims(level, 1)).logical_and(ticks >= ep.expand_dims(first, 1)))

    return find


def attempts(
    read: Callable[[Any, Any, Any], Reading], channel: Channel, noise: Noise | None, electronics: Electronics,
    known: Any = None, search: bool = False,
) -> Shot:  # fmt: skip
    """All attempts to digitise, one after the other. Axes of what it returns: (attempt, pixel).

    `read` is given the level that the comparator waits for, the first tick at which it is alive, and what is `known`
    of this attempt (attempt, ...). A `search` ends where no pixel fires any more, and has no gradient.
    """

    def attempt(state: tuple[Any, Any], row: tuple[Any, ...]) -> tuple[Any, Shot]:
        (base, first), (reset, digitised, discriminator, known) = state, row
        seen = read(channel.threshold + base - reset, first, known)
        value = seen.stop - base + reset + digitised
        kept = seen.fired.logical_and(value >= channel.threshold + discriminator)
        # the comparator sees the first tick after the reset, or that at which the chip is no longer busy
        wait = 1.0 + to_real(kept, value) * (max(electronics.busy_ticks, 1) - 1)
        alive = seen.tick + (electronics.hold_ticks + electronics.reset_ticks) + wait
        return (seen.restart, alive), Shot(seen.tick, value, seen.fired, kept, seen.columns)

    zero = ep.zeros_like(channel.threshold)
    if noise is None:
        rows = (ep.zeros(zero, (electronics.max_hits, *zero.shape)),) * 3
    else:
        rows = tuple(kind.transpose((1, 0)) for kind in (noise.reset, noise.digitised, noise.discriminator))
    if search:
        return scan_while(attempt, lambda shot: shot.fired.any(), (zero, zero), (*rows, None))
    return scan(attempt, (zero, zero), (*(kind[: known[0].shape[0]] for kind in rows), known))[1]


def recorded(shots: Shot, channel: Channel, electronics: Electronics) -> PixelHits:
    """The attempts that gave hits, moved up to the front."""
    tick, charge, kept = (values.transpose((1, 0)) for values in (shots.tick, shots.charge, shots.kept))
    order = ep.expand_dims(to_real(ep.arange(kept, electronics.max_hits), tick), 0)
    done = to_real(kept, tick).cumsum(axis=1)
    mask = order < done[:, -1:]
    before = to_real(ep.expand_dims(done, 1) <= ep.expand_dims(order, 2), tick).sum(axis=2)  # attempts before each hit
    index = ep.minimum(to_integer(before), kept.shape[1] - 1)
    charge = take_along(charge, index)
    adc = counts(charge, channel, electronics)
    tick, charge, adc = (ep.where(mask, values, 0.0) for values in (take_along(tick, index), charge, adc))
    return PixelHits(tick, charge, adc, mask)


def counts(charge: Any, channel: Channel, electronics: Electronics) -> Any:
    """Charge (pixel, hit) -> ADC counts, not rounded, within the range of the ADC."""
    gain, pedestal, v_cm, v_ref = (ep.expand_dims(values, 1) for values in channel[1:5])
    adc = (charge * gain + pedestal - v_cm) * electronics.adc_counts / (v_ref - v_cm)
    return ep.minimum(ep.maximum(adc, 0.0), electronics.adc_counts - 1.0)


def columns_of(charge: Any, index: Any) -> Any:
    """Columns of the waveform (pixel, m): the first for what is before it, the last for what is after."""
    return take_along(charge, ep.minimum(ep.maximum(index, 0), charge.shape[1] - 1))


def pair_of(values: Any, index: Any) -> Any:
    """What is in the column before each index (pixel, ...), and in its own (pixel, ..., 2)."""
    return columns_of(values, ep.stack([index - 1, index], axis=-1).reshape((index.shape[0], -1)))


def _between_ticks(
    size: int, comparator: Any, electronics: Electronics, find: Find, look: Look, level: Any, first: Any
) -> Reading:
    """One attempt of the relaxed model; `size` is the number of columns."""

    def at(place: int, time: Any) -> tuple[Any, Any]:
        column, seen = look(place, to_integer(floor(time)) + 1)
        return seen[:, 0] + (time - to_real(column - 1, time)) * (seen[:, 1] - seen[:, 0]), column

    column, seen = look(0, find(level, first))
    fired = column < size
    if comparator is not None:
        seen = seen + pair_of(comparator, column)
    rise = seen[:, 1] - seen[:, 0]
    crosses = (seen[:, 0] < level).logical_and(rise > 0.0)  # else it was above already when the comparator came alive
    crossing = to_real(column - 1, rise) + (level - seen[:, 0]) / ep.where(crosses, rise, 1.0)
    tick = ep.where(fired, ep.maximum(ep.where(crosses, crossing, first), first), float(size))
    stop, at_stop = at(1, tick + electronics.hold_ticks)
    restart, at_restart = at(2, tick + (electronics.hold_ticks + electronics.reset_ticks))
    return Reading(fired, tick, stop, restart, ep.stack([column, at_stop, at_restart], axis=1))
