"""Values per channel, and channels that are off."""

from __future__ import annotations

import json

import numpy as np
import pytest

from larndsim.detector import (
    load_bad_channels,
    load_channel_maps,
    load_channel_values,
    load_detector,
    load_pedestals,
    load_references,
)
from larndsim.detector.channel_files import unique_ids_of
from larndsim.errors import ArgumentError
from tests.samples import present

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


@pytest.mark.parametrize(
    ("name", "layout", "mean"),
    [
        ("small_thresholds.npz", "small_layout-2.4.16.yaml", 5882),
        ("module0-fake_thresholds-6ke.npz", None, 5884),
    ],
)
def test_sample_thresholds(sample_file, name, layout, mean):
    detector = load_detector("module0", layout and sample_file(layout))
    table = load_channel_values(sample_file(name), detector)
    assert table.mean() == pytest.approx(mean, abs=1)
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


@pytest.mark.parametrize(
    ("source", "coarse", "fine"),
    present(
        ("small_2x2.yaml", "small_layout-2.4.16.yaml", "small_layout-2.5.16.yaml"),
        ("2x2_dune.yaml", "multi_tile_layout-2.4.16.yaml", "multi_tile_layout-2.5.16.yaml"),
    ),
)
def test_mixed_planes_have_no_common_keys(sample_file, save, source, coarse, fine):
    mixed = load_detector(sample_file(source), [sample_file(name) for name in (coarse, coarse, fine, coarse)])
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


@pytest.mark.parametrize(
    ("source", "layout", "name", "total"),
    [
        ("small_predecessor.yaml", "small_layout-2.2.16.yaml", "small_bad_channels.json", 58),
        ("module0_predecessor.yaml", "multi_tile_layout-2.2.16.yaml", "module0_bad_channels.json", 5391),
    ],
)
def test_sample_bad_channels(sample_file, source, layout, name, total):
    detector = load_detector(sample_file(source), sample_file(layout))
    path = sample_file(name)
    off = load_bad_channels(path, detector)
    r, bad = detector.readout, json.loads(path.read_text())
    for plane, ix, iy in np.random.default_rng(1).integers(0, off.shape, size=(2000, 3)):
        key = f"{r.io_group[plane, ix, iy]}-{r.io_channel[plane, ix, iy]}-{r.chip[plane, ix, iy]}"
        assert off[plane, ix, iy] == (r.channel[plane, ix, iy] in bad.get(key, []))
    assert off.sum() == total


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be a JSON file, but line 1"),
        ("[" * 100_000, "must be a JSON file, but it is nested too deeply"),
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


def test_pedestals_by_key_may_be_zero_or_negative(detector, save):
    table = load_pedestals(save(keys=[0, 1], values=[-12.0, 0.0], default=[600.0]), detector)
    assert table[0, :3, 0].tolist() == [-12.0, 0.0, 600.0]
    tiny = load_pedestals(save(keys=[0], values=[0.0], default=[0.0]), detector)
    assert not tiny.any()
    with pytest.raises(ArgumentError, match="must hold a finite `default`, but it is nan"):
        load_pedestals(save(keys=[0], values=[0.0], default=[np.nan]), detector)
    with pytest.raises(ArgumentError, match="must name all pixels or hold a `default`"):
        load_pedestals(save(keys=[0], values=[0.0]), detector)
    filled = load_pedestals(save(keys=[0], values=[1.0]), detector, fill=np.full((2, 140, 280), 580.0))
    assert filled[0, :2, 0].tolist() == [1.0, 580.0]


def test_thresholds_are_no_pedestals(detector, save):
    """And the sentence names what the file was given as."""
    path = save(keys=[0], values=[7000.0], default=[7000.0])
    with pytest.raises(ArgumentError, match=r"`path` must hold pedestals, mV, but all lie above `v_ref`, 7000 mV"):
        load_pedestals(path, detector)
    with pytest.raises(ArgumentError, match=r"`pedestals` must hold pedestals, mV"):
        load_channel_maps({"pedestals": path}, detector)


