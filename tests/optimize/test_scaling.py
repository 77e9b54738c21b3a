"""Named parameters <-> u."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim import ArgumentError, Parameters
from larndsim.detector.parameters import BOUNDS
from optimize.scaling import make_scaling

DETECTOR = larndsim.load_detector("module0")
EVERY = make_scaling(Parameters._fields, DETECTOR)


@pytest.mark.parametrize(("end", "sign"), [("down", -1.0), ("up", 1.0)])
def test_ends_of_the_range(end, sign):
    u = EVERY.scaled({name: getattr(BOUNDS[name], end) for name in EVERY.names})
    np.testing.assert_allclose(u, sign, atol=1e-12)


def test_there_and_back():
    values = DETECTOR.nominal._asdict()
    back = EVERY.values(EVERY.scaled(values))
    assert back == pytest.approx(values, rel=1e-12, abs=1e-15)


def test_slope():
    u = np.linspace(-0.9, 0.9, len(EVERY.names))
    step = 1e-6 * np.ones_like(u)
    known = (EVERY.physical(u + step) - EVERY.physical(u - step)) / 2e-6
    np.testing.assert_allclose(EVERY.slope(u), known, rtol=1e-7)


def test_limits_lie_within_the_hard_ones_even_in_single_precision():
    for limit in (EVERY.low, EVERY.high):
        for name, value in EVERY.values(limit).items():
            low, high = BOUNDS[name].hard
            assert low < np.float32(value) < high


def test_wide_ranges_are_logarithmic():
    chosen = {name for name, wide in zip(EVERY.names, EVERY.logarithmic, strict=True) if wide}
    assert chosen == {"lifetime", "long_diff", "tran_diff", "R_param", "reset_noise", "uncorrelated_noise"}


def test_refusals():
    with pytest.raises(ArgumentError, match=r"Did you mean `lifetime`\?"):
        make_scaling(["lifetme"], DETECTOR)
    with pytest.raises(ArgumentError, match=r"keep Ab within 0\.77"):
        make_scaling(["Ab"], DETECTOR).check_inside("set_init", {"Ab": 0.9})
