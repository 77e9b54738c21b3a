"""The twins themselves: converged, equal to closed forms where there are any, and to a throw of dice elsewhere.

Everything is measured on one pixel, in the middle of a plane. Charge in electrons, lengths in cm, times in us.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf
from scipy.stats import norm

from larndsim.data.segments import Segments, concatenate
from larndsim.detector.geometry import Geometry
from larndsim.detector.parameters import Parameters
from tests.reference import borders, charge, drifting, pixelization, quenching, response

NOMINAL = Parameters()
ROUND = NOMINAL._replace(tran_diff=3e-6, long_diff=9.7e-6, vdrift=0.136)  # clouds long in time, narrow in space
FLAT = NOMINAL._replace(tran_diff=14.5e-6, long_diff=1.3e-6, vdrift=0.184)  # short in time, wide in space

PLANE, IX, IY = 1, 12, 20
PITCH, ANODE = 0.4434, 30.431
LOW = (-10.0, -20.0)
CENTRE = (LOW[0] + (IX + 0.5) * PITCH, LOW[1] + (IY + 0.5) * PITCH)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    """Two TPCs of 30 x 40 pixels, back to back on a cathode at z = 0."""
    two = np.ones(2)
    return Geometry(
        module=np.zeros(2, dtype=int),
        anode_z=np.array([-ANODE, ANODE]),
        cathode_z=0 * two,
        direction=np.array([-1.0, 1.0]),
        x_low=LOW[0] * two,
        x_high=(LOW[0] + 30 * PITCH) * two,
        y_low=LOW[1] * two,
        y_high=(LOW[1] + 40 * PITCH) * two,
        pitch=PITCH * two,
        n_x=np.full(2, 30),
        n_y=np.full(2, 40),
    )


def segment(start: tuple, end: tuple, t: float = 0.0, event: int = 1, dEdx: float = 2.1) -> Segments:
    """One segment between points (x, y, distance), x and y from the centre of the pixel, distance from its anode."""
    offset = np.array([*CENTRE, ANODE])
    sign = np.array([1, 1, -1])
    ends = offset + sign * np.array(start), offset + sign * np.array(end)
    dE = dEdx * max(float(np.linalg.norm(ends[1] - ends[0])), 0.1)
    numbers = [np.array([float(v)]) for v in (*ends[0], *ends[1], dE, dEdx, t)]
    return Segments(*(np.array([i]) for i in (event, 1, 1, 13)), *numbers)


# name: start and end (x, y, distance)
TRACKS = {
    "far": ((-0.7, -0.5, 14.0), (0.9, 0.6, 15.3)),
    "across": ((-0.7, -0.1, 5.0), (0.9, 0.15, 5.0)),
    "along": ((0.1, -0.1, 1.0), (0.11, -0.12, 2.0)),
    "corner": ((-0.7, 0.3, 1.0), (0.3, 0.2, 1.3)),
    "neighbour": ((-0.7, 0.3, 8.0), (0.3, 0.27, 8.3)),
    "through the anode": ((0.0, -0.3, 0.4), (0.2, 0.4, -0.2)),
    "at the anode": ((-0.1, -0.1, 0.02), (0.15, 0.1, 0.02)),
    "point": ((0.05, 0.2, 3.0), (0.05, 0.2, 3.0)),
}


def ticks(track: str, parameters: Parameters = NOMINAL, step: float = 0.1) -> np.ndarray:
    """Times that hold the whole signal of a track."""
    nearest = max(0.0, min(point[2] for point in TRACKS[track]))
    first = round((nearest - 0.5) / parameters.vdrift, 1) - 30
    return first + step * np.arange(int(46 / step))


def test_quenching_by_hand():
    mip = segment((0, 0, 1), (1, 0, 1), dEdx=2.0)
    birks = 0.8 / (1 + 0.0486 * 2.0 / (0.5 * 1.38)) * 2.0 * 4.237e4
    box = np.log(0.93 + 0.207 * 2.0 / 0.69) / (0.207 * 2.0 / 0.69) * 2.0 * 4.237e4
    assert quenching.electrons(mip, NOMINAL, "birks") == pytest.approx(birks, rel=1e-12)
    assert quenching.electrons(mip, NOMINAL, "box") == pytest.approx(box, rel=1e-12)
    assert quenching.electrons(mip, NOMINAL, "ellipsoid") == pytest.approx(box, rel=1e-12), "it lies across the drift"


def test_ellipsoid_along_the_drift_scales_beta():
    along = segment((0, 0, 1), (0, 0, 2))
    scaled = NOMINAL._replace(beta=NOMINAL.beta * NOMINAL.R_param)
    assert quenching.electrons(along, NOMINAL, "ellipsoid") == pytest.approx(quenching.electrons(along, scaled, "box"))


def test_box_is_never_negative():
    faint = segment((0, 0, 1), (1, 0, 1), dEdx=1e-6)
    nothing = segment((0, 0, 1), (1, 0, 1), dEdx=0.0)
    assert quenching.electrons(concatenate(faint, nothing), NOMINAL, "box").tolist() == [0.0, 0.0]


def test_velocity_at_the_nominal_field_is_the_measured_one():
    assert drifting.drift_velocity(NOMINAL, linked=True) == pytest.approx(0.160, abs=5e-4)
    assert drifting.drift_velocity(NOMINAL) == 0.1587


def test_drifting_by_hand():
    d = np.array([0.1, 0.5, 0.5 + NOMINAL.vdrift * NOMINAL.lifetime])
    assert drifting.survival(d, NOMINAL) == pytest.approx([1, 1, np.exp(-1)])
    assert drifting.arrival_time(d, 3.0, NOMINAL) == pytest.approx([3 - 0.4 / 0.1587, 3, 3 + NOMINAL.lifetime])
    assert drifting.sigma_T(30.0, NOMINAL) == pytest.approx(np.sqrt(2 * 8.8e-6 * 30 / 0.1587))
    assert drifting.sigma_t(30.0, NOMINAL) == pytest.approx(np.sqrt(2 * 4e-6 * 30 / 0.1587) / 0.1587)


@pytest.mark.parametrize(
    ("z", "plane"),
    [(-15, 0), (15, 1), (ANODE + 0.01, 1), (-ANODE - 0.01, 0), (ANODE + 0.03, -1), (0.01, 1), (-0.01, 0)],
)
def test_a_segment_belongs_to_the_tpc_of_its_middle(geometry, z, plane):
    here = segment((0, 0, ANODE - z), (0, 0, ANODE - z))
    assert borders.planes(here, geometry).tolist() == [plane]


def test_lines_are_shifted_then_clipped(geometry):
    through_anode = segment((0, 0, 0.6), (0, 0, -0.2))
    shifted = NOMINAL._replace(shift_z=-0.2)
    (line,) = borders.lines(through_anode, geometry, NOMINAL, PLANE)
    (further,) = borders.lines(through_anode, geometry, shifted, PLANE)
    whole = quenching.electrons(through_anode, NOMINAL)[0]
    assert line.electrons == pytest.approx(0.75 * whole)
    assert line.start[2] + line.step[2] == pytest.approx(ANODE)
    assert further.electrons == pytest.approx(whole)
    assert borders.lines(through_anode, geometry, NOMINAL, 0) == []


def test_response_by_hand():
    """At x = 0.1, y = 0.2: P = p0 + 0.1 p1 + 0.2 p2 + 0.02 p3 + 0.01 p4 + 0.04 p5."""
    expected = (0.91477, 0.25349, 2.45581, 3.2737)
    assert response.response(np.array(0.1), np.array(0.2)) == pytest.approx(expected, abs=1e-9)


def test_fraction_leaves_its_ceiling_at_the_kink():
    y = np.linspace(0, 0.06, 7)
    assert response.polynomial(response.FRACTION, response.kink(y), y) == pytest.approx(np.ones(7), abs=1e-12)
    assert response.kink(np.array([0.08, 0.2])).tolist() == [0, 0]


@pytest.mark.parametrize(("k", "sigma"), [(0.09, 0.25), (0.7, 0.03), (2.6, 0.17), (0.09, 0.002)])
def test_smeared_step_is_the_convolution(k, sigma):
    for u in (-3 * k, -sigma, 0.0, 0.5 * sigma, 2 * sigma):
        convolved, _ = quad(
            lambda v, u=u: response.step(u - v, k) * norm.pdf(v, scale=sigma), -9 * sigma, 9 * sigma, points=[u]
        )
        assert response.smeared_step(u, k, sigma) == pytest.approx(convolved, rel=1e-7)


@pytest.mark.parametrize(
    ("track", "parameters"),
    [*((track, NOMINAL) for track in TRACKS), ("corner", ROUND), ("across", FLAT)],
    ids=[*TRACKS, "corner, round", "across, flat"],
)
def test_twice_the_nodes_change_nothing(geometry, track, parameters):
    there = segment(*TRACKS[track])
    times = ticks(track, parameters, step=0.3)
    args = (there, geometry, parameters, PLANE, IX, IY)
    final = charge.total(*args)
    assert final > 500
    assert charge.total(*args, accuracy=2) == pytest.approx(final, rel=1e-6)
    assert charge.waveform(*args, times, accuracy=2) == pytest.approx(charge.waveform(*args, times), abs=1e-6 * final)


@pytest.mark.parametrize("track", ["far", "corner", "neighbour", "through the anode"])
def test_total_is_an_integral_of_error_functions(geometry, track):
    start, end = (np.array(point) for point in TRACKS[track])
    there = segment(*TRACKS[track])

    def density(u):
        x, y, d = start + u * (end - start)
        width = np.sqrt(2) * np.sqrt(2 * NOMINAL.tran_diff * d / NOMINAL.vdrift)
        in_x, in_y = (erf((PITCH / 2 - at) / width) + erf((PITCH / 2 + at) / width) for at in (x, y))
        return in_x * in_y / 4 * np.exp(-max(d - 0.5, 0) / (NOMINAL.vdrift * NOMINAL.lifetime))

    last = min(1.0, start[2] / (start[2] - end[2])) if end[2] < start[2] else 1.0
    integral, _ = quad(density, 0, last, limit=500, epsabs=1e-10, points=np.linspace(0, last, 40)[1:-1])
    expected = integral * quenching.electrons(there, NOMINAL)[0]
    assert charge.total(there, geometry, NOMINAL, PLANE, IX, IY) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("track", TRACKS)
def test_waveform_rises_from_nothing_to_the_total(geometry, track):
    args = (segment(*TRACKS[track]), geometry, NOMINAL, PLANE, IX, IY)
    final = charge.total(*args)
    seen = charge.waveform(*args, np.concatenate([[-500.0], ticks(track, step=0.5), [2000.0]]))
    assert seen[0] == pytest.approx(0, abs=1e-6 * final)
    assert seen[-1] == pytest.approx(final, rel=1e-7)
    assert np.all(np.diff(seen) >= -1e-8 * final)


def test_a_point_far_from_the_borders_gives_all_its_electrons(geometry):
    point = segment((0, 0, 0.3), (0, 0, 0.3))
    seen = charge.waveform(point, geometry, NOMINAL, PLANE, IX, IY, np.array([100.0]))
    assert seen == pytest.approx(quenching.electrons(point, NOMINAL), rel=1e-7)


def test_a_point_at_the_anode_shows_the_bare_response(geometry):
    x, y = 0.15, 0.05
    point = segment((x, -y, 0), (x, -y, 0))
    times = np.linspace(-12, 3, 50)
    r = response.response(np.array(x), np.array(y))
    late = times + 0.5 / NOMINAL.vdrift - r.s
    bare = r.a * response.step(late, r.b) + (1 - r.a) * response.step(late, r.c)
    seen = charge.waveform(point, geometry, NOMINAL, PLANE, IX, IY, times)
    assert seen == pytest.approx(quenching.electrons(point, NOMINAL) * bare, rel=1e-2, abs=1e-3 * seen[-1])


def test_mean_time_of_the_current(geometry):
    """The current of one electron has the mean s - a b - (1 - a) c: average this over the pixel's face."""
    x, y, d = 0.12, 0.07, 12.0
    point = segment((x, y, d), (x, y, d), t=4.0)
    width = drifting.sigma_T(d, NOMINAL)
    face = (np.arange(600) + 0.5) / 600 * PITCH - PITCH / 2
    weight = norm.pdf(face, x, width)[:, None] * norm.pdf(face, y, width)
    r = response.response(np.abs(face)[:, None], np.abs(face))
    expected = 4 + (d - 0.5) / NOMINAL.vdrift + np.average(r.s - r.a * r.b - (1 - r.a) * r.c, weights=weight)

    times = np.arange(0, 90, 0.02)
    seen = charge.waveform(point, geometry, NOMINAL, PLANE, IX, IY, times)
    mean = times[-1] - np.trapezoid(seen, times) / seen[-1]
    assert mean == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("track", "parameters"), [("far", NOMINAL), ("corner", NOMINAL), ("through the anode", FLAT), ("along", ROUND)]
)
def test_random_electrons_agree(geometry, track, parameters):
    there = segment(*TRACKS[track])
    times = ticks(track, parameters, step=0.8)
    sample = random_electrons(*TRACKS[track], times, parameters, n=200_000)
    free = quenching.electrons(there, parameters)[0]
    mean, error = free * sample.mean(axis=0), free * sample.std(axis=0) / np.sqrt(len(sample))
    seen = charge.waveform(there, geometry, parameters, PLANE, IX, IY, times)
    final = charge.total(there, geometry, parameters, PLANE, IX, IY)
    assert np.all(np.abs(seen - mean) < 4 * error + 1e-4 * final)


