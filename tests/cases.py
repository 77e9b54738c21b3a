"""Segments at the corners of what a simulation meets."""

from __future__ import annotations

import numpy as np

from larndsim.data.segments import Segments, concatenate
from larndsim.detector import load_detector

DETECTOR = load_detector("module0")
GEOMETRY = DETECTOR.geometry
ANODE = float(GEOMETRY.anode_z[1])
PITCH = float(GEOMETRY.pitch[1])
EDGE = float(GEOMETRY.x_low[1] + 70 * PITCH)  # a border between two pixels
CENTRE = EDGE + 0.5 * PITCH
ROW = float(GEOMETRY.y_low[1] + 140.3 * PITCH)


def segment(start, end, dE=None, dEdx=2.1, event=0, t=0.0) -> Segments:
    """One segment from `start` to `end`, (x, y, z) in cm."""
    length = float(np.linalg.norm(np.subtract(end, start)))
    dE = dEdx * length if dE is None else dE
    identifiers = (np.array([value], dtype=np.int64) for value in (event, 0, 0, 13))
    return Segments(*identifiers, *(np.array([float(value)]) for value in (*start, *end, dE, dEdx, t)))


def anode_side(distance: float) -> float:
    """z at this distance from the anode of plane 1."""
    return ANODE - distance


CASES = {
    "oblique": segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0)),
    "near the anode": segment((3.0, 4.0, anode_side(0.55)), (4.1, 4.7, anode_side(0.55))),
    "oblique to the anode": segment((3.0, 4.0, anode_side(0.55)), (4.0, 4.3, anode_side(1.8))),
    "at the cathode": segment((3.0, 4.0, 0.2), (4.1, 4.3, 0.17)),
    "along the drift": segment((CENTRE + 0.1, ROW, 4.0), (CENTRE + 0.1, ROW, 9.0)),
    "along the drift to the anode": segment(
        (CENTRE + 0.1, ROW, anode_side(3.0)), (CENTRE + 0.1, ROW, anode_side(0.55))
    ),
    "on a pixel edge": segment((EDGE, 1.0, 20.0), (EDGE, 2.2, 20.0)),
    "on a pixel edge near the anode": segment((EDGE, 1.0, anode_side(0.55)), (EDGE, 2.0, anode_side(0.55))),
    "28 cm long": segment((-10.0, -9.0, 3.0), (8.0, 5.0, 19.5)),
    "10 um long": segment((1.0, 2.0, 10.0), (1.0006, 2.0008, 10.0), dE=0.5),
    "of zero length": segment((1.0, 2.0, 25.0), (1.0, 2.0, 25.0), dE=0.5),
    "across the anode": segment((1.0, 2.0, ANODE - 1.5), (1.5, 2.5, ANODE + 1.0)),
    "across the cathode": segment((1.0, 2.0, -0.6), (1.4, 2.2, 1.2)),
    "across the side": segment((29.9, 2.0, 8.0), (31.9, 2.5, 9.0)),
    "two times": concatenate(
        segment((1.0, 2.0, 10.0), (1.5, 2.5, 10.5)), segment((1.2, 2.1, 12.0), (1.5, 2.6, 12.1), t=7.3)
    ),
    "late event": segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), t=1.2e6 + 0.037),
}

SILENT = {
    "outside every TPC": segment((80.0, 0.0, 10.0), (81.0, 0.0, 10.0)),
    "no energy": segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), dE=0.0),
    "no energy, no dE/dx": segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), dE=0.0, dEdx=0.0),
}
NO_DEDX = segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), dE=2.0, dEdx=0.0)


def together(cases: dict[str, Segments]) -> tuple[Segments, dict[str, int]]:
    """All cases as events of one sample, and the event of each: far apart, and beyond what 32 bits hold."""
    events = {name: 2**33 + 1000 * number for number, name in enumerate(cases)}
    parts = [part._replace(event=np.full_like(part.event, events[name])) for name, part in cases.items()]
    return concatenate(*parts), events
