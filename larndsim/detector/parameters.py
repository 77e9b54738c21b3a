"""The parameters of the model that a fit may vary: nominal values, bounds, units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, did_you_mean
from .electronics import Electronics


class Parameters(NamedTuple):
    """One value per parameter: a float, a native scalar, or one value per module.

    The last six are those of the electronics; None stands for what the detector says (`Detector.nominal` has numbers).
    Where channels differ, their thresholds and gains move in proportion to these, their pedestals by the difference.
    """

    Ab: Any = 0.8
    kb: Any = 0.0486
    eField: Any = 0.5
    lifetime: Any = 2200.0
    vdrift: Any = 0.1587
    long_diff: Any = 4.0e-6
    tran_diff: Any = 8.8e-6
    MeVToElectrons: Any = 4.237e4
    alpha: Any = 0.93
    beta: Any = 0.207
    lArDensity: Any = 1.38
    temperature: Any = 87.17
    R_param: Any = 1.25
    shift_x: Any = 0.0
    shift_y: Any = 0.0
    shift_z: Any = 0.0
    threshold: Any = None
    gain: Any = None
    pedestal: Any = None
    reset_noise: Any = None
    uncorrelated_noise: Any = None
    discriminator_noise: Any = None

    def completed(self, electronics: Electronics) -> Parameters:
        """The same with numbers for all parameters of the electronics."""
        unsaid = {name: key for name, key in ELECTRONIC.items() if getattr(self, name) is None}
        return self._replace(**{name: getattr(electronics, key) for name, key in unsaid.items()})


# The parameters of the electronics, by what `Electronics` calls them.
ELECTRONIC = {
    "threshold": "threshold",
    "gain": "gain",
    "pedestal": "v_pedestal",
    "reset_noise": "reset_noise",
    "uncorrelated_noise": "uncorrelated_noise",
    "discriminator_noise": "discriminator_noise",
}
PHYSICAL = tuple(name for name in Parameters._fields if name not in ELECTRONIC)


class Bound(NamedTuple):
    """The range that random targets are drawn from, its unit, and what it is the range of."""

    down: float
    up: float
    unit: str
    meaning: str

    @property
    def hard(self) -> tuple[float, float]:
        """The limits that a plan is made for: a fiftieth of the range wider at both ends, of the same sign."""
        margin = 0.02 * (self.up - self.down)
        low = self.down - margin
        return max(low, 0.0) if self.down >= 0.0 else low, self.up + margin


BOUNDS: dict[str, Bound] = {
    "Ab": Bound(0.78, 0.88, "1", "Birks normalisation"),
    "kb": Bound(0.04, 0.07, "(kV/cm)(g/cm2)/MeV", "Birks constant"),
    "eField": Bound(0.45, 0.55, "kV/cm", "electric field"),
    "lifetime": Bound(500.0, 5000.0, "us", "electron lifetime"),
    "vdrift": Bound(0.14, 0.18, "cm/us", "drift velocity"),
    "long_diff": Bound(2e-6, 9e-6, "cm2/us", "longitudinal diffusion"),
    "tran_diff": Bound(4e-6, 14e-6, "cm2/us", "transverse diffusion"),
    "MeVToElectrons": Bound(3.48e4, 5.13e4, "1/MeV", "electrons per deposited energy"),
    "alpha": Bound(0.85, 1.1, "1", "box model constant"),
    "beta": Bound(0.18, 0.22, "(kV/cm)(g/cm2)/MeV", "box model slope"),
    "lArDensity": Bound(1.37, 1.41, "g/cm3", "density of liquid argon"),
    "temperature": Bound(86.0, 90.0, "K", "temperature of the liquid"),
    "R_param": Bound(1.0, 10.0, "1", "anisotropy of the ellipsoid box model"),
    "shift_x": Bound(-0.22, 0.22, "cm", "offset of the segments along x"),
    "shift_y": Bound(-0.22, 0.22, "cm", "offset of the segments along y"),
    "shift_z": Bound(-0.22, 0.22, "cm", "offset of the segments along z"),
}

# Ranges of the electronics, about the detector's values: as far as a calibration of chips may be off.
AWAY = {"threshold": 0.2, "gain": 0.1, "reset_noise": 0.4, "uncorrelated_noise": 0.4, "discriminator_noise": 0.4}
PEDESTAL_AWAY = 20.0  # mV, five ADC counts
UNKNOWN_NOISE = 500.0  # electrons: up to here, where the detector says that there is none


def electronic_bounds(electronics: Electronics) -> dict[str, Bound]:
    """The ranges of the parameters of the electronics of a detector."""

    def about(name: str, unit: str, meaning: str) -> Bound:
        values = np.asarray(getattr(electronics, ELECTRONIC[name]), dtype=float)
        low, high = float(values.min()), float(values.max())
        if high == 0.0:
            return Bound(0.0, UNKNOWN_NOISE, unit, meaning)
        return Bound(low * (1.0 - AWAY[name]), high * (1.0 + AWAY[name]), unit, meaning)

    pedestal = np.asarray(electronics.v_pedestal, dtype=float)
    ends = float(pedestal.min()) - PEDESTAL_AWAY, float(pedestal.max()) + PEDESTAL_AWAY
    return {
        "threshold": about("threshold", "e", "threshold of the discriminator"),
        "gain": about("gain", "mV/e", "gain of the amplifier"),
        "pedestal": Bound(*ends, "mV", "what the ADC sees without charge"),
        "reset_noise": about("reset_noise", "e", "width of the noise that a reset leaves"),
        "uncorrelated_noise": about("uncorrelated_noise", "e", "width of the noise at each tick"),
        "discriminator_noise": about("discriminator_noise", "e", "width of the noise of the threshold"),
    }


BOUNDS |= electronic_bounds(Electronics())

SHIFTS = ("shift_x", "shift_y", "shift_z")
SIGNED = (*SHIFTS, "pedestal")
MAY_BE_ZERO = ("reset_noise", "uncorrelated_noise", "discriminator_noise")


def unit_of(name: str) -> str:
    """The unit of a parameter; empty where it has none."""
    unit = BOUNDS[name].unit
    return "" if unit == "1" else unit


def label_of(name: str) -> str:
    """The name of a parameter, with its unit in brackets where it has one."""
    return f"{name}  [{unit_of(name)}]" if unit_of(name) else name


def check_name(name: str, argument: str = "parameter") -> None:
    """Refuse a name that is not a parameter."""
    if name not in BOUNDS:
        known = ", ".join(Parameters._fields)
        raise ArgumentError(argument, f"be one of {known}", f"it is {name!r}", did_you_mean(name, BOUNDS))
