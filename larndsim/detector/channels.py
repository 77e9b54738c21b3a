"""The electronics behind every pixel: the detector's settings, or what is known of each channel by itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from .detector import Detector


class Channel(NamedTuple):
    """The electronics behind each pixel. Axis: (pixel,); of the maps of a whole detector (plane, ix, iy)."""

    threshold: Any  # electrons
    gain: Any  # mV per electron
    pedestal: Any  # mV, as the next two
    v_cm: Any
    v_ref: Any
    live: Any  # 1, or 0 where the channel is off


# What users may give, by the names under which they give it, and where it goes.
REPLACES = {
    "thresholds": "threshold",
    "gains": "gain",
    "pedestals": "pedestal",
    "v_cm": "v_cm",
    "v_ref": "v_ref",
    "bad_channels": "live",
}


def channel_maps(
    detector: Detector, thresholds: Any = None, gains: Any = None, bad_channels: Any = None, **voltages: Any
) -> Channel:
    """The electronics behind every pixel; arrays given by the user replace the detector's. Axes: (plane, ix, iy).

    `voltages` are `pedestals`, `v_ref` and `v_cm`, mV. A pedestal may be zero or negative, and above `v_ref`: it only
    moves what the converter sees.
    """
    given = {"thresholds": thresholds, "gains": gains, "bad_channels": bad_channels, **voltages}
    given = {name: np.asarray(values, dtype=float) for name, values in given.items() if values is not None}
    for name, values in given.items():
        _check_map(name, values, detector.geometry.shape)
    if "bad_channels" in given:
        given["bad_channels"] = 1.0 - given["bad_channels"]
    maps = _nominal(detector)._replace(**{REPLACES[name]: values for name, values in given.items()})
    _check_references(maps)
    return maps


def _nominal(detector: Detector) -> Channel:
    """What the detector says of all its pixels. Axes: (plane, ix, iy)."""
    settings, module = detector.electronics, detector.geometry.module

    def per_pixel(value: Any) -> np.ndarray:
        by_plane = np.broadcast_to(value, (int(module.max()) + 1,))[module]
        return np.broadcast_to(by_plane[:, None, None], detector.geometry.shape)

    return Channel(
        threshold=per_pixel(settings.threshold),
        gain=per_pixel(settings.gain),
        pedestal=per_pixel(settings.v_pedestal),
        v_cm=per_pixel(settings.v_cm),
        v_ref=per_pixel(settings.v_ref),
        live=np.broadcast_to(1.0, detector.geometry.shape),
    )


def _check_map(name: str, values: np.ndarray, shape: tuple[int, int, int]) -> None:
    if values.shape != shape:
        raise ArgumentError(name, f"have the shape {shape}, (plane, ix, iy)", f"it has {values.shape}")
    if not np.all(np.isfinite(values)):
        remedy = "Give numbers."
        raise ArgumentError(name, "be finite in every channel", f"{(~np.isfinite(values)).sum()} are not", remedy)


def _check_references(maps: Channel) -> None:
    wrong = np.argwhere(maps.v_ref <= maps.v_cm)
    if len(wrong):
        pixel = tuple(wrong[0].tolist())
        but = f"it is {maps.v_ref[pixel]} mV where `v_cm` is {maps.v_cm[pixel]} mV, in pixel (plane, ix, iy) = {pixel}"
        raise ArgumentError("v_ref", "be above `v_cm` in every channel", but, "Correct one of them.")
