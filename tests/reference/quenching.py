"""Energy deposits -> electrons that escape recombination."""

from __future__ import annotations

import numpy as np

from larndsim.data.segments import Segments, lengths
from larndsim.detector.parameters import Parameters


def electrons(segments: Segments, parameters: Parameters, model: str = "birks") -> np.ndarray:
    """Electrons that each segment sets free; `model` is birks, box or ellipsoid. Axis: (segment,)."""
    p = parameters
    density_field = p.lArDensity * p.eField
    if model == "birks":
        recombination = p.Ab / (1 + p.kb * segments.dEdx / density_field)
    elif model == "box":
        recombination = _box(p.alpha, p.beta * segments.dEdx / density_field)
    elif model == "ellipsoid":
        cosine2 = _cosine_to_drift(segments) ** 2
        beta = p.beta / np.sqrt(1 - cosine2 + cosine2 / p.R_param**2)
        recombination = _box(p.alpha, beta * segments.dEdx / density_field)
    else:
        raise ValueError(f"no recombination model {model!r}")
    return recombination * segments.dE * p.MeVToElectrons


def _box(alpha: float, xi: np.ndarray) -> np.ndarray:
    """The box model ln(alpha + xi) / xi, floored at 0; 0 where nothing is deposited."""
    deposits = xi > 0
    safe = np.where(deposits, xi, 1.0)
    return np.where(deposits, np.maximum(np.log(alpha + safe) / safe, 0.0), 0.0)


def _cosine_to_drift(segments: Segments) -> np.ndarray:
    """|cos| of the angle between segment and drift; a point counts as perpendicular."""
    length = lengths(segments)
    along = np.abs(segments.z_end - segments.z_start)
    return np.where(length > 0, along / np.where(length > 0, length, 1.0), 0.0)
