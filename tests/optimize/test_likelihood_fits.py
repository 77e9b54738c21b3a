"""Fits of noisy data by the likelihood, from start to end on a few cm of track."""

from __future__ import annotations

import numpy as np
import pytest

import optimize
from benchmarks.closure import sample

SEGMENTS = sample(25.0, 6.0)
NAMES = ("Ab", "eField", "tran_diff")
CHOICES = {"cuts": "none", "link_vdrift_eField": True, "noise": True, "seed": 3, "toys": 4}


def fitted(names=NAMES, **choices):
    return optimize.fit(SEGMENTS, names, **{**CHOICES, **choices})


def off(one, other):
    """How far apart two results are, in errors."""
    return max(abs(one.values[name] - other.values[name]) / one.errors[name] for name in one.values)


@pytest.fixture(scope="module")
def known():
    return fitted()


def test_the_truth_is_found(known):
    assert known.converged
    assert max(abs(pull) for pull in known.pulls.values()) < 4.0


@pytest.mark.slow
def test_twice_the_same_bits(known):
    again = fitted()
    assert again.values == known.values
    assert np.array_equal(again.covariance, known.covariance)
    assert (again.loss, again.p_value) == (known.loss, known.p_value)


@pytest.mark.slow
def test_backends_agree():
    pytest.importorskip("jax")
    results = [fitted(dtype="float64", backend=backend, tolerance=2e-3) for backend in ("torch", "jax")]
    assert off(*results) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [
        {"method": "lbfgs"},
        {"method": "minuit"},
        {
            "method": "gradient",
            "lr": 0.01,
            "batches_per_step": 2,
            "batch_tracks": 1,
            "iterations": 150,
            "schedule": "cosine",
        },
    ],
    ids=lambda choices: choices["method"],
)
def test_other_methods_come_to_the_same_minimum(known, choices):
    if choices["method"] == "minuit":
        pytest.importorskip("iminuit")
    found = fitted(loss="likelihood", **choices)
    assert off(known, found) < 0.3


@pytest.mark.slow
def test_parameters_of_the_electronics():
    """The gain is measured, the rest follows from the data."""
    names = (*NAMES, "threshold", "gain", "pedestal", "reset_noise", "uncorrelated_noise")
    result = fitted(names, constraints={"gain": 4e-5})
    assert result.converged
    assert max(abs(pull) for pull in result.pulls.values()) < 4.0
    assert result.errors["gain"] == pytest.approx(4e-5, rel=0.2)


@pytest.mark.slow
def test_a_constraint_holds():
    """What is known far better than the data tell stays where it was measured, and passes its knowledge on."""
    free, held = fitted(("Ab", "kb")), fitted(("Ab", "kb"), constraints={"kb": 1e-7})
    assert held.values["kb"] == pytest.approx(held.target["kb"], abs=5e-7)
    assert held.errors["kb"] == pytest.approx(1e-7, rel=1e-3)
    assert held.errors["Ab"] < 0.9 * free.errors["Ab"]


def test_without_a_constraint_the_scale_of_charge_is_not_known():
    """All charge, the threshold and the noise, and the inverse of the gain, scale together: the doctor says so."""
    names = ("Ab", "threshold", "gain", "reset_noise", "uncorrelated_noise")
    simulated = optimize.forecast(SEGMENTS, names, cuts="none", link_vdrift_eField=True, toys=4)
    expected = simulated.errors["Ab"]
    assert expected > 30.0 * simulated.alone["Ab"] or not np.isfinite(expected)
