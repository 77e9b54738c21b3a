"""Thresholds per pixel, and channels that are off."""

from __future__ import annotations

import json

import numpy as np
import pytest

from larndsim.detector import load_bad_channels, load_channel_values, load_detector
from larndsim.errors import ArgumentError

COULOMB = 1.602176634e-19


@pytest.fixture(scope="module")
def detector():
    return load_detector()


@pytest.fixture
def save(tmp_path):
    def make(**arrays):
        np.savez(tmp_path / "map.npz", **arrays)
        return tmp_path / "map.npz"

    return make


def test_keys_run_along_x_then_y_then_plane(detector, save):
    path = save(keys=[3, 140 * 5 + 2, 140 * 280 + 1], values=[1.0, 2.0, 3.0], default=[9.0])
    table = load_channel_values(path, detector)
    assert table.shape == (2, 140, 280)
    assert (table[0, 3, 0], table[0, 2, 5], table[1, 1, 0], table[1, 0, 0]) == (1.0, 2.0, 3.0, 9.0)
    assert load_channel_values(path, detector, default=7.0)[1, 0, 0] == 7.0


def test_coulombs_become_electrons(detector, save):
    path = save(keys=[0], values=[5000 * COULOMB], default=[6000 * COULOMB])
    table = load_channel_values(path, detector)
    np.testing.assert_allclose(table.ravel()[:2], [5000, 6000])
    never = load_channel_values(save(keys=[0], values=[5000 * COULOMB], default=[999999.0]), detector)
    assert never[1, 1, 1] == 999999.0


def test_sample_thresholds(detector, sample):
    table = load_channel_values(sample("module0-fake_thresholds-6ke.npz"), detector)
    assert table.mean() == pytest.approx(5884, abs=1)
    assert 3000 < table.min() < table.max() < 9000


def test_refused_channel_values(detector, save, tmp_path):
    with pytest.raises(ArgumentError, match="must name all pixels or hold a `default`"):
        load_channel_values(save(keys=[0], values=[1.0]), detector)
    with pytest.raises(ArgumentError, match="must name pixels of module0, but key 78400"):
        load_channel_values(save(keys=[78400], values=[1.0], default=[1.0]), detector)
    with pytest.raises(ArgumentError, match="must hold a finite value for each key"):
        load_channel_values(save(keys=[0, 1], values=[1.0]), detector)
    with pytest.raises(ArgumentError, match="must have whole numbers as keys, but they have the type float64"):
        load_channel_values(save(keys=[0.5], values=[1.0], default=[1.0]), detector)
    with pytest.raises(ArgumentError, match="must name each pixel once"):
        load_channel_values(save(keys=[3, 3], values=[1.0, 2.0], default=[1.0]), detector)
    for value, default in ((-1.0, 1.0), (0.0, 1.0), (1.0, -1.0), (1.0, 0.0), (1.0, np.nan), (1.0, np.inf)):
        with pytest.raises(ArgumentError, match="must hold positive values and a positive `default`"):
            load_channel_values(save(keys=[0], values=[value], default=[default]), detector)
    with pytest.raises(ArgumentError, match="must be an npz file"):
        load_channel_values(save(values=[1.0]), detector)
    with pytest.raises(ArgumentError, match="must be an npz file"):
        load_channel_values(tmp_path / "none.npz", detector)
    np.savez(tmp_path / "objects.npz", keys=np.array([{}], dtype=object), values=[1.0])
    with pytest.raises(ArgumentError, match="must be an npz file"):
        load_channel_values(tmp_path / "objects.npz", detector)


def test_mixed_planes_have_no_common_keys(sample, save):
    coarse, fine = sample("multi_tile_layout-2.4.16.yaml"), sample("multi_tile_layout-2.5.16.yaml")
    mixed = load_detector(sample("2x2_dune.yaml"), [coarse, coarse, fine, coarse])
    with pytest.raises(ArgumentError, match="must go with a detector whose planes are alike"):
        load_channel_values(save(keys=[0], values=[1.0]), mixed)


def test_bad_channels(detector, write):
    readout = detector.readout
    group, io_channel, chip, channel = (int(column[1, 20, 30]) for column in readout)
    text = json.dumps({f"{group}-{io_channel}-{chip}": [channel], "All": [6, 7], "9-9-9": [1]})
    off = load_bad_channels(write(text, "bad.json"), detector)
    assert np.argwhere(off).tolist() == [[1, 20, 30]]
    everywhere = load_bad_channels(write(json.dumps({"All": [channel]}), "bad.json"), detector)
    np.testing.assert_array_equal(everywhere, readout.channel == channel)
    assert not load_bad_channels(write("{}", "bad.json"), detector).any()


def test_sample_bad_channels(sample):
    layout = sample("multi_tile_layout-2.2.16.yaml")
    detector = load_detector(sample("module0_predecessor.yaml"), layout)
    path = sample("module0_bad_channels.json")
    off = load_bad_channels(path, detector)
    r, bad = detector.readout, json.loads(path.read_text())
    for plane, ix, iy in np.random.default_rng(1).integers(0, [2, 140, 280], size=(2000, 3)):
        key = f"{r.io_group[plane, ix, iy]}-{r.io_channel[plane, ix, iy]}-{r.chip[plane, ix, iy]}"
        assert off[plane, ix, iy] == (r.channel[plane, ix, iy] in bad.get(key, []))
    assert off.sum() == 5391


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be a JSON file, but line 1"),
        ("[]", 'must map "io_group-io_channel-chip" to lists of channels'),
        ('{"1-1-11": 3}', "to lists of channels"),
        ('{"1-1-11": ["a"]}', "to lists of channels"),
        ('{"1-1": [3]}', "must have keys io_group-io_channel-chip, but one is '1-1'"),
        ('{"1-99999999999999999999-1": [3]}', "must have keys io_group-io_channel-chip"),
        ('{"1-1-11": [164]}', "must name channels from 0 to 63, but one is 164"),
        ('{"All": [-1]}', "must name channels from 0 to 63, but one is -1"),
        ('{"9-9-9": [3]}', "must name chips of module0, but it names none"),
    ],
)
def test_refused_bad_channels(detector, write, text, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        load_bad_channels(write(text, "bad.json"), detector)
