"""Fits from start to end, on a few cm of track."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
import optimize
from larndsim import ArgumentError
from larndsim.data.hits import HIT_FIELDS
from optimize.losses import LOSSES
from optimize.objective import Objective
from optimize.problem import make_problem
from optimize.settings import make_settings
from tests.optimize.conftest import DETECTOR, sample

SIX = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
TWO = ("Ab", "lifetime")
CHOICES = {"cuts": "none", "link_vdrift_eField": True}
HITS = {"loss": "hits"}


def problem_of(segments, params=TWO, **choices):
    return make_problem(make_settings({"input": segments, "params": params, **CHOICES, **choices}))


@pytest.mark.slow
@pytest.mark.parametrize("choices", [{"loss": "waveform"}, HITS], ids=["waveform", "hits"])
def test_closure_of_six_parameters(choices, differentiable_backend):
    result = optimize.fit(sample(16.0, 8.0), SIX, seed=1, backend=differentiable_backend, **CHOICES, **choices)
    assert result.status == "converged", result.message
    for name in SIX:
        assert result.values[name] == pytest.approx(result.target[name], rel=2e-4), name
        assert 0 < result.errors[name] < np.inf
    assert result.iterations == len(result.history["loss"]) - 1
    assert result.history["loss"][-1] < 1e-6 * result.history["loss"][0]


@pytest.mark.parametrize("mode", ["direct", "checkpointed", "forward"])
def test_modes_agree(segments, mode):
    choices = {"loss": "chamfer", "method": "lbfgs", "batch_tracks": 1, "dtype": "float64", "seed": 1}
    problem = problem_of(segments, ("Ab", "eField", "tran_diff"), mode=mode, **choices)
    assert len(problem.objective.batches) == 2
    u = problem.objective.scaling.scaled(problem.init)
    value, gradient = problem.objective.value_and_grad(u)
    step = 1e-5
    for row, slope in enumerate(gradient):
        ends = [u + sign * step * np.eye(len(u))[row] for sign in (1, -1)]
        up, down = (problem.objective.value_and_grad(end)[0] for end in ends)
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-5 * value)


EVERY = [*((name, {}) for name in LOSSES), *(("soft_dtw", {"compare": c}) for c in ("charge", "time"))]


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "options"), EVERY)
def test_gradient_by_parameters_against_finite_differences(loss, options, differentiable_backend):
    """Of every loss, through the whole simulation."""
    choices = {"loss": loss, "loss_options": options, "method": "lbfgs", "dtype": "float64", "set_target": {"Ab": 0.82}}
    choices["noise"] = loss == "likelihood"
    names = ("Ab", "eField", "lifetime", "tran_diff")
    objective = problem_of(sample(3.0, 1.0), names, backend=differentiable_backend, **choices).objective
    u = objective.scaling.scaled({**DETECTOR.parameters._asdict(), "Ab": 0.82}) + 0.013
    value, gradient = objective.value_and_grad(u)
    direction, step = np.array([0.3, 0.2, -0.5, 0.7]), 1e-5
    up, down = (objective.value_and_grad(u + sign * step * direction)[0] for sign in (1, -1))
    assert value > 0
    assert gradient @ direction == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-7 * value)


def test_the_normal_equations_have_the_gradient_of_the_loss(segments):
    choices = {"batch_tracks": 1, "dtype": "float64", "seed": 1, **HITS}
    objective = problem_of(segments, SIX, **choices).objective
    u = np.full(len(SIX), 0.1)
    normal = objective.normal(u)
    value, gradient = objective.value_and_grad(u)
    assert normal.loss == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(normal.gradient, gradient, rtol=1e-9, atol=1e-12)


def test_errors_are_those_of_the_curvature(segments):
    """From the Gauss-Newton matrix, and from second derivatives, which agree at the minimum."""
    fits = [
        optimize.fit(segments, TWO, seed=1, dtype="float64", method=method, **CHOICES, loss="waveform")
        for method in ("gauss-newton", "lbfgs")
    ]
    np.testing.assert_allclose(fits[0].covariance, fits[1].covariance, rtol=1e-3)
    assert abs(fits[0].correlation[0, 1]) < 1
    unknown = optimize.fit(segments, TWO, seed=1, **CHOICES, loss="waveform", errors=False)
    assert np.isnan(list(unknown.errors.values())).all()


def test_errors_of_other_losses(segments):
    result = optimize.fit(
        segments, ("lifetime",), set_target={"lifetime": 2000.0}, set_init={"lifetime": 2010.0}, method="lbfgs",
        loss="chamfer", dtype="float64", **CHOICES,
    )  # fmt: skip
    assert result.converged, result.message
    assert result.errors["lifetime"] > 0


@pytest.mark.parametrize("loss", ["space_match", "soft_dtw"])
def test_gradient_descends_on_other_losses(segments, loss):
    result = optimize.fit(
        segments, TWO, set_target={"Ab": 0.81, "lifetime": 2000.0}, method="gradient", iterations=30, lr=0.02,
        loss=loss, errors=False, **CHOICES,
    )  # fmt: skip
    assert result.status == "max_iterations"
    assert "Resume" in result.message
    assert result.history["loss"].min() < 0.5 * result.history["loss"][0]


def test_a_parameter_at_its_bound(segments):
    """The truth, in a shifted parameter that is not fitted, lies beyond what the fitted one can reach."""
    choices = {"shift_no_fit": ("MeVToElectrons",), "set_target": {"Ab": 0.87, "MeVToElectrons": 5.0e4}}
    result = optimize.fit(segments, ("Ab",), loss="waveform", **choices, **CHOICES)
    assert result.at_bound == ("Ab",)
    assert "Ab came to a limit" in result.message
    assert np.isnan(result.errors["Ab"])


def test_a_nan_in_the_loss(segments, monkeypatch):
    asked = []
    honest = Objective.normal

    def planted(self, u):
        asked.append(u)
        found = honest(self, u)
        return found._replace(loss=float("nan")) if len(asked) in (2, 3) else found

    monkeypatch.setattr(Objective, "normal", planted)
    result = optimize.fit(segments, TWO, seed=1, loss="waveform", **CHOICES)
    assert result.converged, result.message
    assert result.rejected == 2
    assert all(np.isfinite(column).all() for column in result.history.values())
    monkeypatch.setattr(Objective, "normal", lambda self, u: honest(self, u)._replace(loss=float("nan")))
    result = optimize.fit(segments, TWO, seed=1, loss="waveform", **CHOICES)
    assert result.status == "failed"
    assert len(result.history["loss"]) == 0


def test_an_empty_batch(segments, caplog):
    outside = segments._replace(**{f"x_{end}": getattr(segments, f"x_{end}") + 500.0 for end in ("start", "end")})
    with pytest.raises(ArgumentError, match="no pixel sees any"):
        optimize.fit(outside, TWO, **CHOICES)
    one = segments.event == 1000
    moved = {k: np.where(one, getattr(outside, k), getattr(segments, k)) for k in ("x_start", "x_end")}
    problem = problem_of(segments._replace(**moved), batch_tracks=1, loss="waveform")
    assert len(problem.objective.batches) == 1
    assert "1 of 2 batches reach no pixel" in caplog.text


def test_a_target_without_hits(segments):
    faint = segments._replace(dE=segments.dE * 1e-3)
    with pytest.raises(ArgumentError, match="give a target with hits"):
        optimize.fit(faint, TWO, **CHOICES)


def test_noise_in_the_target(segments):
    clean, noisy, other = (
        problem_of(segments, **HITS, seed=seed, noise=noise, set_target={"Ab": 0.81}).objective.targets[0]
        for seed, noise in ((1, False), (1, True), (2, True))
    )
    assert not np.array_equal(noisy, other)
    assert abs(len(clean) - len(noisy)) < 0.2 * len(clean)
    assert (noisy["adc"] == np.rint(noisy["adc"])).all()


@pytest.mark.slow
def test_a_fit_to_noise_converges_nearby():
    result = optimize.fit(
        sample(30.0, 10.0), ("Ab", "eField"), set_target={"Ab": 0.82, "eField": 0.505}, noise=True, **CHOICES, **HITS
    )
    assert result.converged, result.message
    assert result.values["Ab"] == pytest.approx(0.82, rel=0.03)
    assert result.values["eField"] == pytest.approx(0.505, rel=0.005)


def test_data_from_a_file(segments, tmp_path):
    from larndsim.io.hits import HitsWriter

    sim = larndsim.Simulator(DETECTOR, link_vdrift_eField=True)
    hits = sim(segments, DETECTOR.parameters._replace(Ab=0.82)).numpy()
    with HitsWriter(tmp_path / "hits.h5") as writer:
        writer.append(hits)
    result = optimize.fit(segments, ("Ab",), data=tmp_path / "hits.h5", **CHOICES, **HITS)
    assert result.converged, result.message
    assert result.values["Ab"] == pytest.approx(0.82, rel=1e-4)
    assert result.target is None
    with pytest.raises(ArgumentError, match="have each event in one batch"):
        same = segments._replace(event=np.zeros_like(segments.event), track=(segments.event > 0).astype(np.int64))
        optimize.fit(same, ("Ab",), data=sim(same).numpy(), batch_tracks=1, **CHOICES)


def test_hits_of_another_detector(segments):
    hits = np.zeros(1, dtype=HIT_FIELDS)
    for name, value in (("plane", 5), ("ix", 200), ("x", 3.0), ("event", 0)):
        wrong = hits.copy()
        wrong[name] = value
        with pytest.raises(ArgumentError, match="1 of 1 hits lie on no pixel of module0"):
            optimize.fit(segments, ("Ab",), data=wrong, **CHOICES)


def test_another_input_for_the_target(segments):
    brighter = segments._replace(dE=segments.dE * 1.02, dEdx=segments.dEdx)
    result = optimize.fit(segments, ("MeVToElectrons",), input_target=brighter, set_target={"MeVToElectrons": 4.2e4},
                          **CHOICES, **HITS)  # fmt: skip
    assert result.values["MeVToElectrons"] == pytest.approx(1.02 * 4.2e4, rel=1e-4)
    with pytest.raises(ArgumentError, match="hold the tracks of `input`"):
        optimize.fit(segments, TWO, input_target=segments._replace(event=segments.event + 7), **CHOICES)


def test_random_values_do_not_depend_on_the_other_parameters(segments):
    few, many = (problem_of(segments, names, seed=3, loss="waveform").target for names in (TWO, SIX))
    assert all(few[name] == many[name] for name in TWO)
    start = problem_of(segments, SIX, seed=3, vary_init=True, set_init={"Ab": 0.8}, loss="waveform").init
    assert start["Ab"] == 0.8
    assert start["kb"] not in (many["kb"], DETECTOR.parameters.kb)


def test_batches_of_a_stochastic_fit(segments):
    result = optimize.fit(segments, TWO, method="gradient", batch_tracks=1, batches_per_step=1, iterations=6,
                          errors=False, set_target={"Ab": 0.82}, **CHOICES)  # fmt: skip
    assert result.iterations == 6
    assert np.isfinite(result.history["loss"]).all()


def test_the_table_and_the_result(segments):
    result = optimize.fit(segments, TWO, seed=1, loss="waveform", **CHOICES)
    assert result.table().count("\n") == len(TWO)
    plain = result.plain()
    assert set(plain["parameters"]["Ab"]) == {"init", "value", "error", "interval", "target"}
    assert {"status", "message", "loss", "iterations", "wall_s", "correlation"} <= set(plain)