def test_thresholds_that_fill_in_where_the_file_says_nothing(detector, save):
    nominal = np.arange(2.0 * 140 * 280).reshape(2, 140, 280)
    table = load_channel_values(save(keys=[140 * 5 + 2], values=[7.0]), detector, fill=nominal)
    assert table[0, 2, 5] == 7.0
    table[0, 2, 5] = nominal[0, 2, 5]
    np.testing.assert_array_equal(table, nominal)
    own = load_channel_values(save(keys=[0], values=[7.0], default=[9.0]), detector, fill=nominal)
    assert own[1, 1, 1] == 9.0


def id_of(detector, pixel, variant):
    group, io_channel, chip, channel = (int(column[pixel]) for column in detector.readout)
    second = io_channel if variant == "io_channel" else (io_channel + 3) // 4
    return f"{group}{second:03}{chip:03}{channel:02}"


@pytest.mark.parametrize("variant", ["tile", "io_channel"])
def test_unique_ids(detector, variant):
    ids = unique_ids_of(detector, variant)
    for pixel in np.random.default_rng(2).integers(0, [2, 140, 280], size=(200, 3)):
        assert str(ids[tuple(pixel)]) == id_of(detector, tuple(pixel), variant)
    assert len(np.unique(ids)) == ids.size


@pytest.mark.parametrize("variant", ["tile", "io_channel"])
def test_pedestals_and_references_by_unique_id(detector, write, variant):
    rng = np.random.default_rng(3)
    v = {
        name: rng.uniform(low, low + 100, (2, 140, 280)).round(3) for name, low in (("p", -50), ("r", 1300), ("c", 280))
    }
    names = np.vectorize(str)(unique_ids_of(detector, variant))
    order = rng.permutation(names.size)
    name, p, r, c = (values.ravel()[order].tolist() for values in (names, v["p"], v["r"], v["c"]))
    pedestals = write(json.dumps({k: {"pedestal_mv": x, "spread": 1} for k, x in zip(name, p, strict=True)}), "p.json")
    references = {k: {"vref_mv": x, "vcm_mv": y} for k, x, y in zip(name, r, c, strict=True)}
    references = write(json.dumps(references), "r.json")
    np.testing.assert_array_equal(load_pedestals(pedestals, detector, variant), v["p"])
    v_ref, v_cm = load_references(references, detector, variant)
    np.testing.assert_array_equal(v_ref, v["r"])
    np.testing.assert_array_equal(v_cm, v["c"])


@pytest.mark.parametrize(
    ("source", "layout"),
    present(
        ("small_predecessor.yaml", "small_layout-2.2.16.yaml"),
        ("module0_predecessor.yaml", "multi_tile_layout-2.2.16.yaml"),
    ),
)
def test_real_layouts_have_channels_of_their_own(sample_file, write, source, layout):
    """Pixels that no channel reads keep the detector's values, and no file has to name them."""
    detector = load_detector(sample_file(source), sample_file(layout))
    ids = unique_ids_of(detector)
    wired = ids >= 0
    assert (~wired).sum() > 0 and len(np.unique(ids[wired])) == wired.sum()
    table = load_pedestals(write(json.dumps({str(k): {"pedestal_mv": 1} for k in ids[wired].tolist()})), detector)
    assert (table[wired] == 1).all() and (table[~wired] == 580).all()


