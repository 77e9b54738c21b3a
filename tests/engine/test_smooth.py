"""Waveforms move smoothly with the parameters: what they are computed on does not jump."""

from __future__ import annotations

import numpy as np

from larndsim import Simulator
from tests import cases

STEPS = 120  # of the drift velocity, in which charge arrives three ticks earlier


def test_no_jump_when_a_signal_begins_a_tick_earlier():
    """Narrow clouds that arrive at once, as bins resolve them at their worst: bins that moved would show."""
    simulator = Simulator(cases.DETECTOR, "numpy", dtype="float64")
    z = cases.anode_side(12.0)
    batch = simulator.prepare(cases.segment((1.0, 2.0, z), (1.6, 2.3, z)), vary=("vdrift",))
    parameters = simulator.detector.parameters
    velocities = parameters.vdrift * np.linspace(1.0, 1.006, STEPS)
    charge = np.array([simulator.charge(batch, parameters._replace(vdrift=v)).charge for v in velocities])
    curvature = np.abs(charge[2:] - 2.0 * charge[1:-1] + charge[:-2]).max(axis=(1, 2))
    assert curvature.max() < 1e-4 * charge.max()
