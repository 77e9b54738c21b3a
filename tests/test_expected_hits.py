"""Expected hits of the whole chain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import larndsim
from larndsim import ArgumentError, Simulator
from larndsim.data.segments import concatenate
from tests import cases

PARAMETERS = cases.DETECTOR.parameters
SEGMENTS = concatenate(cases.CASES["oblique"], cases.segment((3.0, -4.0, 20.0), (4.5, -3.1, 23.0), event=2**24 + 1))
NAMES = ("Ab", "lifetime", "long_diff", "shift_z")
COLUMNS = ("tick", "charge", "probability", "tick_spread", "charge_spread")


def simulator(backend, **options):
    return Simulator(cases.DETECTOR, backend, dtype="float64", electronics="expected", **options)


def test_columns(backend):
    sim = simulator(backend)
    batch = sim.prepare(SEGMENTS)
    hits = sim.hits(batch)
    numpy = sim.backend.numpy
    probability, mask = numpy(hits.probability), numpy(hits.mask)
    assert np.array_equal(mask, probability > 1e-4) and not numpy(hits.charge)[~mask].any()
    table = hits.numpy()
    assert table.dtype.names[-3:] == ("probability", "tick_spread", "charge_spread") and len(table) == mask.sum()
    relaxed = Simulator(cases.DETECTOR, backend, dtype="float64").hits(batch)
    assert relaxed.probability is None and "probability" not in relaxed.numpy().dtype.names
    both = mask & numpy(relaxed.mask) & (probability > 0.99)
    assert both.sum() > 5
    assert np.abs(numpy(hits.charge) - numpy(relaxed.charge))[both].max() < 2e3
    counts = (numpy(hits.charge) * 4e-3 + 580 - 288) * 256 / (1300 - 288)
    np.testing.assert_allclose(numpy(hits.adc)[mask], counts[mask], rtol=1e-9)


def test_expected_number_of_hits(backend):
    sim = simulator(backend)
    batch = sim.prepare(SEGMENTS)
    number = sim.backend.numpy(sim.expected_hits(batch))
    clocked = Simulator(cases.DETECTOR, backend, dtype="float64", electronics="clocked")
    drawn = [clocked.backend.numpy(clocked.hits(batch, seed=seed).mask).reshape(-1, 10).sum(1) for seed in range(40)]
    assert number.shape == (len(batch.all_pixels().event),)
    spread = np.maximum(np.std(drawn, axis=0), 0.05)
    assert np.all(np.abs(np.mean(drawn, axis=0) - number) <= 4 * spread / 40**0.5)
    with pytest.raises(ArgumentError, match="`electronics` must be expected, but they are clocked"):
        clocked.expected_hits(batch)


def test_jacobian_by_parameters(differentiable_backend):
    sim = simulator(differentiable_backend)
    batch, numpy = sim.prepare(SEGMENTS, vary=NAMES), sim.backend.numpy

    def columns(parameters):
        hits = sim.hits(batch, parameters)
        return tuple(getattr(hits, name) for name in COLUMNS)

    value, slopes = larndsim.jacobian(columns, PARAMETERS, NAMES, sim.backend)
    there = numpy(value[2]) > 1e-2
    for name in NAMES:
        nominal = getattr(PARAMETERS, name)
        step = 3e-6 * (nominal or 1.0)  # so small that no window of a waveform begins a tick later
        at = [columns(PARAMETERS._replace(**{name: nominal + k * step})) for k in (-2, -1, 1, 2)]
        for row, column in enumerate(COLUMNS):
            one, two, three, four = (numpy(columns_[row])[there] for columns_ in at)
            known = (8 * (three - two) - (four - one)) / (12 * step)
            own = numpy(slopes[name][row])[there]
            np.testing.assert_allclose(
                own, known, rtol=1e-4, atol=1e-5 * np.abs(known).max(), err_msg=f"{name} {column}"
            )


def test_gradient_of_the_expected_number(differentiable_backend):
    sim = simulator(differentiable_backend)
    batch = sim.prepare(SEGMENTS, vary=NAMES)

    def total(parameters):
        return sim.expected_hits(batch, parameters).sum()

    _, gradient = larndsim.value_and_grad(total, PARAMETERS, NAMES, sim.backend)
    _, forward = larndsim.jacobian(total, PARAMETERS, NAMES, sim.backend)
    for name in NAMES:
        assert float(gradient[name]) == pytest.approx(float(forward[name]), rel=1e-8)


def test_parts_and_empty_batches_change_nothing(backend):
    segments = larndsim.generate("muons", seed=4, detector=cases.DETECTOR, length=40)
    known = np.sort(simulator(backend)(segments).numpy(), order=["event", "plane", "ix", "iy", "order"])
    parts = simulator(backend, memory="15MB")
    batch = parts.prepare(segments, vary=())
    assert len(batch.parts) > 1
    for name in known.dtype.names:
        np.testing.assert_allclose(parts.hits(batch).numpy()[name], known[name], rtol=1e-6, atol=1e-6, err_msg=name)
    nothing = simulator(backend)(cases.SILENT["outside every TPC"])
    assert len(nothing.numpy()) == 0 and len(simulator(backend)(nothing_of()).numpy()) == 0


def nothing_of():
    return SEGMENTS.select(np.zeros(len(SEGMENTS.event), dtype=bool))


def test_thresholds_may_be_higher_than_the_detector_s(backend):
    high = replace(cases.DETECTOR, electronics=replace(cases.DETECTOR.electronics, threshold=14e3))
    known = Simulator(high, backend, dtype="float64", electronics="expected")(SEGMENTS).numpy()
    hits = simulator(backend, thresholds=np.full(cases.GEOMETRY.shape, 14e3))(SEGMENTS).numpy()
    assert len(known) > 5 and known["charge"].min() > 12e3
    for name in known.dtype.names:
        np.testing.assert_array_equal(hits[name], known[name])


def test_a_seed_is_refused(backend):
    with pytest.raises(ArgumentError, match=r"Argument `seed` must be left out with electronics expected, .* it is 3"):
        simulator(backend)(SEGMENTS, seed=3)


def test_a_detector_without_noise_is_refused():
    for name, what in (("reset_noise", "reset noise"), ("uncorrelated_noise", "noise of the comparator")):
        quiet = replace(cases.DETECTOR, electronics=replace(cases.DETECTOR.electronics, **{name: 0.0}))
        with pytest.raises(ArgumentError, match=f"expected integrates over the {what}, and it is 0"):
            Simulator(quiet, "numpy", electronics="expected")
