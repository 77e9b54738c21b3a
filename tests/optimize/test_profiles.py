"""Profiles: against the parabola that they are near the minimum, and against fits."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import optimize
from larndsim import ArgumentError
from optimize.cli import main
from optimize.profile_plots import draw_profile
from optimize.profiles import LEVELS, Profile, intervals_of, minimised
from optimize.scaling import make_scaling
from tests.optimize.conftest import DETECTOR, sample
from tests.optimize.test_fitting import problem_of

WAVEFORM = {"cuts": "none", "link_vdrift_eField": True, "loss": "waveform", "set_target": {"Ab": 0.81}}
THREE = ("Ab", "lifetime", "tran_diff")


@pytest.fixture(scope="module")
def line(segments):
    return optimize.profile(segments, THREE, along="lifetime", points=7, dtype="float64", **WAVEFORM)


def test_near_the_minimum_it_is_the_expected_parabola(line):
    """Residuals are nearly linear in so narrow a range: 2.5 errors are 2.5 % of the lifetime."""
    u = np.log(line.axes["lifetime"] / line.best["lifetime"]) * line.best["lifetime"] / line.errors["lifetime"]
    np.testing.assert_allclose(u, np.linspace(-2.5, 2.5, 7), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(line.expected, u**2, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(line.delta, line.expected, rtol=0.03, atol=1e-6)
    assert line.remarks == ()
    assert line.statistic == "sum of squares"


def test_intervals_are_those_of_the_errors(line):
    best, error = line.best["lifetime"], line.errors["lifetime"]
    assert best == pytest.approx(2200.0, rel=1e-6)
    for confidence, factor in (("68 %", 1.0), ("95 %", 3.84**0.5)):
        low, high = line.intervals[confidence]
        assert low == pytest.approx(best - factor * error, abs=0.04 * factor * error)
        assert high == pytest.approx(best + factor * error, abs=0.04 * factor * error)
        assert f"{confidence}: {low:.6g} to {high:.6g}" in line.summary()


def test_the_others_follow_the_correlations(segments, line):
    fitted = optimize.fit(segments, THREE, dtype="float64", **WAVEFORM)
    slope = fitted.covariance[0, 1] / fitted.covariance[1, 1]
    moved = np.diff(line.others["Ab"][2:5]) / np.diff(line.axes["lifetime"][2:5])
    np.testing.assert_allclose(moved, slope, rtol=0.02)


def test_a_point_is_the_minimum_of_a_fit_with_the_parameter_held(segments, line):
    """A fit that starts anew, far away."""
    problem = problem_of(segments, THREE, loss="waveform", set_target={"Ab": 0.81}, dtype="float64")
    held = problem.objective.holding({"lifetime": line.axes["lifetime"][0]})
    assert held.scaling.names == ("Ab", "tran_diff")
    state = minimised(problem.method, held, np.full(2, 0.2), 100)
    assert held.deviance(state.u) == pytest.approx(line.delta[0], rel=1e-5)
    assert held.scaling.values(state.u)["Ab"] == pytest.approx(line.others["Ab"][0], rel=1e-6)


def test_held_parameters_leave_the_other_slopes_as_they_were(segments):
    objective = problem_of(segments, THREE, loss="waveform", seed=1, dtype="float64").objective
    u = np.array([0.1, -0.2, 0.3])
    held = objective.holding(objective.scaling.among(("lifetime",)).values(u[1:2]))
    value, gradient = objective.value_and_grad(u)
    again, part = held.value_and_grad(u[[0, 2]])
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(part, gradient[[0, 2]], rtol=1e-9)
    assert held.deviance(u[[0, 2]]) == pytest.approx(objective.deviance(u), rel=1e-12)


def test_two_parameters(segments):
    found = optimize.profile(segments, ("Ab", "lifetime"), ("Ab", "lifetime"), points=5, dtype="float64", **WAVEFORM)
    assert found.delta.shape == (5, 5)
    assert found.others == {} == found.intervals
    near = found.expected < 6.0
    assert near.sum() > 3
    np.testing.assert_allclose(found.delta[near], found.expected[near], rtol=0.05, atol=1e-6)


def test_a_minimum_on_a_limit(segments):
    """The truth, in a shifted parameter that is not fitted, lies beyond what Ab can reach."""
    choices = {"shift_no_fit": ("MeVToElectrons",), "set_target": {"Ab": 0.87, "MeVToElectrons": 5.0e4}, "points": 3}
    choices = {**WAVEFORM, **choices}
    found = optimize.profile(segments, ("Ab", "lifetime"), "lifetime", ranges={"lifetime": (3000, 5000)}, **choices)
    assert np.isfinite(found.delta).all()
    assert np.isnan(found.expected).all()
    assert "The minimum is on a limit of Ab, lifetime: the truth may lie beyond it." in found.remarks
    assert "At 3 of 3 points Ab came to a limit: the rise is too steep there." in found.remarks
    pytest.importorskip("matplotlib")
    assert len(draw_profile(found).axes) == 2
    with pytest.raises(ArgumentError, match="`range` must be given where no error is known"):
        optimize.profile(segments, ("Ab", "lifetime"), "Ab", **choices)


def test_a_range_of_ones_own(segments):
    ranges = {"lifetime": (2100.0, 2150.0)}
    found = optimize.profile(segments, ("Ab", "lifetime"), "lifetime", 3, ranges, dtype="float64", **WAVEFORM)
    np.testing.assert_allclose(found.axes["lifetime"], [2100.0, 2125.0, 2150.0])
    assert np.isnan(found.intervals["68 %"][1])
    assert "beyond the grid" in found.summary()


@pytest.mark.slow
def test_of_a_likelihood():
    """Of data that are what is simulated, -2 log L is about the parabola that is expected."""
    choices = {"cuts": "none", "link_vdrift_eField": True, "noise": True, "set_target": {"Ab": 0.82}}
    found = optimize.profile(sample(40.0, 10.0), ("Ab", "eField"), "eField", points=5, **choices)
    assert found.statistic == "-2 log L"
    assert found.delta[2] == pytest.approx(0.0, abs=0.01)
    np.testing.assert_allclose(found.delta[[0, 1, 3, 4]], found.expected[[0, 1, 3, 4]], rtol=0.5)
    low, high = found.intervals["68 %"]
    assert high - low == pytest.approx(2 * found.errors["eField"], rel=0.3)


def test_intervals_of_a_parabola_and_of_half_of_one():
    x = np.linspace(-3.0, 3.0, 14)
    found = intervals_of(5.0 + x, x**2, 5.0)
    assert found["68 %"] == pytest.approx((4.0, 6.0))
    assert found["95 %"] == pytest.approx((5.0 - 3.84**0.5, 5.0 + 3.84**0.5))
    half = intervals_of(5.0 + x, np.where(x > 0, 0.1 * x, x**2), 5.0)
    assert half["68 %"][0] == pytest.approx(4.0)
    assert np.isnan(half["68 %"][1])
    missing = intervals_of(5.0 + x, np.where(np.abs(x) < 0.5, np.nan, x**2), 5.0)
    assert missing["68 %"] == pytest.approx((4.0, 6.0))


def test_some_of_a_scaling():
    scaling = make_scaling(THREE, DETECTOR)
    part = scaling.among(("tran_diff", "Ab"))
    u = np.array([0.1, 0.2, 0.3])
    assert part.values(u[[2, 0]]) == pytest.approx({k: scaling.values(u)[k] for k in ("Ab", "tran_diff")})
    assert scaling.among(()).values(np.zeros(0)) == {}


@pytest.mark.parametrize(
    ("along", "choices", "sentence"),
    [
        ((), {}, "`profile` must be one or two parameters, but it names none"),
        (("Ab", "lifetime", "kb"), {}, "`profile` must be one or two parameters, but it names Ab, lifetime, kb"),
        (("Ab", "Ab"), {}, "it names Ab, Ab"),
        ("kb", {}, "`profile` must be one of Ab, lifetime, but it is 'kb'"),
        ("Ab", {"points": 1}, "`points` must be a whole number of 2 or more"),
        ("Ab", {"ranges": {"lifetime": (1000, 2000)}}, "`range` must be of Ab"),
        ("Ab", {"ranges": {"Ab": (0.1, 0.2)}}, "`range` must keep Ab within"),
        ("Ab", {"method": "lbfgs"}, "`method` must be one of fisher, gauss-newton"),
        ("Ab", {"loss": "chamfer"}, "`loss` must be one of hits, waveform with method gauss-newton"),
        ("Ab", {"errors": False}, "`errors` must be left out of a profile"),
        ("Ab", {"iterations": 1}, "`params` must have a minimum, but the fit ended after 1 steps without one"),
    ],
)
def test_refusals(along, choices, sentence, segments):
    with pytest.raises(ArgumentError, match="must") as error:
        optimize.profile(segments, ("Ab", "lifetime"), along, **{**WAVEFORM, **choices})
    assert sentence in str(error.value)


def parabola(count=9, two=False):
    """A profile of two correlated parameters, or along the first of them."""
    x, y = np.linspace(0.79, 0.83, count), np.linspace(1700.0, 2300.0, count)
    a, b = np.meshgrid((x - 0.81) / 0.008, (y - 2000.0) / 120.0, indexing="ij")
    best, errors = {"Ab": 0.81, "lifetime": 2000.0}, {"Ab": 0.008, "lifetime": 120.0}
    shared = {"best": best, "errors": errors, "target": {"Ab": 0.8, "lifetime": 2100.0}, "statistic": "-2 log L"}
    if two:
        delta = (a**2 + b**2 + a * b) / 0.75
        return Profile({"Ab": x, "lifetime": y}, delta, 0.9 * delta, {}, intervals={}, remarks=(), **shared)
    delta = a[:, 0] ** 2
    others = {"lifetime": 2000.0 - 60.0 * a[:, 0]}
    return Profile({"Ab": x}, delta, 0.9 * delta, others, intervals=intervals_of(x, delta, 0.81), remarks=(), **shared)


def test_picture_of_a_line():
    pytest.importorskip("matplotlib")
    upper, lower = draw_profile(parabola()).axes
    assert upper.lines[0].get_ydata().max() == pytest.approx(6.25)
    assert [line.get_ydata()[0] for line in upper.lines[2:4]] == list(LEVELS[1])
    np.testing.assert_allclose(np.diff(lower.lines[0].get_ydata()), -0.5 * 0.625)


def test_picture_of_contours():
    """Those of an ellipse reach as far as its errors times the root of the level."""
    pytest.importorskip("matplotlib")
    (axes,) = draw_profile(parabola(two=True)).axes
    drawn, _ = axes.collections
    for path, level in zip(drawn.get_paths(), LEVELS[2], strict=True):
        assert np.ptp(path.vertices[:, 0]) == pytest.approx(2 * 0.008 * level**0.5, rel=1e-2)


def test_on_the_command_line(segments_file, tmp_path, capsys):
    words = ["scan", "--input", str(segments_file), "--params", "Ab", "lifetime", "--cuts", "none", "--points", "5"]
    words += ["--loss", "waveform", "--set-target", "Ab=0.81", "--out", str(tmp_path / "a")]
    assert main([*words, "--toys", "3"]) == 2
    assert "`toys` must be left out of a scan" in capsys.readouterr().err
    assert main([*words, "--profile", "kb"]) == 2
    assert "`profile` must be one of Ab, lifetime, but it is 'kb'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "--profile", "Ab"]) == 0
    assert "68 %: 0.8" in capsys.readouterr().out
    with h5py.File(tmp_path / "a" / "profile.h5") as file:
        assert file.attrs["statistic"] == "sum of squares"
        assert file["axes/Ab"].attrs["target"] == 0.81
        assert file["delta"].shape == file["expected"].shape == file["others/lifetime"].shape == (5,)
        low, high = file["intervals/68 %"][:]
        assert high - low == pytest.approx(2 * file["errors/Ab"][()], rel=0.02)
    assert (tmp_path / "a" / "profile.png").read_bytes().startswith(b"\x89PNG")
