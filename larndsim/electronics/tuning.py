"""Parameters of the electronics, pixel by pixel: what is known of each channel, moved as the parameters say.

The threshold and the gain of a channel move in proportion to the parameters, its pedestal by the same difference; the
widths of the noise are the parameters.
Axes: (pixel,); (pixel, parameter) with the parameters in the order of `ELECTRONIC`. Charges in electrons, voltages in
mV.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from ..backend import Backend
from ..backend.operations import take
from ..detector import Channel, Detector, Electronics, Parameters
from ..detector.parameters import ELECTRONIC
from .noise import Widths

COLUMN = {name: column for column, name in enumerate(ELECTRONIC)}


class Tuner(NamedTuple):
    """How what stands behind some pixels follows the parameters: parameter * scale + offset."""

    module: Any  # (pixel,)
    scale: Any  # (pixel, parameter)
    offset: Any  # (pixel, parameter)


def tuner_of(channel: Channel, plane: np.ndarray, detector: Detector) -> Tuner:
    """Of pixels of these planes, and what stands behind them at the detector's values."""
    module = detector.geometry.module[plane]
    nominal = detector.electronics.per_pixel(module)
    scale, offset = np.ones((len(plane), len(ELECTRONIC))), np.zeros((len(plane), len(ELECTRONIC)))
    scale[:, COLUMN["threshold"]] = channel.threshold / nominal.threshold
    scale[:, COLUMN["gain"]] = channel.gain / nominal.gain
    offset[:, COLUMN["pedestal"]] = channel.pedestal - nominal.v_pedestal
    return Tuner(module.astype(np.int64), scale, offset)


def tuned(parameters: tuple[Any, ...], tuner: Tuner) -> Any:
    """What stands behind each pixel at these parameters of the electronics. Axes: (pixel, parameter)."""
    each = [
        take(value, tuner.module) if value.ndim else value * ep.ones_like(tuner.scale[:, 0]) for value in parameters
    ]
    return ep.stack(each, axis=1) * tuner.scale + tuner.offset


def tuned_channel(channel: Channel, values: Any) -> Channel:
    """The electronics behind pixels whose `tuned` values these are."""
    return channel._replace(**{name: values[:, COLUMN[name]] for name in ("threshold", "gain", "pedestal")})


def tuned_widths(values: Any) -> Widths:
    """The widths of the noise of pixels whose `tuned` values these are."""
    names = "reset_noise", "uncorrelated_noise", "discriminator_noise"
    return Widths(*(values[:, COLUMN[name]] for name in names))


def separated(parameters: Parameters) -> tuple[Parameters, tuple[Any, ...] | None]:
    """The parameters without those of the electronics, and these; None where they are as the detector says."""
    chosen = tuple(getattr(parameters, name) for name in ELECTRONIC)
    return parameters._replace(**dict.fromkeys(ELECTRONIC)), None if chosen[0] is None else chosen


def settled(parameters: Parameters, electronics: Electronics) -> Parameters:
    """With numbers for all parameters of the electronics; or with None, where they are just what the detector says.

    Then nothing needs to be computed from them. (An array of a framework may be what a derivative is taken by.)
    """
    whole = parameters.completed(electronics)
    for name, key in ELECTRONIC.items():
        value = getattr(whole, name)
        plain = isinstance(value, int | float | np.ndarray | np.generic)
        if not plain or not np.all(np.asarray(value) == np.asarray(getattr(electronics, key))):
            return whole
    return parameters._replace(**dict.fromkeys(ELECTRONIC))


def settings_now(electronics: Electronics, parameters: Parameters, backend: Backend) -> Electronics:
    """The electronics with what its parameters are now; no derivative passes through."""
    values = separated(parameters)[1]
    if values is None:
        return electronics
    known = [np.asarray(backend.known(value), dtype=np.float64) for value in values]
    pairs = zip(ELECTRONIC.values(), known, strict=True)
    now: dict[str, Any] = {key: value if value.ndim else float(value) for key, value in pairs}
    return replace(electronics, **now)
