"""Around stage 5: which signals are recorded together, the electronics behind them and
their noise, and the hits put together."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np

from .backend import Backend, concatenate, map_leaves
from .charge import Signal
from .data.batch import Batch, Group, Pixels, joined
from .data.hits import Hits
from .detector import Detector
from .detector.geometry import pixel_centre
from .electronics import Channel
from .errors import ArgumentError
from .noise import Noise, draw
from .response import TICK
from .size_classes import FINE_LADDER, on_ladder

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
    return tuple(_group(pixels, rows, tuple(members)) for members in found)


def _size(rows: list[int], ticks: list[int], members: list[int]) -> int:
    """Numbers in the signals of some classes, all padded to the longest."""
    return sum(rows[i] for i in members) * max(ticks[i] for i in members)


def _group(pixels: tuple[Pixels, ...], rows: list[int], members: tuple[int, ...]) -> Group:
    """Some classes, one after the other, then padding up to a number of rows that batches share."""
    total = sum(rows[i] for i in members)
    padded = int(on_ladder(np.array([total]), FINE_LADDER)[0])
    counts = [rows[i] for i in members]
    counts[-1] += padded - total
    own = [len(pixels[i].ix) for i in members]
    first = np.cumsum([0, *counts[:-1]])
    real = np.concatenate([start + np.arange(n) for start, n in zip(first, own, strict=True)])
    repeated = [np.minimum(np.arange(count), n - 1) for count, n in zip(counts, own, strict=True)]
    everyone = (
        map_leaves(lambda column, row=row: column[row], pixels[i]) for i, row in zip(members, repeated, strict=True)
    )
    return Group(members, padded, real, joined(tuple(everyone)))


def channels_of(maps: Channel, pixels: Pixels) -> Channel:
    """The electronics behind some pixels. Axis: (pixel,)."""
    return map_leaves(lambda values: np.asarray(values[pixels.plane, pixels.ix, pixels.iy], dtype=np.float64), maps)


def noise_of(seed: int, pixels: Pixels, ticks: int, detector: Detector) -> Noise:
    """The noise of some pixels: it depends on the seed, the event and the pixel alone."""
    return draw(seed, pixels, ticks, detector.electronics.per_pixel(detector.geometry.module[pixels.plane]))


def merged(signals: tuple[Signal, ...], rows: int) -> Signal:
    """The signals of some classes as one: each stays what it is at its end, rows beyond them are silent."""
    ticks = max(signal.charge.shape[1] for signal in signals)
    start, end, charge = [], [], []
    for signal in signals:
        start.append(signal.start)
        end.append(signal.end)
        more = ticks - signal.charge.shape[1]
        last = signal.charge[:, -1:] * ep.ones(signal.charge, (1, more))
        charge.append(ep.concatenate([signal.charge, last], axis=1) if more else signal.charge)
    missing = rows - sum(part.shape[0] for part in start)
    nothing = ep.zeros(charge[0], (missing, ticks))
    parts = ([*start, nothing[:, 0]], [*end, nothing[:, 0]], [*charge, nothing])
    return Signal(*(ep.concatenate(part, axis=0) for part in parts))


def assembled(parts: list[Any], batch: Batch, detector: Detector, backend: Backend) -> Hits:
    """Hits from the (row, hit, 4) arrays of tick, charge, adc, mask of each group."""
    settings, geometry = detector.electronics, detector.geometry
    orders = settings.max_hits
    event, plane, ix, iy, _, reference = (np.repeat(column, orders) for column in batch.recorded_pixels())
    x, y = pixel_centre(geometry, plane, ix, iy)
    real = [backend.take(part, group.real) for part, group in zip(parts, batch.fixed.groups, strict=True)]
    recorded = concatenate(real, backend).reshape((-1, 4)) if parts else backend.asarray(np.zeros((0, 4)))
    tick = recorded[:, 0]
    velocity = np.broadcast_to(detector.vdrift_static, (int(geometry.module.max()) + 1,))[geometry.module[plane]]
    slope = backend.asarray(-geometry.direction[plane] * velocity * TICK)
    return Hits(
        event=event,
        plane=plane,
        ix=ix,
        iy=iy,
        order=np.tile(np.arange(orders), len(event) // orders),
        x=x,
        y=y,
        z=tick * slope + backend.asarray(geometry.anode_z[plane]),
        tick=tick,
        charge=recorded[:, 1],
        adc=recorded[:, 2],
        mask=recorded[:, 3] > 0.5,
        reference=reference,
    )
