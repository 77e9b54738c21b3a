"""Hits of the whole chain: their gradients, and that the seed, the event and the pixel alone decide the noise."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.data.segments import concatenate
from tests import cases

PARAMETERS = cases.DETECTOR.parameters
NAMES = ("Ab", "lifetime", "vdrift", "long_diff", "tran_diff", "shift_z")
SEGMENTS = concatenate(cases.CASES["oblique"], cases.segment((3.0, -4.0, 20.0), (4.5, -3.1, 23.0), event=2**24 + 1))


@cache
def slopes(backend):
    """d(tick, charge, adc)/d(parameter) of every real hit, by name: the backend's, and by finite differences."""
    sim = Simulator(cases.DETECTOR, backend=backend, dtype="float64", electronics="relaxed")
    batch = sim.prepare(SEGMENTS, vary=NAMES)
    known = larndsim.jacobian(lambda p: sim.hits(batch, p)[8:11], PARAMETERS, NAMES, sim.backend)[1]
    return {name: [sim.backend.numpy(column) for column in known[name]] for name in NAMES}, differences(sim, batch)


def differences(sim, batch):
    """Fourth-order central differences, and which hits are there at all points."""
    found = {}
    for name in NAMES:
        value = getattr(PARAMETERS, name)
        # so small that no hit meets a corner of the waveform, between two ticks; what moves hits little needs more,
        # or rounding shows
        step = (1e-5 if name.endswith("_diff") else 1e-6) * (abs(value) or 1.0)
        at = {k: sim.hits(batch, PARAMETERS._replace(**{name: value + k * step})) for k in (-2, -1, 1, 2)}
        there = np.all([sim.backend.numpy(hits.mask) for hits in at.values()], axis=0)
        columns = {k: [sim.backend.numpy(column) for column in hits[8:11]] for k, hits in at.items()}
        found[name] = (
            there,
            [(8 * (columns[1][i] - columns[-1][i]) - (columns[2][i] - columns[-2][i])) / (12 * step) for i in range(3)],
        )
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quantity", ["tick", "charge", "adc"])
def test_gradient_of_every_hit(differentiable_backend, name, quantity):
    """Of each hit by itself, to each parameter."""
    column = ["tick", "charge", "adc"].index(quantity)
    gradient, known = slopes(differentiable_backend)
    there, reference = known[name]
    one, other = gradient[name][column][there], reference[column][there]
    scale = np.abs(other).max()
    assert len(one) > 15 and scale > 0
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7 * scale)


def test_the_noise_of_a_pixel_is_its_own(backend):
    """Whatever else is in the batch, also where single precision would take its event for another."""
    sim = Simulator(cases.DETECTOR, backend=backend, electronics="clocked")
    event = 2**24 + 1
    together = sim(SEGMENTS, seed=5).numpy()
    alone = sim(SEGMENTS.select(SEGMENTS.event == event), seed=5).numpy()
    same = together[together["event"] == event]
    assert len(alone) > 5 and 0 < len(same) < len(together)
    np.testing.assert_array_equal(same[["ix", "iy", "order", "tick"]], alone[["ix", "iy", "order", "tick"]])
    np.testing.assert_allclose(same["charge"], alone["charge"], rtol=1e-4)
    neighbour = sim(SEGMENTS._replace(event=np.where(SEGMENTS.event == event, event - 1, 0)), seed=5).numpy()
    assert not np.array_equal(neighbour[neighbour["event"] == event - 1]["charge"], alone["charge"])


def test_hits_of_a_batch_share_who_they_are(backend):
    sim = Simulator(cases.DETECTOR, backend)
    batch = sim.prepare(SEGMENTS)
    first, second = sim.hits(batch), sim.hits(batch)
    waveforms = sim.charge(batch), sim.charge(batch)
    for name in ("event", "plane", "ix", "iy"):
        for one, other in ((first, second), waveforms):
            assert getattr(one, name) is getattr(other, name)
            with pytest.raises(ValueError, match="read-only"):
                getattr(one, name)[:] = 0
