"""Around stage 5: which electronics stand behind the pixels of a batch, their noise, and the hits put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Backend, concatenate, map_leaves
from .data.batch import Pixels
from .data.hits import Hits
from .detector import Detector
from .detector.geometry import pixel_centre
from .electronics import Channel
from .errors import ArgumentError
from .noise import Noise, draw
from .response import TICK


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


def channels_of(maps: Channel, pixels: Pixels, rows: int) -> Channel:
    """The electronics behind the pixels of a class, padded to its number of rows. Axis: (pixel,)."""

    def pick(values: np.ndarray) -> np.ndarray:
        own = np.asarray(values[pixels.plane, pixels.ix, pixels.iy], dtype=np.float64)
        return np.concatenate([own, np.broadcast_to(own[:1], (rows - len(own),))])

    return map_leaves(pick, maps)


def noise_of(seed: int, pixels: Pixels, rows: int, ticks: int, detector: Detector) -> Noise:
    """The noise of the pixels of a class: it depends on the seed, the event and the pixel alone."""
    noise = draw(seed, pixels, ticks, detector.electronics.per_pixel(detector.geometry.module[pixels.plane]))
    silence = rows - len(pixels.ix)
    return map_leaves(lambda values: np.concatenate([values, np.zeros((silence, values.shape[1]), np.float32)]), noise)


def assembled(parts: list[Any], batch_pixels: Pixels, detector: Detector, backend: Backend) -> Hits:
    """Hits from the (pixel, hit, 4) arrays of tick, charge, adc, mask of each class."""
    settings, geometry = detector.electronics, detector.geometry
    orders = settings.max_hits
    event, plane, ix, iy, _, reference = (np.repeat(column, orders) for column in batch_pixels)
    x, y = pixel_centre(geometry, plane, ix, iy)
    recorded = concatenate(parts, backend).reshape((-1, 4)) if parts else backend.asarray(np.zeros((0, 4)))
    tick = recorded[:, 0]
    velocity = np.broadcast_to(detector.vdrift_static, (int(geometry.module.max()) + 1,))[geometry.module[plane]]
    slope = backend.asarray(-geometry.direction[plane] * velocity * TICK)
    return Hits(
        event=event,
        plane=plane,
        ix=ix,
        iy=iy,
        order=np.tile(np.arange(orders), len(batch_pixels.event)),
        x=x,
        y=y,
        z=tick * slope + backend.asarray(geometry.anode_z[plane]),
        tick=tick,
        charge=recorded[:, 1],
        adc=recorded[:, 2],
        mask=recorded[:, 3] > 0.5,
        reference=reference,
    )
