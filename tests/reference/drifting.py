"""Electrons -> when they arrive, how many are left, and how wide their cloud is.

`distance` is that of a point to its anode, cm; `linked` takes the velocity from the field.
"""

from __future__ import annotations

import numpy as np

from larndsim.detector.parameters import Parameters

RESPONSE_DISTANCE = 0.5  # cm: the field response describes the drift from here to the anode
NEAREST = 1e-4  # cm: widths vanish at the anode; held at their value a micron before it, no formula divides by 0


def drift_velocity(parameters: Parameters, linked: bool = False) -> float:
    """Drift velocity, cm/us: a parameter of its own, or the field times the mobility at that field."""
    if not linked:
        return parameters.vdrift
    a = (551.6, 7158.3, 4440.43, 4.29, 43.63, 0.2053)
    E = parameters.eField
    above = a[0] + a[1] * E + a[2] * E**1.5 + a[3] * E**2.5
    below = 1 + (a[1] / a[0]) * E + a[4] * E**2 + a[5] * E**3
    mobility = above / below * (parameters.temperature / 89) ** -1.5 / 1000
    return E * mobility


def arrival_time(distance: np.ndarray, time: float, parameters: Parameters, linked: bool = False) -> np.ndarray:
    """When a deposit of `time` reaches the response plane, us; earlier than `time` for points beyond the plane."""
    return time + (distance - RESPONSE_DISTANCE) / drift_velocity(parameters, linked)


def survival(distance: np.ndarray, parameters: Parameters, linked: bool = False) -> np.ndarray:
    """The fraction of electrons that no impurity has caught; 1 beyond the response plane."""
    drift = np.maximum(distance - RESPONSE_DISTANCE, 0.0) / drift_velocity(parameters, linked)
    return np.exp(-drift / parameters.lifetime)


def sigma_T(distance: np.ndarray, parameters: Parameters, linked: bool = False) -> np.ndarray:
    """Width of the cloud along x and along y, cm."""
    return _width(parameters.tran_diff, distance, drift_velocity(parameters, linked))


def sigma_t(distance: np.ndarray, parameters: Parameters, linked: bool = False) -> np.ndarray:
    """Width of the cloud in arrival time, us."""
    velocity = drift_velocity(parameters, linked)
    return _width(parameters.long_diff, distance, velocity) / velocity


def _width(diffusion: float, distance: np.ndarray, velocity: float) -> np.ndarray:
    return np.sqrt(2 * diffusion * np.maximum(distance, NEAREST) / velocity)
