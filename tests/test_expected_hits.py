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


def maps_of_channels():
    """Electronics of its own behind every channel; a fifth are off."""
    rng, shape = np.random.default_rng(6), cases.GEOMETRY.shape
    return {
        "thresholds": rng.uniform(4e3, 9e3, shape),
        "gains": rng.uniform(3e-3, 5e-3, shape),
        "pedestals": rng.uniform(500.0, 650.0, shape),
        "v_cm": rng.uniform(250.0, 300.0, shape),
        "v_ref": rng.uniform(1200.0, 1400.0, shape),
        "bad_channels": rng.random(shape) < 0.2,
    }


def test_the_means_of_many_draws_with_channels_of_their_own(backend):
    """The number of hits of each pixel; ticks, charges and ADC values of hits that are seldom missing."""
    settings = replace(cases.DETECTOR.electronics, digitisation="floor", discriminator_noise=650.0)
    detector, options, n = replace(cases.DETECTOR, electronics=settings), {"dtype": "float64", **maps_of_channels()}, 60
    sim = Simulator(detector, backend, electronics="expected", **options)
    clocked = Simulator(detector, backend, electronics="clocked", **options)
    batch, numpy = sim.prepare(SEGMENTS, vary=()), sim.backend.numpy
    number, hits = numpy(sim.expected_hits(batch)), sim.hits(batch)
    drawn = [clocked.hits(batch, seed=seed) for seed in range(n)]
    there = np.array([numpy(each.mask) for each in drawn])
    counts = there.reshape(n, -1, 10).sum(axis=2)
    assert number.shape == (len(batch.all_pixels().event),)
    spread = np.maximum(counts.std(axis=0), 0.05)
    assert np.all(np.abs(counts.mean(axis=0) - number) <= 4 * spread / n**0.5)
    pixels = batch.all_pixels()
    off = options["bad_channels"][pixels.plane, pixels.ix, pixels.iy]
    assert off.any() and not number[off].any() and number[~off].sum() > 10
    often = numpy(hits.probability) > 0.9
    assert often.sum() > 10
    width = (options["v_ref"] - options["v_cm"]) / 256 / options["gains"]  # electrons per count
    width = np.repeat(width[pixels.plane, pixels.ix, pixels.iy], 10)
    spreads = {"tick": numpy(hits.tick_spread), "charge": numpy(hits.charge_spread)}
    spreads["adc"] = np.hypot(spreads["charge"] / width, 0.3)
    for name, below in (("tick", 0.0), ("charge", 0.0), ("adc", 0.5)):
        values = np.array([numpy(getattr(each, name)) for each in drawn])
        mean = np.sum(values * there, axis=0)[often] / there.sum(axis=0)[often]
        error = spreads[name][often] / np.sqrt(there.sum(axis=0)[often])
        assert np.all(np.abs(mean + below - numpy(getattr(hits, name))[often]) <= 4.5 * error)


def test_expected_hits_are_those_of_expected_electronics():
    clocked = Simulator(cases.DETECTOR, "numpy", electronics="clocked")
    with pytest.raises(ArgumentError, match="`electronics` must be expected, but they are clocked"):
        clocked.expected_hits(clocked.prepare(SEGMENTS))


def test_a_threshold_beyond_all_levels_is_refused_unless_the_channel_is_off():
    thresholds = np.full(cases.GEOMETRY.shape, 7e3)
    thresholds[0, 0, 0] = 1e6
    with pytest.raises(
        ArgumentError, match=r"`thresholds` must be 200000 electrons at most .* there is one of 1e[+]06"
    ):
        simulator("numpy", thresholds=thresholds)
    simulator("numpy", thresholds=thresholds, bad_channels=thresholds > 1e5)


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
    names = "oblique", "on a pixel edge", "across the anode", "along the drift"
    segments = concatenate(*(cases.CASES[name] for name in names))
    known = np.sort(simulator(backend)(segments).numpy(), order=["event", "plane", "ix", "iy", "order"])
    parts = simulator(backend, memory="1kB")
    batch = parts.prepare(segments, vary=())
    assert len(batch.parts) > 1
    found = np.sort(parts.hits(batch).numpy(), order=["event", "plane", "ix", "iy", "order"])
    for name in known.dtype.names:
        np.testing.assert_allclose(found[name], known[name], rtol=1e-6, atol=1e-6, err_msg=name)
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
