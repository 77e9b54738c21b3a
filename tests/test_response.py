"""The response that a detector owns, and its clock, decide the waveforms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from larndsim import Simulator
from larndsim.response import FieldResponse
from tests import cases

TRACK = cases.segment((1.0, 2.0, 10.0), (2.2, 2.5, 12.0))


def waveforms(detector):
    sim = Simulator(detector, "numpy", dtype="float64")
    batch = sim.prepare(TRACK, vary=())
    return sim, batch, sim.charge(batch)


@pytest.mark.parametrize("tick", [0.2, 0.05])
def test_waveforms_and_ticks_follow_the_clock(tick):
    """The same charge at the same times; hits at half the ticks, or twice as many."""
    clocked = replace(cases.DETECTOR, electronics=replace(cases.DETECTOR.electronics, clock=tick))
    (sim, batch, known), (other_sim, other_batch, other) = waveforms(cases.DETECTOR), waveforms(clocked)
    assert (known.tick, other.tick) == (0.1, tick)
    np.testing.assert_array_equal(known.ix, other.ix)
    for row in range(len(known.ix)):
        times = known.start[row] + 0.1 * np.arange(known.charge.shape[1])
        places = other.start[row] + tick * np.arange(other.charge.shape[1])
        on_both = np.isin(np.rint(times / 0.05), np.rint(places / 0.05))
        at = np.searchsorted(np.rint(places / 0.05), np.rint(times[on_both] / 0.05))
        assert np.abs(other.charge[row, at] - known.charge[row, on_both]).max() <= 1e-3 * known.charge[row, -1] + 1e-3
    # the chip holds, resets and rests for as many ticks, which take another time: the first hits alone are the same
    hits, others = sim.hits(batch), other_sim.hits(other_batch)
    first = (hits.order == 0) & hits.mask & others.mask
    assert first.sum() > 3
    np.testing.assert_allclose(others.tick[first] * tick, hits.tick[first] * 0.1, atol=0.05)


def test_a_response_further_away_is_reached_sooner():
    near = replace(cases.DETECTOR, response=FieldResponse(distance=1.5))
    (sim, _, known), (_, _, other) = waveforms(cases.DETECTOR), waveforms(near)
    velocity = float(sim.detector.parameters.vdrift)
    row = int(np.argmax(known.charge[:, -1]))

    def middle(found):
        """When half of the charge is seen."""
        times = found.start[row] + 0.1 * np.arange(found.charge.shape[1])
        return np.interp(0.5 * found.charge[row, -1], found.charge[row], times)

    assert middle(known) - middle(other) == pytest.approx(1.0 / velocity, abs=0.02)


def test_ticks_of_a_response():
    assert FieldResponse().sampling(0.1) == (0.1, 240, 48, 32)
    coarse = FieldResponse().sampling(0.2)
    assert coarse.before == 120 and coarse.after >= 24 and coarse.span % coarse.block == 0
