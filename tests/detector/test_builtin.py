"""The built-in module 0: its numbers, its parameters, and a valid channel map."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from larndsim.detector import BOUNDS, Electronics, Parameters, drift_velocity, load_detector
from larndsim.errors import ArgumentError


@pytest.fixture(scope="module")
def detector():
    return load_detector("module0")


def test_geometry(detector):
    g = detector.geometry
    assert g.module.tolist() == [0, 0]
    assert g.module.dtype == g.n_x.dtype == g.n_y.dtype == np.int64
    np.testing.assert_allclose(g.anode_z, [-30.431, 30.431], rtol=0, atol=1e-9)
    np.testing.assert_allclose(g.cathode_z, [-0.15875, 0.15875], rtol=0, atol=1e-9)
    assert g.direction.tolist() == [-1.0, 1.0]
    np.testing.assert_allclose([g.x_low, g.x_high], [[-31.039] * 2, [31.039] * 2], rtol=0, atol=1e-9)
    np.testing.assert_allclose([g.y_low, g.y_high], [[-83.8626] * 2, [40.2154] * 2], rtol=0, atol=1e-9)
    np.testing.assert_allclose(g.pitch, 0.4434)
    assert g.n_x.tolist() == [140, 140]
    assert g.n_y.tolist() == [280, 280]
    assert g.shape == (2, 140, 280)


def test_values(detector):
    assert detector.parameters == Parameters()
    assert detector.bounds == BOUNDS
    assert detector.electronics == Electronics()
    assert detector.drift_length == pytest.approx(30.27225)
    assert detector.response.distance == 0.5
    assert detector.time_interval == (0.0, 200.0)
    assert detector.vdrift_static == 0.1587


def test_every_pixel_has_its_own_channel(detector):
    r = detector.readout
    assert r.chip.shape == (2, 140, 280)
    assert min(column.min() for column in r) >= 0
    assert np.unique(np.stack([column.ravel() for column in r]), axis=1).shape[1] == 2 * 140 * 280
    assert (np.unique(r.chip)[[0, -1]] == [11, 110]).all()
    assert [np.unique(plane).tolist() for plane in r.io_group] == [[1], [2]]
    assert len(np.unique(r.channel)) == 49
    assert len(np.unique(r.io_channel)) == 32
    assert detector.readout is r


def test_detector_is_immutable(detector):
    with pytest.raises(dataclasses.FrozenInstanceError):
        detector.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        detector.electronics.threshold = 1.0


def test_describe_is_json(detector):
    said = json.loads(json.dumps(detector.describe()))
    assert said["name"] == "module0"
    assert said["parameters"]["lifetime"] == 2200.0
    assert said["electronics"]["hold_ticks"] == 18
    assert said["geometry"]["n_y"] == [280, 280]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threshold": 0.0}, "Argument `threshold` must be positive, but it is 0.0"),
        ({"reset_noise": -1.0}, "Argument `reset_noise` must be zero or positive"),
        ({"gain": np.array([4e-3, -4e-3])}, "Argument `gain` must be positive"),
        ({"v_ref": 200.0}, "Argument `v_ref` must be above `v_cm`"),
    ],
)
def test_electronics_refuses(change, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Electronics(**change)


def test_drift_velocity():
    assert drift_velocity(0.5, 87.17) == pytest.approx(0.1596452, abs=1e-7)
    at_89 = 551.6 * 0.1 / 1000 * (551.6 + 715.83 + 4440.43 * 0.1**1.5 + 4.29 * 0.1**2.5) / 551.6
    fall = 1 + 7158.3 / 551.6 * 0.1 + 43.63 * 0.01 + 0.2053 * 0.001
    assert drift_velocity(0.1, 89.0) == pytest.approx(at_89 / fall, rel=1e-12)
    fields = np.array([0.4, 0.5, 0.6])
    assert (np.diff(drift_velocity(fields, 87.17)) > 0).all()
    assert drift_velocity(0.5, 90.0) < drift_velocity(0.5, 86.0)