def random_electrons(start: tuple, end: tuple, times: np.ndarray, p: Parameters, n: int) -> np.ndarray:
    """The share of its charge that the pixel sees of each of n electrons thrown at random. Axes: (electron, time)."""
    rng = np.random.default_rng(7)
    x, y, d = (np.array(start) + rng.random((n, 1)) * (np.array(end) - np.array(start))).T
    inside, d = d >= 0, np.maximum(d, 0)
    x, y = (np.abs(at + rng.normal(size=n) * np.sqrt(2 * p.tran_diff * d / p.vdrift)) for at in (x, y))
    depth = d + rng.normal(size=n) * np.sqrt(2 * p.long_diff * d / p.vdrift)
    weight = inside * (x < PITCH / 2) * (y < PITCH / 2) * np.exp(-np.maximum(d - 0.5, 0) / p.vdrift / p.lifetime)
    a = np.minimum(1.060 - 0.909 * (x + y) + 5.856 * x * y + 0.207 * (x**2 + y**2), 1)
    b = 0.679 - 1.083 * (x + y) + 8.772 * x * y - 5.521 * (x**2 + y**2)
    c = 2.644 - 9.174 * (x + y) + 13.483 * x * y + 45.887 * (x**2 + y**2)
    s = 2.948 - 2.705 * (x + y) + 4.825 * x * y + 20.814 * (x**2 + y**2)
    hit = weight > 0
    seen = np.zeros((n, len(times)))
    a, b, c, u = a[hit, None], b[hit, None], c[hit, None], times - ((depth - 0.5) / p.vdrift + s)[hit, None]
    seen[hit] = weight[hit, None] * (a * np.exp(np.minimum(u, 0) / b) + (1 - a) * np.exp(np.minimum(u, 0) / c))
    return seen


