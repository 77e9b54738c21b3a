"""Gradients of the charge against central finite differences, and between backends."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import larndsim
from larndsim import Parameters, Simulator
from larndsim.data.batch import Deposits
from tests import cases

NAMES = ("near the anode", "across the side")
SEGMENTS, _ = cases.together({name: cases.CASES[name] for name in NAMES})
PARAMETERS = cases.DETECTOR.parameters
EVERYTHING, _ = cases.together({**cases.CASES, **cases.SILENT, "no dE/dx": cases.NO_DEDX})
FOR_MODEL = {
    "birks": ("Ab", "kb", "eField", "lArDensity"),
    "box": ("alpha", "beta", "eField", "lArDensity"),
    "ellipsoid": ("alpha", "beta", "R_param", "eField", "lArDensity"),
}
ALWAYS = ("lifetime", "vdrift", "long_diff", "tran_diff", "MeVToElectrons", "shift_x", "shift_y", "shift_z")


@cache
def prepared(backend, model="birks", linked=False, name=None):
    sim = Simulator(cases.DETECTOR, backend=backend, dtype="float64", recombination=model, link_vdrift_eField=linked)
    return sim, sim.prepare(SEGMENTS if name is None else EVERYTHING, vary=PARAMETERS._fields)


def loss(sim, batch, parameters):
    """A smooth scalar that weighs pixels and ticks unevenly, in whatever order the pixels are."""
    waveforms, charge = batch.all_pixels(), sim.charge(batch, parameters).charge
    number = waveforms.ix + 1.7 * waveforms.iy + 2.3 * waveforms.plane + 0.3 * waveforms.event + 0.9 * waveforms.burst
    ticks = np.arange(charge.shape[1])
    weights = sim.backend.asarray(np.outer(np.cos(0.7 * number), np.sin(0.05 * ticks)) * 1e-4)
    return (charge * weights).sum()


def central_difference(function, x, step):
    """Fourth order."""
    near, far = (function(x + k * step) - function(x - k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def check_parameters(names, backend, model="birks", linked=False):
    sim, batch = prepared(backend, model, linked)
    parameters = PARAMETERS._replace(shift_x=0.013, shift_y=-0.021, shift_z=0.017)
    _, gradient = larndsim.value_and_grad(lambda p: loss(sim, batch, p), parameters, names, sim.backend)
    for name in names:
        value = getattr(parameters, name)
        step = 3e-5 * abs(value)  # larger ones reach the next tick, from where the sums go over other bins
        known = central_difference(
            lambda x, name=name: float(loss(sim, batch, parameters._replace(**{name: x}))), value, step
        )
        assert float(gradient[name]) == pytest.approx(known, rel=1e-6), name


@pytest.mark.parametrize("model", FOR_MODEL)
def test_every_parameter(model, differentiable_backend):
    names = (*FOR_MODEL[model], *ALWAYS) if model == "birks" else FOR_MODEL[model]
    check_parameters(names, differentiable_backend, model)


def test_linked_velocity(differentiable_backend):
    check_parameters(("eField", "temperature"), differentiable_backend, linked=True)


@cache
def coordinate_gradients(backend):
    sim, batch = prepared(backend, "ellipsoid")
    return larndsim.value_and_grad(
        lambda d: loss(sim, batch._replace(deposits=d), PARAMETERS), batch.segments, None, sim.backend
    )[1]


@pytest.mark.parametrize("name", Deposits._fields)
def test_every_coordinate(name, differentiable_backend):
    sim, batch = prepared(differentiable_backend, "ellipsoid")
    gradient = coordinate_gradients(differentiable_backend)[name]
    column = sim.backend.numpy(getattr(batch.segments, name)).copy()
    for row in range(len(SEGMENTS.event)):

        def moved(x, row=row):
            changed = column.copy()
            changed[row] = x
            deposits = batch.segments._replace(**{name: sim.backend.asarray(changed)})
            return float(loss(sim, batch._replace(deposits=deposits), PARAMETERS))

        known = central_difference(moved, column[row], 1e-4)
        scale = float(abs(gradient).max())
        assert float(gradient[row]) == pytest.approx(known, rel=1e-6, abs=1e-7 * scale), NAMES[row]


def test_backends_agree_in_gradients(differentiable_backend):
    known, gradient = (all_gradients(backend) for backend in ("torch", differentiable_backend))
    for name, value in known.items():
        np.testing.assert_allclose(gradient[name], value, rtol=1e-9, atol=1e-9 * np.abs(value).max())


@cache
def all_gradients(backend, dtype="float64"):
    """With respect to all parameters and all coordinates, of every corner case."""
    sim = Simulator(cases.DETECTOR, backend=backend, dtype=dtype, recombination="ellipsoid")
    batch = sim.prepare(EVERYTHING, vary=())
    gradient = dict(larndsim.value_and_grad(lambda p: loss(sim, batch, p), PARAMETERS, None, sim.backend)[1])
    gradient |= larndsim.value_and_grad(
        lambda d: loss(sim, batch._replace(deposits=d), PARAMETERS), batch.segments, None, sim.backend
    )[1]
    return {name: sim.backend.numpy(value) for name, value in gradient.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_gradient_is_nan(dtype, differentiable_backend):
    for name, value in all_gradients(differentiable_backend, dtype).items():
        assert np.isfinite(value).all(), name


def test_no_gradient_outside_every_tpc(differentiable_backend):
    outside = list({**cases.CASES, **cases.SILENT}).index("outside every TPC")
    row = int(np.flatnonzero(EVERYTHING.event == np.unique(EVERYTHING.event)[outside])[0])
    gradient = all_gradients(differentiable_backend)
    assert all(gradient[name][row] == 0.0 for name in Deposits._fields)


def test_jacobian_equals_the_gradient(differentiable_backend):
    sim, batch = prepared(differentiable_backend)
    names = ("Ab", "lifetime", "vdrift", "long_diff")
    _, gradient = larndsim.value_and_grad(lambda p: loss(sim, batch, p), PARAMETERS, names, sim.backend)
    _, columns = larndsim.jacobian(lambda p: loss(sim, batch, p), PARAMETERS, names, sim.backend)
    for name in names:
        assert float(columns[name]) == pytest.approx(float(gradient[name]), rel=1e-10)


def test_closed_form_gradients(differentiable_backend):
    """Of the whole charge of a point: to the lifetime, and to Birks' constants."""
    sim = Simulator(cases.DETECTOR, backend=differentiable_backend, dtype="float64")
    batch = sim.prepare(cases.CASES["of zero length"])
    names = ("Ab", "kb", "lifetime")

    def whole(p: Parameters):
        return sim.charge(batch, p).charge[:, -1].sum()

    value, gradient = larndsim.value_and_grad(whole, PARAMETERS, names, sim.backend)
    p, time = PARAMETERS, (cases.ANODE - 25.0 - 0.5) / PARAMETERS.vdrift
    slope = 2.1 / (p.eField * p.lArDensity)
    assert float(gradient["Ab"]) == pytest.approx(float(value) / p.Ab, rel=1e-9)
    assert float(gradient["kb"]) == pytest.approx(-float(value) * slope / (1 + p.kb * slope), rel=1e-9)
    assert float(gradient["lifetime"]) == pytest.approx(float(value) * time / p.lifetime**2, rel=1e-9)