def test_channels_that_a_file_of_ids_leaves_out(detector, write):
    pixel = (1, 20, 30)
    path = write(
        json.dumps({id_of(detector, pixel, "tile"): {"pedestal_mv": 3, "vref_mv": 1400, "vcm_mv": 2}}), "p.json"
    )
    with pytest.raises(ArgumentError, match=r"must name all channels of module0, but 78399 are missing, the first"):
        load_pedestals(path, detector)
    fill = np.full((2, 140, 280), 580.0)
    assert (load_pedestals(path, detector, fill=fill) != fill).sum() == 1
    v_ref, v_cm = load_references(path, detector, fill=(fill + 1000, fill))
    assert (v_ref[pixel], v_cm[pixel], v_ref[0, 0, 0], v_cm[0, 0, 0]) == (1400, 2, 1580, 580)
    with pytest.raises(ArgumentError, match="must have `vref_mv` above `vcm_mv`, but channel 100701100 has not"):
        load_references(path, detector, fill=(fill, fill))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", r'must map unique ids to {"pedestal_mv": ...} in mV, but it holds a list'),
        ("{", "must be a JSON file, but line 1"),
        ("[" * 100_000, "must be a JSON file, but it is nested too deeply"),
        ('{"100101100": 3}', "but 100101100 has 3"),
        ('{"100101100": {}}', "but 100101100 has {}"),
        ('{"100101100": {"pedestal_mv": "a"}}', "but 100101100 has"),
        ('{"100101100": {"pedestal_mv": NaN}}', "but 100101100 has"),
        ('{"100101100": {"pedestal_mv": true}}', "but 100101100 has"),
        ('{"1-1-11": {"pedestal_mv": 3}}', "one key is '1-1-11'"),
        ('{"-1": {"pedestal_mv": 3}}', "one key is '-1'"),
        ('{"99999999999999999999": {"pedestal_mv": 3}}', "one key is '9999"),
        ('{"1": {"pedestal_mv": 3}, "1": {"pedestal_mv": 4}}', "must name each key once"),
        ('{"1": {"pedestal_mv": 3}, "01": {"pedestal_mv": 4}}', "must name each channel once"),
        (
            '{"100901100": {"pedestal_mv": 3}}',
            "but 1 of its 1 unique ids match no channel, the first of them 100901100",
        ),
    ],
)
def test_refused_pedestals(detector, write, text, sentence):
    with pytest.raises(ArgumentError) as error:
        load_pedestals(write(text, "p.json"), detector)
    assert sentence in str(error.value)
    with pytest.raises(ArgumentError, match="`unique_id` must be one of io_channel, tile, but it is 'chip'"):
        load_pedestals(write(text, "p.json"), detector, unique_id="chip")


def test_maps_of_all_files(detector, save, write):
    bad = write(json.dumps({"All": [0]}), "bad.json")
    one = write(json.dumps({"100101100": {"vref_mv": 1500, "vcm_mv": 2}}), "r.json")
    keys = save(keys=[0], values=[5.0])
    files = {"thresholds": keys, "gains": None, "pedestals": keys, "references": one, "bad_channels": bad}
    maps = load_channel_maps({**files, "fill_channels": True}, detector)
    assert sorted(maps) == ["bad_channels", "pedestals", "thresholds", "v_cm", "v_ref"]
    assert [maps[name][0, 0, 0] for name in ("pedestals", "thresholds")] == [5.0, 5.0]
    assert [maps[name][1, 0, 0] for name in ("pedestals", "thresholds", "v_ref")] == [580.0, 7000.0, 1300.0]
    array = np.ones((2, 140, 280))
    assert load_channel_maps({"gains": array}, detector) == {"gains": array}
    assert load_channel_maps({"fill_channels": False, "unique_id": None}, detector) == {}
    for wrong, sentence in (
        ({"fill_channels": True, "bad_channels": bad}, "`fill_channels` must be left out without files of channels"),
        ({"unique_id": "tile", "thresholds": keys}, "`unique_id` must come with a JSON file"),
        ({"unique_id": "tile", "pedestals": keys}, "`unique_id` must come with a JSON file"),
        ({"unique_id": "chip", "references": one}, "`unique_id` must be one of io_channel, tile"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            load_channel_maps(wrong, detector)
