"""The memory that a batch takes: asked for, estimated, measured."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend import DIFFERENTIABLE
from larndsim.engine.footprint import bytes_of
from larndsim.errors import ArgumentError
from tests import cases

SEGMENTS = larndsim.generate("muons", length=120.0, seed=3)
NAMES = ("lifetime", "long_diff")


def simulated(backend, memory):
    sim = Simulator(cases.DETECTOR, backend, dtype="float64", memory=memory)
    return sim, sim.prepare(SEGMENTS, vary=NAMES)


@pytest.fixture(scope="module")
def both(backend):
    """One part, and as many as can be."""
    return [simulated(backend, memory) for memory in ("100GB", "1kB")]


def test_the_same_hits_and_waveforms_whatever_the_memory(both):
    (_, whole), (_, cut) = both
    assert len(whole.parts) == 1 and len(cut.parts) > 1
    order = ["event", "plane", "ix", "iy", "order"]
    hits = [np.sort(sim.hits(batch, seed=1).numpy(), order=order) for sim, batch in both]
    assert len(hits[0]) and (hits[0] == hits[1]).all()
    charge = [sim.backend.numpy(sim.charge(batch).charge) for sim, batch in both]
    np.testing.assert_array_equal(*charge)
    fractions = [np.sort(sim.truth(batch, sim.hits(batch)).fraction) for sim, batch in both]
    np.testing.assert_array_equal(*fractions)


def test_the_same_derivatives_whatever_the_memory(both):
    if both[0][0].backend.name not in DIFFERENTIABLE:
        pytest.skip("no derivatives")
    for derive in (larndsim.value_and_grad, larndsim.jacobian):
        found = []
        for sim, batch in both:
            value, slopes = derive(
                lambda p, sim=sim, batch=batch: (sim.hits(batch, p).charge ** 2).sum() * 1e-9,
                sim.detector.parameters, NAMES, sim.backend,
            )  # fmt: skip
            found.append([float(value), *(float(slopes[name]) for name in NAMES)])
        np.testing.assert_allclose(*found, rtol=1e-10)


def test_several_parts_pass_through_transformations():
    jax = pytest.importorskip("jax")
    sim, batch = simulated("jax", "1kB")
    parameters = sim.detector.parameters

    def loss(lifetime, batch):
        return (sim.hits(batch, parameters._replace(lifetime=lifetime)).charge ** 2).sum() * 1e-9

    outside = jax.jit(jax.value_and_grad(loss))(2200.0, batch)
    inside = larndsim.value_and_grad(lambda p: jax.jit(loss)(p.lifetime, batch), parameters, ("lifetime",), sim.backend)
    assert float(inside[0]) == pytest.approx(float(outside[0]), rel=1e-12)
    assert float(inside[1]["lifetime"]) == pytest.approx(float(outside[1]), rel=1e-10)


def test_less_memory_is_a_smaller_footprint(both):
    large, small = (sim.footprint(batch) for sim, batch in both)
    assert large.gradient > small.gradient >= small.hits > small.resident > 0


def test_an_empty_batch_takes_nothing(backend):
    sim = Simulator(cases.DETECTOR, backend)
    batch = sim.prepare(cases.segment((0.0, 0.0, 100.0), (1.0, 0.0, 100.0)))
    assert len(sim.hits(batch).numpy()) == 0 and sim.footprint(batch).resident == 0.0


@pytest.mark.parametrize("wrong", ["much", "-2GB", 0, "nan", None, "3 apples"])
def test_a_size_is_checked(wrong):
    with pytest.raises(ArgumentError, match="Argument `memory` must be a number of bytes with its unit"):
        Simulator(cases.DETECTOR, "numpy", memory=wrong)


def test_sizes():
    assert [bytes_of(text) for text in ("2GB", "300 MB", 5e8, "1KiB")] == [2e9, 3e8, 5e8, 1024.0]


@pytest.mark.slow
@pytest.mark.parametrize("name,memory", [("torch", "2GB"), ("torch", "300MB"), ("jax", "300MB")])
def test_the_estimate_is_within_a_third_of_what_is_measured(name, memory):
    from benchmarks.measure import in_fresh_process
    from benchmarks.memory import measured

    pytest.importorskip(name)
    row = in_fresh_process(measured, 8000.0, name, "float32", memory, "six")
    assert row["gradient_estimate"] == pytest.approx(row["gradient"], rel=0.3)
    assert row["hits_estimate"] == pytest.approx(row["hits"], rel=0.3)
