"""The charge against the converged brute-force integral, on every backend."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from larndsim import Simulator
from larndsim.data.segments import concatenate
from larndsim.errors import ArgumentError
from tests import cases
from tests.reference import charge as reference
from tests.reference import quenching
from tests.reference.pixelization import touched_pixels

TOTAL = {"float64": 1e-4, "float32": 3e-4}
WAVEFORM = {"float64": 1e-3, "float32": 2e-3}
PARAMETERS = cases.DETECTOR.parameters
CORNERS = {
    "nominal": PARAMETERS,
    "narrow": PARAMETERS._replace(vdrift=0.18, tran_diff=4e-6, long_diff=2e-6, eField=0.55),
    "wide": PARAMETERS._replace(vdrift=0.14, tran_diff=14e-6, long_diff=9e-6, lifetime=500.0),
    "shifted": PARAMETERS._replace(shift_x=0.22, shift_y=-0.13, shift_z=-0.2, Ab=0.85, kb=0.06),
}


@cache
def simulator(backend, dtype):
    return Simulator(cases.DETECTOR, backend=backend, dtype=dtype)


def row_of(waveforms, event, plane, ix, iy):
    """Index of a pixel."""
    same = (waveforms.event == event) & (waveforms.plane == plane) & (waveforms.ix == ix) & (waveforms.iy == iy)
    assert same.sum() == 1
    return int(np.flatnonzero(same)[0])


_known = {}


def expected(name, segments, parameters, pixel, times):
    """Total and waveform of the brute-force integral: computed once for all backends."""
    event, plane, ix, iy = pixel
    key = (name, pixel, parameters, times[0], len(times))
    if key not in _known:
        arguments = (segments, cases.GEOMETRY, parameters, plane, ix, iy)
        _known[key] = reference.total(*arguments, event=event), reference.waveform(*arguments, times, event=event)
    return _known[key]


def assert_exact(name, segments, parameters, waveforms, charge, pixels, dtype):
    """Every one of `pixels` (event, plane, ix, iy) agrees with the integral."""
    for pixel in pixels:
        row = row_of(waveforms, *pixel)
        times = waveforms.start[row] + waveforms.tick * np.arange(charge.shape[1])
        total, waveform = expected(name, segments, parameters, pixel, times)
        assert charge[row, -1] == pytest.approx(total, rel=TOTAL[dtype]), pixel
        np.testing.assert_allclose(charge[row] / total, waveform / total, rtol=0, atol=WAVEFORM[dtype])


def chosen_pixels(segments, parameters, most=6):
    """Some of the pixels above 500 e of all events, spread evenly."""
    pixels = []
    for event in np.unique(segments.event):
        found = touched_pixels(segments, cases.GEOMETRY, parameters, int(event), 500.0)
        pixels += [(int(event), *pixel) for pixel in sorted(found)]
    return [pixels[i] for i in np.unique(np.linspace(0, len(pixels) - 1, min(most, len(pixels))).round().astype(int))]


SEGMENTS, EVENTS = cases.together(cases.CASES)


@cache
def simulated(backend, dtype, corner):
    """The cases in one batch, planned for all parameters within bounds, the shifts among them."""
    sim = simulator(backend, dtype)
    waveforms = sim.charge(planned(backend, dtype), CORNERS[corner])
    return waveforms, sim.backend.numpy(waveforms.charge).astype(float)


@cache
def planned(backend, dtype):
    return simulator(backend, dtype).prepare(SEGMENTS, vary=PARAMETERS._fields)


def check(name, corner, backend, dtype, most=6):
    waveforms, charge = simulated(backend, dtype, corner)
    segments = SEGMENTS.select(SEGMENTS.event == EVENTS[name])
    pixels = chosen_pixels(segments, CORNERS[corner], most)
    assert pixels
    assert_exact(name, segments, CORNERS[corner], waveforms, charge, pixels, dtype)


@pytest.mark.parametrize("name", cases.CASES)
def test_corner_cases(name, backend, dtype):
    check(name, "nominal", backend, dtype)


@pytest.mark.parametrize("corner", list(CORNERS)[1:])
@pytest.mark.parametrize("name", ["oblique", "near the anode", "28 cm long", "across the side", "across the anode"])
def test_within_bounds_without_a_new_plan(name, corner, backend):
    check(name, corner, backend, "float64", most=4)


def test_nothing_comes_of_nothing(backend, dtype):
    sim = simulator(backend, dtype)
    charge = sim.backend.numpy(sim.charge(sim.prepare(cases.together(cases.SILENT)[0])).charge)
    assert np.isfinite(charge).all() and not charge.any()


def test_without_dedx_nothing_is_quenched_but_by_Ab(backend, dtype):
    sim = simulator(backend, dtype)
    charge = sim.backend.numpy(sim.charge(sim.prepare(cases.NO_DEDX)).charge)
    whole = 2.0 * PARAMETERS.MeVToElectrons * PARAMETERS.Ab
    assert 0.9 * whole < charge[:, -1].sum() < whole


@pytest.mark.parametrize("model", ["birks", "box", "ellipsoid"])
def test_charge_is_conserved(model, backend, dtype):
    segments = concatenate(*(cases.CASES[name] for name in ("oblique", "28 cm long", "along the drift")))
    sim = Simulator(cases.DETECTOR, backend=backend, dtype=dtype, recombination=model)
    waveforms = sim.charge(sim.prepare(segments))
    arrived = reference.plane_charge(segments, cases.GEOMETRY, PARAMETERS, 1, model=model)
    total = sim.backend.numpy(waveforms.charge)[:, -1].astype(float).sum()
    assert total == pytest.approx(arrived, rel=TOTAL[dtype])
    assert total < quenching.electrons(segments, PARAMETERS, model).sum()


def test_linked_velocity(backend):
    parameters = PARAMETERS._replace(eField=0.47, temperature=88.0)
    sim = Simulator(cases.DETECTOR, backend=backend, dtype="float64", link_vdrift_eField=True)
    segments = cases.CASES["oblique"]
    waveforms = sim.charge(sim.prepare(segments), parameters)
    charge = sim.backend.numpy(waveforms.charge)
    row = int(np.argmax(charge[:, -1]))
    pixel = (int(waveforms.plane[row]), int(waveforms.ix[row]), int(waveforms.iy[row]))
    times = waveforms.start[row] + waveforms.tick * np.arange(charge.shape[1])
    known = reference.waveform(segments, cases.GEOMETRY, parameters, *pixel, times, linked=True)
    np.testing.assert_allclose(charge[row], known, rtol=0, atol=1e-3 * known[-1])


def test_the_same_call_gives_the_same_bits(backend, dtype):
    sim = simulator(backend, dtype)
    first = simulated(backend, dtype, "nominal")[1]
    for batch in (planned(backend, dtype), sim.prepare(SEGMENTS, vary=PARAMETERS._fields)):
        assert np.array_equal(first, sim.backend.numpy(sim.charge(batch).charge))


def by_pixel(waveforms, charge):
    """Sorted by who the pixels are: backends cut batches into chunks of their own."""
    return charge[np.lexsort([waveforms.burst, waveforms.iy, waveforms.ix, waveforms.plane, waveforms.event])]


@pytest.mark.parametrize("dtype,rtol", [("float64", 1e-9), ("float32", 3e-4)])
def test_backends_agree(backend, dtype, rtol):
    known, charge = (by_pixel(*simulated(*each, "nominal")) for each in (("numpy", "float64"), (backend, dtype)))
    bright = known[:, -1] > 500.0
    assert (np.abs(charge - known)[bright] <= rtol * known[bright, -1:]).all()


@pytest.mark.parametrize("accuracy", [1e-2, 1e-4])
def test_as_accurate_as_asked_for(accuracy):
    sim = Simulator(cases.DETECTOR, backend="numpy", dtype="float64", accuracy=accuracy)
    names = ("near the anode", "on a pixel edge near the anode")
    for name in names:
        segments = SEGMENTS.select(SEGMENTS.event == EVENTS[name])
        waveforms = sim.charge(sim.prepare(segments), PARAMETERS)
        for pixel in chosen_pixels(segments, PARAMETERS, most=2):
            row = row_of(waveforms, *pixel)
            times = waveforms.start[row] + waveforms.tick * np.arange(waveforms.charge.shape[1])
            total, waveform = expected(name, segments, PARAMETERS, pixel, times)
            assert waveforms.charge[row, -1] == pytest.approx(total, rel=0.1 * accuracy)
            assert np.abs(waveforms.charge[row] - waveform).max() <= accuracy * total


def test_less_accuracy_is_less_work():
    def numbers(accuracy):
        batch = Simulator(cases.DETECTOR, backend="numpy", accuracy=accuracy).prepare(SEGMENTS)
        part = batch.parts[0]
        nodes = sum(stack.weight.size for chunk in part.chunks for stack in chunk.stacks)
        return nodes, max(response.gather.size for each in part.responses for response in each)

    loose, default, tight = map(numbers, (1e-2, 1e-3, 1e-4))
    assert loose[0] < default[0] < tight[0] and loose[1] < default[1] < tight[1]


@pytest.mark.parametrize("wrong", [0.5, 1e-9, -1e-3, "high", None, True, float("nan")])
def test_accuracy_is_checked(wrong):
    with pytest.raises(ArgumentError, match="Argument `accuracy` must be a number from 0\\.0001 to 0\\.01"):
        Simulator(cases.DETECTOR, backend="numpy", accuracy=wrong)
