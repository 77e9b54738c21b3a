"""Around stage 5: which signals are recorded together, the electronics behind them and
their noise, and the hits put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend import map_leaves
from ..backend.operations import laid_out, to_real
from ..charge import Signal, joined_rows
from ..data.batch import Group, Members, Pixels, Window, joined
from ..data.hits import RECORDED, Slots
from ..detector import Channel, Detector, Electronics
from ..detector.geometry import pixel_centre
from ..electronics.models import digitize
from ..electronics.noise import Noise, Widths, draw
from ..electronics.tuning import Tuner, tuned, tuned_channel, tuner_of
from ..response import TICK
from .shapes import FINE_LADDER, LADDER, POWERS, on_ladder


class Recorder(NamedTuple):
    """What stands behind the pixels of a group. Axis: (row,)."""

    channel: Channel
    tuner: Tuner  # how the channels follow the parameters of the electronics
    anode: Any  # cm, z of the anode
    slope: Any  # cm per tick, how z follows from the drift time


PADDED = 1.5  # times the numbers in the signals of a group may grow by padding


def groups_of(
    pixels: tuple[Pixels, ...], rows: list[int], ticks: list[int], most: int, alone: bool
) -> tuple[Group, ...]:
    """Size classes that are recorded together: signals of like length, so that padding them costs little.

    `pixels`, `rows` (with padding) and `ticks` of each class; `most` rows of a group; or each `alone`.
    """
    longest_first = sorted(range(len(rows)), key=lambda index: -ticks[index])
    if alone:
        return tuple(_group(pixels, rows, [index], FINE_LADDER) for index in longest_first)
    counts = [len(own.ix) for own in pixels]

    def fit(members: list[int]) -> bool:
        held = sum(counts[i] for i in members[:-1]) + rows[members[-1]]
        padded = sum(rows[i] for i in members) * ticks[members[0]]
        return held <= most and padded <= PADDED * sum(rows[i] * ticks[i] for i in members)

    found: list[list[int]] = []
    for index in longest_first:
        if found and fit([*found[-1], index]):
            found[-1].append(index)
        else:
            found.append([index])
    return tuple(_group(pixels, rows, members, LADDER if len(found) == 1 else POWERS) for members in found)


def _group(pixels: tuple[Pixels, ...], rows: list[int], members: list[int], ladder: np.ndarray) -> Group:
    """Some classes, their pixels one after the other, then padding up to a number of rows that batches share."""
    everyone = joined(tuple(pixels[index] for index in members))
    *firsts, count = np.cumsum([0, *(len(pixels[index].ix) for index in members)]).tolist()
    held = max(first + rows[index] for first, index in zip(firsts, members, strict=True))
    row = np.minimum(np.arange(on_ladder(held, ladder)), count - 1)
    return Group(tuple(members), tuple(firsts), count, map_leaves(lambda column: column[row], everyone))


def window_of(group: Group, ticks: int) -> Window:
    """The windows of the rows of a group."""
    first = np.rint(group.pixels.start / TICK) - group.pixels.reference
    return Window(first.astype(np.int32), np.arange(ticks, dtype=np.int32))


def recorder_of(group: Group, maps: Channel, detector: Detector) -> Recorder:
    """What stands behind the rows of a group."""
    geometry, plane = detector.geometry, group.pixels.plane
    velocity = np.broadcast_to(detector.vdrift_static, (int(geometry.module.max()) + 1,))[geometry.module[plane]]
    slope = -geometry.direction[plane] * velocity * TICK
    channel = channels_of(maps, group.pixels)
    return Recorder(channel, tuner_of(channel, plane, detector), geometry.anode_z[plane], slope)


def retuned(recorder: Recorder, parameters: tuple[Any, ...]) -> Recorder:
    """What stands behind them at these parameters of the electronics."""
    return recorder._replace(channel=tuned_channel(recorder.channel, tuned(parameters, recorder.tuner)))


def channels_of(maps: Channel, pixels: Pixels) -> Channel:
    """The electronics behind some pixels. Axis: (pixel,)."""
    return map_leaves(lambda values: np.asarray(values[pixels.plane, pixels.ix, pixels.iy], dtype=np.float64), maps)


def noise_of(seed: int, pixels: Pixels, ticks: int, module: np.ndarray, settings: Electronics) -> Noise:
    """The noise of some pixels: it depends on the seed, the event and the pixel alone. `module` is that of planes."""
    return draw(seed, pixels, ticks, settings.per_pixel(module[pixels.plane]))


def widths_of(pixels: Pixels, module: np.ndarray, settings: Electronics) -> Widths:
    """How wide the noise of some pixels is. `module` is that of each plane."""
    settings = settings.per_pixel(module[pixels.plane])
    widths = settings.reset_noise, settings.uncorrelated_noise, settings.discriminator_noise
    return Widths(*(np.full(pixels.ix.shape, width, dtype=np.float64) for width in widths))


def settings_of(detector: Detector, channels: Channel) -> Electronics:
    """The electronics, with the highest threshold of all live channels: up to there levels are looked for."""
    return replace(detector.electronics, threshold=float(channels.threshold[channels.live > 0.0].max(initial=1.0)))


def merged(signals: tuple[Signal, ...], firsts: tuple[int, ...], anode: Any) -> Signal:
    """The signals of some classes, the longest first, as one with the rows of `anode`; each stays as it ends.

    The rows of each begin at its `first`, over the padding of the one before. Rows that are none's see nothing.
    """
    rows, ticks = anode.shape[0], signals[0].charge.shape[1]
    longer = [signal._replace(charge=_prolonged(signal.charge, ticks)) for signal in signals]
    return Signal(*(laid_out(list(columns), firsts, rows) for columns in zip(*longer, strict=True)))


def _prolonged(charge: Any, ticks: int) -> Any:
    """Waveforms over more ticks."""
    if more := ticks - charge.shape[1]:
        return ep.concatenate([charge, charge[:, -1:] * ep.ones(charge, (1, more))], axis=1)
    return charge


def recorded(
    signal: Signal, recorder: Recorder, noise: Noise | Widths | None, settings: Electronics, model: str
) -> Any:
    """Hits, ticks from the event's reference time: the columns `RECORDED`, without the last three if they are None.

    Axes: (row, hit, column).
    """
    hits = digitize(signal.charge, signal.end, recorder.channel, noise, settings, model)
    tick = hits.tick + ep.expand_dims(signal.start, 1)
    z = tick * ep.expand_dims(recorder.slope, 1) + ep.expand_dims(recorder.anode, 1)
    prediction = (column for column in hits[4:] if column is not None)
    return ep.stack([z, tick, hits.charge, hits.adc, to_real(hits.mask, tick), *prediction], axis=-1)


def flat(parts: tuple[Any, ...], counts: tuple[int, ...]) -> tuple[Any, ...]:
    """The columns of what is `recorded` of the first rows of each group, `counts` of them. Axis: (hit,)."""
    columns = parts[0].shape[2]
    rows = joined_rows(parts, counts).reshape((-1, columns))
    found = [rows[:, column] for column in range(columns)]
    mask = RECORDED.index("mask")
    return (*found[:mask], found[mask] > 0.5, *found[mask + 1 :])


def sums_of_pixels(values: Any, orders: int) -> Any:
    """The sum over the hits (hit,) of each pixel, `orders` of them. Axis: (pixel,)."""
    return values.reshape((-1, orders)).sum(axis=1)


def numbered(members: Iterable[Members]) -> tuple[Members, ...]:
    """The parts of a batch, each with the number of its first pixel."""
    found, first = [], 0
    for part in members:
        found.append(part._replace(first=first))
        first += sum(group.size for group in part.groups)
    return tuple(found)


def pixels_of(members: Iterable[Members]) -> Pixels:
    """All pixels, in the order of waveforms and hits."""
    groups = (group for part in members for group in part.groups)
    return joined(tuple(Pixels(*(column[: group.size] for column in group.pixels)) for group in groups))


def slots_of(pixels: Pixels, detector: Detector) -> Slots:
    """Who the hits of some pixels are."""
    orders = detector.electronics.max_hits
    event, plane, ix, iy, _, reference, burst = (np.repeat(column, orders) for column in pixels)
    order = np.tile(np.arange(orders), len(pixels.ix)) + orders * burst
    return Slots(event, plane, ix, iy, order, *pixel_centre(detector.geometry, plane, ix, iy), reference)
