"""The verdict on fits by likelihood, from start to end on a few cm of track."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import larndsim
import optimize
from optimize.goodness import goodness, observed_information
from optimize.problem import make_problem
from optimize.records import Folder, Run
from optimize.settings import make_settings
from tests.optimize.conftest import DETECTOR, sample

TWO = ("Ab", "eField")
CHOICES = {"cuts": "none", "link_vdrift_eField": True, "set_target": {"Ab": 0.82, "eField": 0.505}, "seed": 1}
NOISY = {**CHOICES, "noise": True, "toys": 6}


@pytest.fixture(scope="module")
def segments():
    return sample(12.0, 4.0)


@pytest.fixture(scope="module")
def run(segments, tmp_path_factory):
    """A fit and its folder."""
    folder = tmp_path_factory.mktemp("goodness") / "run"
    return optimize.fit(segments, TWO, out=folder, **NOISY), folder


def test_the_result_says_what_is_known(run):
    result, folder = run
    assert result.converged, result.message
    assert result.noisy
    assert set(result.pulls) == set(TWO)
    assert all(abs(pull) < 5 for pull in result.pulls.values())
    assert 0 < result.p_value < 1
    assert result.diagnosis["gain"] < 0.05
    for form in ("sandwich", "observed"):
        assert all(0.5 < ratio < 2 for ratio in result.diagnosis[form].values()), form
    assert set(result.diagnosis["noise"]) == {"adc", "tick"}
    stored = json.loads((folder / "result.json").read_text())
    assert stored["parameters"]["Ab"]["pull"] == result.pulls["Ab"]
    assert stored["diagnosis"]["observed"] == result.diagnosis["observed"]
    assert "pull" in result.table().splitlines()[0]


def test_residuals_are_in_the_folder(run):
    result, folder = run
    kept = Run(folder).residuals
    for name, values in result.residuals._asdict().items():
        np.testing.assert_array_equal(getattr(kept, name), values, err_msg=name)
    with np.load(folder / "residuals.npz", allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} <= set("fi")
    assert kept.hits[0].sum() == kept.observed.sum() > 20


def test_a_run_without_a_verdict_keeps_none_of_an_earlier_one(tmp_path, run):
    folder = Folder(tmp_path)
    folder.finish({}, run[0].residuals)
    assert (tmp_path / "residuals.npz").exists()
    folder.finish({})
    assert not (tmp_path / "residuals.npz").exists()


def test_the_report(run):
    pytest.importorskip("matplotlib")
    from optimize.cli import main

    _, folder = run
    assert main(["report", str(folder)]) == 0
    text = (folder / "report.html").read_text()
    assert "p-value of the data among simulated ones" in text
    assert text.count("data:image/png;base64,") == 9
    assert "<th>pull</th>" in text


def test_the_observed_curvature(segments):
    """Against central differences in double precision; a parameter on a limit is held."""
    objective = make_problem(make_settings({"input": segments, "params": TWO, "dtype": "float64", **NOISY})).objective
    u = objective.scaling.scaled({"Ab": 0.82, "eField": 0.505})
    found = objective.informed(u, (1, 2))
    known = np.zeros((2, 2))
    for row, step in enumerate(0.1 / np.sqrt(np.diag(found.matrix))):
        ends = [objective.value_and_grad(u + sign * step * np.eye(2)[row])[1] for sign in (1, -1)]
        known[row] = found.weight * (ends[0] - ends[1]) / (2 * step)
    free = np.ones(2, dtype=bool)
    size = np.sqrt(np.outer(np.diag(known), np.diag(known)))
    np.testing.assert_allclose(observed_information(objective, u, found, free) / size, known / size, atol=0.05)
    held = observed_information(objective, u, found, np.array([True, False]))
    np.testing.assert_allclose(held[0, 0], known[0, 0], rtol=0.05)
    at_limit = np.array([objective.scaling.high[0], u[1]])
    assert np.isnan(goodness(objective, at_limit, 1, 3).observed).tolist() == [True, False]


def test_information_of_no_simulated_data_is_unknown(segments):
    objective = make_problem(make_settings({"input": segments, "params": TWO, **NOISY})).objective
    found = objective.informed(np.zeros(2), ())
    assert np.isnan(found.matrix).all()
    assert np.isfinite(found.own).all()
    backwards = replace(objective, mode="checkpointed").value_and_grad(np.zeros(2))
    np.testing.assert_allclose(found.gradient, backwards[1], rtol=1e-3)


@pytest.mark.slow
def test_data_with_more_noise_than_the_model():
    segments = sample(60.0, 20.0)
    p = DETECTOR.nominal._replace(Ab=0.82)
    p = p._replace(reset_noise=1.5 * p.reset_noise, uncorrelated_noise=1.5 * p.uncorrelated_noise)
    source = larndsim.Simulator(DETECTOR, electronics="clocked", link_vdrift_eField=True)
    hits = source.hits(source.prepare(segments, p, vary=()), p, 3).numpy()
    choices = {"data": hits, "cuts": "none", "link_vdrift_eField": True, "toys": 8}
    result = optimize.fit(segments, TWO, **choices)
    assert result.converged, result.message
    assert any("noisier than the model" in remark for remark in result.remarks)
    assert result.p_value < 0.01
    assert result.target is None
    assert not result.pulls
