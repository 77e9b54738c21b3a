"""What stands behind every pixel."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim.detector import channel_maps, load_detector
from larndsim.errors import ArgumentError


@pytest.fixture(scope="module")
def detector():
    return load_detector()


def filled(detector, value):
    return np.full(detector.geometry.shape, value)


def test_the_detector_unless_something_is_given(detector):
    maps = channel_maps(detector)
    assert [column[1, 2, 3] for column in maps] == [7000.0, 4e-3, 580.0, 288.0, 1300.0, 1.0]
    off = filled(detector, False)
    off[0, 0, 0] = True
    given = channel_maps(
        detector, filled(detector, 5e3), filled(detector, 5e-3), off,
        pedestals=filled(detector, -20.0), v_ref=filled(detector, 1500.0), v_cm=filled(detector, 300.0),
    )  # fmt: skip
    assert [column[1, 2, 3] for column in given] == [5000.0, 5e-3, -20.0, 300.0, 1500.0, 1.0]
    assert given.live[0, 0, 0] == 0.0


def test_refused_maps(detector):
    with pytest.raises(
        ArgumentError, match=r"Argument `pedestals` must have the shape \(2, 140, 280\), .*it has \(3,\)"
    ):
        channel_maps(detector, pedestals=np.zeros(3))
    with pytest.raises(ArgumentError, match="Argument `gains` must be finite in every channel, but 78400 are not"):
        channel_maps(detector, gains=filled(detector, np.nan))
    with pytest.raises(ArgumentError, match=r"`v_ref` must be above `v_cm` in every channel.*288.0 mV.*\(0, 0, 0\)"):
        channel_maps(detector, v_ref=filled(detector, 200.0))


def test_a_pedestal_moves_the_adc_alone():
    segments = larndsim.generate("muons", n=1, seed=1, length=10.0)
    detector = load_detector()
    plain = larndsim.Simulator(detector, backend="numpy")(segments).numpy()
    voltages = {
        "pedestals": filled(detector, 600.0),
        "v_ref": filled(detector, 1400.0),
        "v_cm": filled(detector, 300.0),
    }
    moved = larndsim.Simulator(detector, backend="numpy", **voltages)(segments).numpy()
    np.testing.assert_array_equal(moved["charge"], plain["charge"])
    np.testing.assert_allclose(moved["adc"], (plain["charge"] * 4e-3 + 300.0) * 256 / 1100, rtol=1e-5)
