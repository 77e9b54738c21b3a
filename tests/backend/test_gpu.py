"""On a GPU: the same charge, hits and gradients as NumPy and the processor give in double precision."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend.base import GPU
from larndsim.errors import ArgumentError
from optimize.losses import get_loss

pytestmark = pytest.mark.gpu

SIX = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # of a pixel's charge


@cache
def prepared(backend, device="cpu", dtype="float64"):
    try:
        sim = Simulator("module0", backend, device, dtype, link_vdrift_eField=True)
    except ArgumentError as error:
        pytest.skip(str(error))
    sim._room = GPU  # on the processor, too, so that pixels have the same classes and the same order
    segments = larndsim.generate("muons", length=40, seed=1)
    return sim, sim.prepare(segments, vary=SIX)


@cache
def reference():
    """Charge and hits by NumPy in double precision."""
    sim, batch = prepared("numpy")
    return np.asarray(sim.charge(batch).charge), sim.hits(batch).numpy()


def test_charge(differentiable_backend, dtype):
    sim, batch = prepared(differentiable_backend, "cuda", dtype)
    known, _ = reference()
    found = sim.backend.numpy(sim.charge(batch).charge)
    bright = known[:, -1] > 500
    assert (np.abs(found - known)[bright] / known[bright, -1:]).max() < TOLERANCE[dtype]


def test_hits(differentiable_backend):
    sim, batch = prepared(differentiable_backend, "cuda")
    _, known = reference()
    found = sim.hits(batch).numpy()
    for name in ("event", "plane", "ix", "iy", "order"):
        assert np.array_equal(found[name], known[name]), name
    for name in ("z", "tick", "charge"):
        np.testing.assert_allclose(found[name], known[name], rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("name", ["hits", "soft_dtw", "sinkhorn"])
def test_gradient_of_a_loss(name, differentiable_backend):
    """Against the same backend on the processor."""
    _, target = reference()
    gradients = []
    for device in ("cuda", "cpu"):
        sim, batch = prepared(differentiable_backend, device)
        start = sim.detector.parameters._replace(Ab=0.81, lifetime=1900.0)
        loss = get_loss(name)

        def function(p, sim=sim, batch=batch, loss=loss):
            return loss.value(sim.hits(batch, p), target, sim.backend)

        _, gradient = larndsim.value_and_grad(function, start, SIX, sim.backend)
        gradients.append({key: float(value) for key, value in gradient.items()})
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-6)
