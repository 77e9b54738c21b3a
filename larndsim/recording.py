"""Around stage 5: which signals are recorded together, the electronics behind them and
their noise, and the hits put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from .backend import map_leaves
from .backend.operations import take, to_real
from .charge import Signal
from .data.batch import Group, Members, Pixels, joined
from .data.hits import Slots
from .detector import Detector, Electronics
from .detector.geometry import pixel_centre
from .electronics import Channel, digitize
from .errors import ArgumentError
from .noise import Noise, draw
from .response import TICK
from .size_classes import on_ladder


class Recorder(NamedTuple):
    """What stands behind the pixels of a group. Axis: (row,)."""

    order: Any  # row among those of all its classes
    channel: Channel
    anode: Any  # cm, z of the anode
    slope: Any  # cm per tick, how z follows from the drift time


PADDED = 1.5  # times the numbers in the signals of a group may grow by padding


def channel_maps(detector: Detector, thresholds: Any, gains: Any, bad_channels: Any) -> Channel:
    """The electronics behind every pixel; arrays given by the user replace the detector's. Axes: (plane, ix, iy)."""
    settings, shape = detector.electronics, detector.geometry.shape
    given = {"thresholds": thresholds, "gains": gains, "bad_channels": bad_channels}
    for name, values in given.items():
        if values is not None and np.shape(values) != shape:
            raise ArgumentError(name, f"have the shape {shape}, (plane, ix, iy)", f"it has {np.shape(values)}")

    def per_pixel(value: Any) -> np.ndarray:
        by_plane = np.broadcast_to(value, (int(detector.geometry.module.max()) + 1,))[detector.geometry.module]
        return np.broadcast_to(by_plane[:, None, None], shape)

    return Channel(
        threshold=per_pixel(settings.threshold) if thresholds is None else np.asarray(thresholds, dtype=float),
        gain=per_pixel(settings.gain) if gains is None else np.asarray(gains, dtype=float),
        pedestal=per_pixel(settings.v_pedestal),
        v_cm=per_pixel(settings.v_cm),
        v_ref=per_pixel(settings.v_ref),
        live=np.broadcast_to(1.0, shape) if bad_channels is None else 1.0 - np.asarray(bad_channels, dtype=float),
    )


def groups_of(pixels: tuple[Pixels, ...], rows: list[int], ticks: list[int]) -> tuple[Group, ...]:
    """Size classes that are recorded together: signals of like length, so that padding them costs little.

    `pixels`, `rows` (with padding) and `ticks` of each class.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda index: ticks[index]):
        if found and _size(rows, ticks, [*found[-1], index]) <= PADDED * sum(
            rows[i] * ticks[i] for i in found[-1] + [index]
        ):
            found[-1].append(index)
        else:
            found.append([index])
    return tuple(_group(pixels, tuple(members)) for members in found)


def _size(rows: list[int], ticks: list[int], members: list[int]) -> int:
    """Numbers in the signals of some classes, all padded to the longest."""
    return sum(rows[i] for i in members) * max(ticks[i] for i in members)


def _group(pixels: tuple[Pixels, ...], members: tuple[int, ...]) -> Group:
    """Some classes, their pixels one after the other, then padding up to a number of rows that batches share."""
    everyone = joined(tuple(pixels[index] for index in members))
    count = len(everyone.ix)
    row = np.minimum(np.arange(on_ladder(np.array([count]))[0]), count - 1)
    return Group(members, count, map_leaves(lambda column: column[row], everyone))


def recorder_of(
    group: Group, pixels: tuple[Pixels, ...], rows: list[int], maps: Channel, detector: Detector
) -> Recorder:
    """What stands behind the rows of a group; `rows` of each class, padding included."""
    first = np.cumsum([0, *(rows[index] for index in group.classes)])
    real = [start + np.arange(len(pixels[i].ix)) for i, start in zip(group.classes, first, strict=False)]
    order = np.concatenate(real)[np.minimum(np.arange(len(group.pixels.ix)), group.size - 1)]
    geometry, plane = detector.geometry, group.pixels.plane
    velocity = np.broadcast_to(detector.vdrift_static, (int(geometry.module.max()) + 1,))[geometry.module[plane]]
    slope = -geometry.direction[plane] * velocity * TICK
    return Recorder(order.astype(np.int32), channels_of(maps, group.pixels), geometry.anode_z[plane], slope)


def channels_of(maps: Channel, pixels: Pixels) -> Channel:
    """The electronics behind some pixels. Axis: (pixel,)."""
    return map_leaves(lambda values: np.asarray(values[pixels.plane, pixels.ix, pixels.iy], dtype=np.float64), maps)


def noise_of(seed: int, pixels: Pixels, ticks: int, detector: Detector) -> Noise:
    """The noise of some pixels: it depends on the seed, the event and the pixel alone."""
    return draw(seed, pixels, ticks, detector.electronics.per_pixel(detector.geometry.module[pixels.plane]))


def merged(signals: tuple[Signal, ...], order: Any) -> Signal:
    """The signals of some classes as one, its rows in this order; each stays what it is at its end."""
    ticks = max(signal.charge.shape[1] for signal in signals)
    charge = [signal.charge for signal in signals]
    for row, values in enumerate(charge):
        if more := ticks - values.shape[1]:
            charge[row] = ep.concatenate([values, values[:, -1:] * ep.ones(values, (1, more))], axis=1)
    start, end = ([getattr(signal, name) for signal in signals] for name in ("start", "end"))
    return Signal(*(take(ep.concatenate(parts, axis=0), order) for parts in (start, end, charge)))


def recorded(signal: Signal, recorder: Recorder, noise: Noise | None, settings: Electronics, model: str) -> Any:
    """Hits, ticks from the event's reference time: z, tick, charge, adc, mask. Axes: (row, hit, 5)."""
    hits = digitize(signal.charge, signal.end, recorder.channel, noise, settings, model)
    tick = hits.tick + ep.expand_dims(signal.start, 1)
    z = tick * ep.expand_dims(recorder.slope, 1) + ep.expand_dims(recorder.anode, 1)
    return ep.stack([z, tick, hits.charge, hits.adc, to_real(hits.mask, tick)], axis=-1)


def flat(parts: tuple[Any, ...], counts: tuple[int, ...]) -> tuple[Any, ...]:
    """The columns of what is `recorded` of the first rows of each group. Axis: (hit,)."""
    rows = ep.concatenate([part[:count].reshape((-1, 5)) for part, count in zip(parts, counts, strict=True)], axis=0)
    return (*(rows[:, column] for column in range(4)), rows[:, 4] > 0.5)


def slots_of(members: Iterable[Members], detector: Detector) -> Slots:
    """Who the hits of all pixels are, in the order of the `flat` columns."""
    pixels = joined(tuple(part.pixels[index] for part in members for group in part.groups for index in group.classes))
    orders = detector.electronics.max_hits
    event, plane, ix, iy, _, reference, burst = (np.repeat(column, orders) for column in pixels)
    order = np.tile(np.arange(orders), len(pixels.ix)) + orders * burst
    return Slots(event, plane, ix, iy, order, *pixel_centre(detector.geometry, plane, ix, iy), reference)
