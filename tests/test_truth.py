"""Which segments are behind the hits: fractions against the charge of each segment alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from larndsim import Simulator
from larndsim.data.segments import concatenate
from larndsim.truth import integration, truth_fractions
from tests import cases

# three segments that share pixels, one of them later than the others
SEGMENTS = concatenate(
    cases.segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), event=4),
    cases.segment((2.5, 3.1, 12.0), (3.0, 3.2, 15.0), event=4),
    cases.segment((1.2, 2.1, 14.0), (2.4, 3.2, 13.0), event=4, t=1000.3),
    cases.segment((1.0, 2.0, 10.0), (2.5, 3.1, 12.0), event=5, t=12.0),
)


@pytest.fixture(scope="module")
def simulated():
    simulator = Simulator(cases.DETECTOR, backend="numpy", dtype="float64", electronics="clocked")
    batch = simulator.prepare(SEGMENTS, vary=())
    hits = simulator.hits(batch)
    return simulator, hits.numpy(), truth_fractions(simulator, batch, None, hits)


def held_alone(simulator: Simulator, hits: np.ndarray) -> np.ndarray:
    """The charge that each hit would hold of each segment. Axes: (hit, segment)."""
    begin, end = integration(hits, simulator.detector.electronics)
    charge = np.zeros((len(hits), len(SEGMENTS.dE)))
    for segment in range(len(SEGMENTS.dE)):
        w = simulator.charge(simulator.prepare(SEGMENTS.select(np.array([segment])), vary=()))
        rows = {key: row for row, key in enumerate(zip(w.event, w.plane, w.ix, w.iy, strict=True))}
        for hit, key in enumerate(zip(*(hits[name] for name in ("event", "plane", "ix", "iy")), strict=True)):
            if key in rows:
                ticks = w.start[rows[key]] / w.tick + np.arange(w.charge.shape[1])
                seen = np.interp([begin[hit], end[hit]], ticks, w.charge[rows[key]], left=0.0)
                charge[hit, segment] = seen[1] - seen[0]
    return charge


def table(truth, n_hits: int) -> np.ndarray:
    fractions = np.zeros((n_hits, len(SEGMENTS.dE)))
    fractions[truth.hit, truth.segment] = truth.fraction
    return fractions


def test_fractions_are_the_shares_of_the_charge(simulated):
    simulator, hits, truth = simulated
    charge = held_alone(simulator, hits)
    shares = charge / charge.sum(axis=1, keepdims=True)
    found = table(truth, len(hits))
    assert len(hits) > 20 and ((shares > 0.1).sum(axis=1) > 1).sum() >= 3 and hits["order"].max() > 0
    np.testing.assert_allclose(found, shares, atol=0.06)  # the mean response stands for that of each place
    assert np.abs(found - shares).mean() < 5e-3
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


def test_events_do_not_mix(simulated):
    _, hits, truth = simulated
    np.testing.assert_array_equal(SEGMENTS.event[truth.segment], hits["event"][truth.hit])


def test_pairs_are_sorted(simulated):
    _, _, truth = simulated
    assert (np.diff(truth.hit) >= 0).all()
    assert (np.diff(truth.fraction)[np.diff(truth.hit) == 0] <= 0).all()


def test_all_backends_agree(simulated, backend):
    _, hits, truth = simulated
    simulator = Simulator(cases.DETECTOR, backend=backend)
    other = truth_fractions(simulator, simulator.prepare(SEGMENTS, vary=()), cases.DETECTOR.parameters, hits)
    np.testing.assert_allclose(table(other, len(hits)), table(truth, len(hits)), atol=1e-3)


def test_no_hits_no_pairs(simulated):
    simulator, hits, _ = simulated
    batch = simulator.prepare(SEGMENTS, vary=())
    assert len(truth_fractions(simulator, batch, None, hits[:0]).hit) == 0


def test_many_segments_are_cut_to_the_largest(simulated):
    simulator = simulated[0]
    ends = np.linspace((1.0, 2.0, 10.0), (1.3, 2.2, 10.1), 41)
    many = concatenate(*(cases.segment(a, b, dE=0.05) for a, b in pairwise(ends)))
    batch = simulator.prepare(many, vary=())
    hits = simulator.hits(batch).numpy()
    truth = truth_fractions(simulator, batch, None, hits)
    assert np.bincount(truth.hit).max() == 20
    np.testing.assert_allclose(np.bincount(truth.hit, weights=truth.fraction), 1.0)
