"""Each of the first stages alone against its twin, for whatever goes in: quenching, drifting, the plan."""

from __future__ import annotations

from functools import cache

import eagerpy as ep
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from larndsim import Simulator
from larndsim.backend import get_backend
from larndsim.detector.mobility import drift_velocity
from larndsim.drifting import drift
from larndsim.quenching import RECOMBINATION, quench
from tests import cases
from tests.reference import drifting, pixelization, quenching

EXACT = 1e-12
TINY = 1e-300  # JAX takes subnormal numbers for zero, here times the electrons of an MeV
POINTS = 8  # of each example: one shape, which frameworks compile once
NOMINAL = cases.DETECTOR.parameters


def numbers(low, high):
    return arrays(np.float64, POINTS, elements=st.floats(low, high))


def parameters(*names):
    """Any values of these within their bounds, the others nominal."""
    bounds = {name: cases.DETECTOR.bounds[name] for name in names}
    values = st.fixed_dictionaries({name: st.floats(b.down, b.up) for name, b in bounds.items()})
    return values.map(lambda found: NOMINAL._replace(**found))


@cache
def native(backend):
    return get_backend(backend, dtype="float64")


def tensors(backend, *values):
    return [ep.astensor(native(backend).asarray(value)) for value in values]


def on(backend, p):
    """The parameters as tensors."""
    return type(p)(*(None if value is None else tensors(backend, value)[0] for value in p))


def along(cos2):
    """Segments of 1 cm at such angles to the drift."""
    length = np.sqrt(cos2)
    one = cases.segment((0.0, 0.0, 10.0), (1.0, 0.0, 10.0))
    whole = one._replace(**{name: np.repeat(column, POINTS) for name, column in one._asdict().items()})
    return whole._replace(x_end=np.sqrt(1.0 - cos2), z_end=10.0 + length)


@pytest.mark.parametrize("model", RECOMBINATION)
@given(
    dE=numbers(0.0, 50.0),
    dEdx=numbers(0.01, 200.0),
    cos2=numbers(0.0, 1.0),
    p=parameters("Ab", "kb", "eField", "lArDensity", "alpha", "beta", "R_param", "MeVToElectrons"),
)
def test_quenching(model, backend, dE, dEdx, cos2, p):
    found = quench(*tensors(backend, dE, dEdx, cos2), on(backend, p), model).numpy()
    segments = along(cos2)
    known = quenching.electrons(segments._replace(dE=dE, dEdx=dEdx), p, model)
    # box models cross zero, where what is exact are the terms: all that there was to recombine
    assert (np.abs(found - known) <= EXACT * (known + dE * p.MeVToElectrons) + TINY).all()
    assert (found >= 0.0).all()


@given(d=numbers(1e-3, 60.0), t=numbers(-1e4, 1e4), p=parameters("vdrift", "lifetime", "tran_diff", "long_diff"))
def test_drifting(backend, d, t, p):
    found = drift(*tensors(backend, d, t), on(backend, p), drifting.RESPONSE_DISTANCE)
    known = (
        drifting.arrival_time(d, t, p),
        drifting.survival(d, p),
        drifting.sigma_T(d, p) ** 2,
        drifting.sigma_t(d, p) ** 2,
    )
    for name, ours, twin in zip(found._fields, found, known, strict=True):
        at_zero = EXACT * np.abs(t).max() if name == "arrival" else 0.0  # of a deposit before the reference time
        np.testing.assert_allclose(ours.numpy(), twin, rtol=EXACT, atol=at_zero, err_msg=name)


@given(p=parameters("eField", "temperature"))
def test_the_velocity_of_a_field(backend, p):
    found = drift_velocity(*tensors(backend, p.eField, p.temperature)).numpy()
    assert float(found) == pytest.approx(drifting.drift_velocity(p, linked=True), rel=EXACT)


def place(margin):
    """A point in the TPC of plane 1, or so far outside."""
    g = cases.GEOMETRY
    ends = ((g.x_low[1], g.x_high[1]), (g.y_low[1], g.y_high[1]), (0.0, cases.ANODE))
    return st.tuples(*(st.floats(float(low) - margin, float(high) + margin) for low, high in ends))


@settings(max_examples=25)
@given(
    start=place(1.0), step=st.tuples(*(st.floats(-3.0, 3.0),) * 3), p=parameters("tran_diff", "long_diff", "lifetime")
)
def test_the_plan_holds_every_pixel_that_sees_charge(start, step, p):
    """For any segment and all parameters within bounds, each pixel once."""
    segment = cases.segment(start, tuple(np.add(start, step)))
    pixels = Simulator(cases.DETECTOR, "numpy").prepare(segment).all_pixels()
    planned = list(zip(pixels.plane.tolist(), pixels.ix.tolist(), pixels.iy.tolist(), strict=True))
    assert len(set(planned)) == len(planned)
    assert pixelization.touched_pixels(segment, cases.GEOMETRY, p) <= set(planned)
