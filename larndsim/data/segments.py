"""Energy deposits: straight line segments, as edep-sim writes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Segments(NamedTuple):
    """Energy deposits along straight lines, drift along z. Axis: (segment,).

    Identifiers are int64, everything else is float64. Lengths in cm, times in us,
    `dE` in MeV, `dEdx` in MeV/cm. `t` is when the deposit happens.
    """

    event: np.ndarray
    track: np.ndarray
    segment: np.ndarray
    pdg: np.ndarray
    x_start: np.ndarray
    y_start: np.ndarray
    z_start: np.ndarray
    x_end: np.ndarray
    y_end: np.ndarray
    z_end: np.ndarray
    dE: np.ndarray
    dEdx: np.ndarray
    t: np.ndarray

    def select(self, index: np.ndarray | slice) -> Segments:
        """The segments that `index` (a mask, indices or a slice) picks."""
        return Segments(*(column[index] for column in self))


def concatenate(*parts: Segments) -> Segments:
    """All segments of the given parts, in order."""
    return Segments(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def lengths(segments: Segments) -> np.ndarray:
    """Distance between the ends of each segment, cm."""
    s = segments
    return np.sqrt((s.x_end - s.x_start) ** 2 + (s.y_end - s.y_start) ** 2 + (s.z_end - s.z_start) ** 2)