def test_a_segment_is_the_sum_of_its_halves(geometry):
    start, end = (np.array(point) for point in TRACKS["far"])
    whole = segment(start, end)
    halves = concatenate(segment(start, (start + end) / 2), segment((start + end) / 2, end))
    times = ticks("far", step=0.5)
    seen = [charge.waveform(part, geometry, NOMINAL, PLANE, IX, IY, times) for part in (whole, halves)]
    assert seen[0] == pytest.approx(seen[1], abs=1e-6 * seen[0][-1])


def test_other_events_are_left_out(geometry):
    ours, theirs = segment(*TRACKS["point"]), segment(*TRACKS["across"], event=2)
    both = concatenate(ours, theirs)
    alone = charge.total(ours, geometry, NOMINAL, PLANE, IX, IY)
    assert charge.total(both, geometry, NOMINAL, PLANE, IX, IY, event=1) == alone
    with pytest.raises(ValueError, match="which `event`"):
        charge.total(both, geometry, NOMINAL, PLANE, IX, IY)


def test_pixels_share_out_the_charge_of_the_plane(geometry):
    there = concatenate(segment(*TRACKS["far"]), segment(*TRACKS["corner"]))
    pixels = pixelization.pixel_map(there, geometry, NOMINAL, PLANE)
    far, corner = (borders.lines(segment(*TRACKS[name]), geometry, NOMINAL, PLANE)[0] for name in ("far", "corner"))
    assert pixels[IX, IY] == pytest.approx(charge.total(there, geometry, NOMINAL, PLANE, IX, IY), rel=1e-9)
    assert pixels.sum() == pytest.approx(charge.plane_charge(there, geometry, NOMINAL, PLANE), rel=1e-9)
    assert 0.94 * (far.electrons + corner.electrons) < pixels.sum() < far.electrons + corner.electrons


def test_touched_pixels_of_a_track_along_a_row(geometry):
    row = segment((-2 * PITCH, 0, 0.4), (2 * PITCH, 0, 0.4))
    touched = pixelization.touched_pixels(row, geometry, NOMINAL, minimum_electrons=100)
    assert touched == {(PLANE, IX + i, IY) for i in range(-2, 3)}


def test_touched_pixels_stay_within_the_event_and_the_plane(geometry):
    outside = segment((0, 0, -1.0), (0, 0, -1.0))
    edge = segment((-(IX + 0.5) * PITCH, 0, 20.0), (-(IX + 0.5) * PITCH, 0, 20.0), event=2)
    both = concatenate(outside, edge)
    assert pixelization.touched_pixels(both, geometry, NOMINAL, event=1) == set()
    assert {ix for _, ix, _ in pixelization.touched_pixels(both, geometry, NOMINAL, event=2)} == {0}
