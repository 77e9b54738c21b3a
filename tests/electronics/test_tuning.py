"""Parameters of the electronics: what moves with them, and the derivatives by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import larndsim
from larndsim import ArgumentError, Parameters, Simulator
from larndsim.detector import load_detector
from larndsim.detector.parameters import BOUNDS, ELECTRONIC, electronic_bounds

MODULE0 = load_detector("module0")
NOISY = replace(MODULE0, electronics=replace(MODULE0.electronics, discriminator_noise=300.0))
SEGMENTS = larndsim.generate("muons", length=8.0, seed=3)
AWAY = {
    "threshold": 7100.0, "gain": 4.03e-3, "pedestal": 581.0, "reset_noise": 850.0, "uncorrelated_noise": 520.0,
    "discriminator_noise": 310.0,
}  # fmt: skip
STEP = 1e-5  # of the value


def maps():
    random, shape = np.random.default_rng(0), MODULE0.geometry.shape
    return {
        "thresholds": 7000.0 * random.uniform(0.95, 1.05, shape),
        "gains": 4e-3 * random.uniform(0.98, 1.02, shape),
        "pedestals": 580.0 + random.uniform(-5.0, 5.0, shape),
    }


@pytest.fixture(scope="module")
def recorded():
    simulator = Simulator(NOISY, "numpy", dtype="float64", electronics="clocked", **maps())
    return simulator.hits(simulator.prepare(SEGMENTS, vary=()), seed=2).numpy()


def difference(function, parameters, name):
    value = getattr(parameters, name)
    ends = [function(parameters._replace(**{name: value * (1.0 + sign * STEP)})) for sign in (1, -1)]
    return (float(ends[0]) - float(ends[1])) / np.sum(2.0 * STEP * np.asarray(value))


def test_derivatives_of_the_likelihood(differentiable_backend, recorded):
    simulator = Simulator(NOISY, differentiable_backend, dtype="float64", **maps())
    batch, names = simulator.prepare(SEGMENTS, vary=()), list(ELECTRONIC)
    parameters = simulator.detector.nominal._replace(**AWAY)

    def total(p):
        return simulator.log_likelihood(batch, recorded, p).sum()

    _, backwards = larndsim.value_and_grad(total, parameters, names, simulator.backend)
    _, forwards = larndsim.jacobian(
        lambda p: simulator.log_likelihood(batch, recorded, p), parameters, names, simulator.backend
    )
    for name in names:
        known = difference(total, parameters, name)
        assert known != 0.0
        assert float(backwards[name]) == pytest.approx(known, rel=1e-6)
        assert float(simulator.backend.numpy(forwards[name]).sum()) == pytest.approx(known, rel=1e-6)


def test_one_value_per_module(recorded):
    simulator = Simulator(NOISY, "torch", dtype="float64")
    batch = simulator.prepare(SEGMENTS, vary=())
    one = simulator.detector.nominal._replace(threshold=7100.0)
    several = one._replace(threshold=np.array([7100.0]))

    def total(p):
        return simulator.log_likelihood(batch, recorded, p).sum()

    assert float(total(one)) == float(total(several))
    gradients = [larndsim.value_and_grad(total, p, ("threshold",), simulator.backend)[1] for p in (one, several)]
    assert gradients[1]["threshold"].shape == (1,)
    assert float(gradients[0]["threshold"]) == pytest.approx(float(gradients[1]["threshold"][0]), rel=1e-12)


def test_values_of_the_detector_change_nothing(backend):
    simulator = Simulator(NOISY, backend, dtype="float64", electronics="clocked", **maps())
    batch = simulator.prepare(SEGMENTS, vary=())
    nominal, known = simulator.detector.nominal, simulator.hits(batch, seed=2).numpy()
    for parameters in (nominal, Parameters(), nominal._replace(threshold=np.array([7000.0]))):
        assert np.array_equal(simulator.hits(batch, parameters, seed=2).numpy(), known)


@pytest.mark.parametrize("electronics", ["clocked", "relaxed", "expected"])
def test_as_if_the_detector_were_so(backend, electronics):
    """Parameters of the electronics give what a detector with these values gives."""
    settings = {("v_pedestal" if name == "pedestal" else name): value for name, value in AWAY.items()}
    other = replace(NOISY, electronics=replace(NOISY.electronics, **settings))
    found = []
    for detector, parameters in ((NOISY, NOISY.nominal._replace(**AWAY)), (other, None)):
        simulator = Simulator(detector, backend, dtype="float64", electronics=electronics)
        seed = 4 if electronics == "clocked" else None
        batch = simulator.prepare(SEGMENTS, vary=())
        found.append(simulator.hits(batch, parameters, seed).numpy())
    for name in found[0].dtype.names:
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-9), name


def test_maps_move_along():
    """Thresholds and gains of channels move in proportion, pedestals by the difference."""
    given, found = maps(), []
    moved = {
        "thresholds": given["thresholds"] * 7100.0 / 7000.0,
        "gains": given["gains"] * 4.03e-3 / 4e-3,
        "pedestals": given["pedestals"] + 1.0,
    }
    chosen = {name: AWAY[name] for name in ("threshold", "gain", "pedestal")}
    for channels, parameters in ((given, Parameters(**chosen)), (moved, None)):
        simulator = Simulator(NOISY, "numpy", dtype="float64", electronics="clocked", **channels)
        found.append(simulator.hits(simulator.prepare(SEGMENTS, vary=()), parameters, seed=4).numpy())
    assert np.array_equal(found[0]["adc"], found[1]["adc"])
    assert np.array_equal(found[0]["tick"], found[1]["tick"])


def test_derivatives_of_relaxed_hits(differentiable_backend):
    simulator = Simulator(NOISY, differentiable_backend, dtype="float64", **maps())
    batch, names = simulator.prepare(SEGMENTS, vary=()), ("threshold", "gain", "pedestal")
    parameters = simulator.detector.nominal._replace(**AWAY)
    weights = np.random.default_rng(1).normal(size=len(simulator.backend.numpy(simulator.hits(batch).tick)))
    weights = simulator.backend.asarray(weights)

    def total(p):
        hits = simulator.hits(batch, p)
        return (hits.tick * weights).sum() + (hits.charge * weights * 1e-3).sum() + (hits.adc * weights).sum()

    _, backwards = larndsim.value_and_grad(total, parameters, names, simulator.backend)
    _, forwards = larndsim.jacobian(total, parameters, names, simulator.backend)
    for name in names:
        known = difference(total, parameters, name)
        assert known != 0.0
        assert float(backwards[name]) == pytest.approx(known, rel=1e-6)
        assert float(forwards[name]) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize(("electronics", "name"), [("relaxed", "reset_noise"), ("expected", "threshold")])
def test_derivatives_that_are_not_there_are_refused(differentiable_backend, electronics, name):
    simulator = Simulator(NOISY, differentiable_backend, electronics=electronics)
    batch, seed = simulator.prepare(SEGMENTS, vary=()), None if electronics == "expected" else 1
    with pytest.raises(ArgumentError, match=f"Argument `{name}` must move a likelihood alone"):
        larndsim.value_and_grad(
            lambda p: simulator.hits(batch, p, seed).charge.sum(), NOISY.nominal, (name,), simulator.backend
        )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"threshold": -1.0}, "`threshold` must be greater than 0"),
        ({"reset_noise": -1.0}, "`reset_noise` must be 0 or more"),
        ({"gain": np.nan}, "`gain` must be finite"),
        ({"pedestal": "high"}, "`pedestal` must be a number"),
    ],
)
def test_what_no_chip_has_is_refused(values, sentence):
    simulator = Simulator(NOISY, "numpy")
    with pytest.raises(ArgumentError, match=sentence):
        simulator.hits(simulator.prepare(SEGMENTS, vary=()), Parameters(**values))


@pytest.mark.parametrize("name", ["threshold", "Ab"])
def test_one_value_too_many(name):
    simulator = Simulator(NOISY, "numpy")
    parameters = NOISY.nominal._replace(**{name: np.full(3, getattr(NOISY.nominal, name))})
    with pytest.raises(ArgumentError, match=rf"`{name}` must be one value, or one per module \(1\), but its shape is"):
        simulator.hits(simulator.prepare(SEGMENTS, vary=()), parameters)


def test_derivatives_forwards_are_by_single_numbers(differentiable_backend):
    simulator = Simulator(NOISY, differentiable_backend)
    parameters = NOISY.nominal._replace(threshold=np.array([7000.0]))
    with pytest.raises(ArgumentError, match="`wrt` must name single numbers, but threshold has the shape"):
        larndsim.jacobian(lambda p: p.threshold, parameters, ("threshold",), simulator.backend)


@pytest.mark.parametrize("widths", [(0.0, 1e-3), (0.0, 1.0), (14.99, 15.01)])
def test_a_threshold_that_is_nearly_sharp(backend, recorded, widths):
    """It counts as a sharp one up to 0.03 of the noise on what is digitised, and nothing jumps there."""
    simulator = Simulator(MODULE0, backend, dtype="float64")
    batch = simulator.prepare(SEGMENTS, vary=())
    values = []
    for noise in widths:
        found = simulator.log_likelihood(batch, recorded, Parameters(discriminator_noise=noise))
        values.append(simulator.backend.numpy(found))
    assert values[1] == pytest.approx(values[0], abs=1e-4)


def test_ranges():
    """They follow the detector, and hold what it says."""
    assert {name: BOUNDS[name] for name in ELECTRONIC} == electronic_bounds(MODULE0.electronics)
    for detector in (MODULE0, NOISY):
        for name, bound in electronic_bounds(detector.electronics).items():
            assert bound.down <= getattr(detector.nominal, name) <= bound.up
            assert bound.down < bound.up
