"""What is said about a minimum, and when nothing is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from optimize.doctor import remarks, worst_pixels
from optimize.goodness import Factor, Goodness
from optimize.scaling import make_scaling
from tests.optimize.conftest import DETECTOR

NAMES = ("Ab", "kb", "lifetime")
SCALING = make_scaling(NAMES, DETECTOR)
MIDDLE = np.zeros(3)


def pixels(largest, pulls):
    """Residuals as far as remarks need them."""
    return SimpleNamespace(
        pulls=np.zeros((13, 2, 2, 100)),
        pixel=np.stack([np.zeros(len(pulls), int), np.arange(len(pulls)), np.arange(len(pulls))], axis=1),
        pixel_pull=np.array(pulls),
        largest_pull=np.array([max(pulls), *[largest] * 12]),
    )


def verdict(**changes):
    """A minimum without fault, but for the changes."""
    noise = {"adc": Factor(1.01, 0.03), "tick": Factor(0.96, 0.05)}
    forms = {"sandwich": np.ones(3), "chance": np.full(3, 0.1), "observed": np.ones(3)}
    matrix, own = np.diag([400.0, 900.0, 100.0]), pixels(5.0, [1.0, 4.0])
    return Goodness(matrix, 0.4, **forms, gain=1e-4, noise=noise, residuals=own)._replace(**changes)


def said(u=MIDDLE, **changes):
    return remarks(SCALING, u, verdict(**changes))


def test_nothing_where_nothing_is_wrong():
    assert said() == ()
    assert remarks(SCALING, MIDDLE, None) == ()


def test_limits_of_any_loss():
    u = np.array([SCALING.low[0], 0.0, SCALING.high[2]])
    for found, then in ((None, "."), (verdict(), ": its interval has one side.")):
        first, second = remarks(SCALING, u, found)
        assert first.startswith("Ab is at its lower limit, ")
        assert second == f"lifetime is at its upper limit, 5089.4 us{then}"


def test_parameters_without_information():
    (one,) = said(matrix=np.diag([400.0, 0.0, 100.0]), observed=np.full(3, np.nan))[:1]
    assert one == "The data do not depend on kb: leave it out of the fit."
    (one,) = said(matrix=np.diag([400.0, 0.5, 100.0]))
    assert one == "The data say next to nothing about kb, even if all others were known."


def test_combinations_by_name():
    matrix = np.array([[400.0, -598.0, 0.0], [-598.0, 900.0, 0.0], [0.0, 0.0, 100.0]])
    (one,) = said(matrix=matrix)
    assert "hardly know the combination +0.71 Ab +0.71 kb (" in one
    assert "17 times less certain" in one
    assert said(matrix=matrix, u=np.array([SCALING.high[0], 0.0, 0.0]))[0].startswith("Ab is at its upper limit")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gain": 1.3}, "The likelihood still rises: a further step promises 1.3 of log L."),
        ({"p_value": 1e-5}, "The model hardly makes data as unlikely as these (p = 1e-05)."),
        ({"p_value": 0.9999}, "The data are likelier than what the model makes (p = 1 - 0.0001)"),
        (
            {"sandwich": np.array([1.0, 2.04, 0.5])},
            "scores give other errors, so many times those stated: kb 2, lif",
        ),
        ({"observed": np.array([1.0, 1.0, 1.7])}, "curvature give other errors, so many times those stated: lifet"),
        ({"observed": np.full(3, np.nan)}, "The likelihood of the data has no maximum here"),
        ({"residuals": pixels(5.0, [1.0, 9.0, 30.0])}, "Of 3 pixels, 2 pixels are far less likely than any simulated"),
    ],
)
def test_one_fault_is_one_sentence(changes, sentence):
    (one,) = said(**changes)
    assert sentence in one


def test_few_scores_may_differ_by_chance():
    ratio = np.array([1.0, 1.7, 1.0])
    assert len(said(sandwich=ratio, chance=np.full(3, 0.15))) == 1
    assert said(sandwich=ratio, chance=np.full(3, 0.2)) == ()


def test_noise_says_which_way():
    (one,) = said(noise={"adc": Factor(1.31, 0.03), "tick": Factor(1.02, 0.05)})
    assert (
        one
        == "The data are noisier than the model: their hits scatter by a factor of 1.31 +- 0.03 by their ADC counts."
    )
    (one,) = said(noise={"adc": Factor(0.8, 0.03), "tick": Factor(0.7, 0.05)})
    assert "quieter than the model" in one
    assert "0.80 +- 0.03 by their ADC counts and 0.70 +- 0.05 by their ticks" in one
    assert said(noise={"adc": Factor(1.31, 0.3)}) == ()
    assert said(noise={}, residuals=None) == ()


def test_the_worst_pixels_come_first():
    assert worst_pixels(pixels(2.0, [1.0, 4.0, 3.5, 2.9, 10.0])).tolist() == [4, 1, 2]
    (one,) = said(residuals=pixels(2.0, [9.0, 8.0, 7.0, 6.0, 5.0]))
    assert "plane 0, ix 0, iy 0; plane 0, ix 1, iy 1; plane 0, ix 2, iy 2; and 2 more." in one
