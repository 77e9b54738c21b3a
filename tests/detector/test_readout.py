"""Layout files and the channels behind pixels."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from larndsim.detector import load_detector
from larndsim.errors import ArgumentError
from tests.samples import present

LAYOUTS = [
    f"{kind}-{version}.yaml"
    for kind in ("small_layout", "multi_tile_layout")
    for version in ("2.2.16", "2.4.16", "2.4.16_v4", "2.5.16")
]
TINY = {  # one module of two TPCs with two tiles each, of 2 x 3 pixels; the second tiles are turned
    "pixel_pitch": 10.0,
    "chip_channel_to_position": {11000: [0, 0], 11001: [1, 0], 11002: [0, 1], 12000: [1, 1], 12001: [0, 2]},
    "tile_positions": {1: [-50, 0, -10], 2: [-50, 0, 10], 3: [50, 0, -10], 4: [50, 0, 10]},
    "tile_orientations": {1: [1, 1, 1], 2: [1, 1, -1], 3: [-1, -1, 1], 4: [-1, -1, -1]},
    "tile_indeces": {1: [1, 1], 2: [1, 2], 3: [2, 1], 4: [2, 2]},
    "tile_chip_to_io": {1: {11: 1001, 12: 1002}, 2: {11: 1003, 12: 1004}, 3: {11: 2001, 12: 2002}, 4: {11: 2003}},
}


def place(x):
    """The places of the tiny layout's tiles, with the second, to the right of the first, at `x` (mm)."""
    return TINY["tile_positions"] | {2: [-50, 0, x]}


@pytest.fixture
def tiny(write):
    """A function that writes the tiny layout with some of its entries changed, or left out (None)."""

    def make(**changes):
        data = {key: value for key, value in (TINY | changes).items() if value is not None}
        return write(yaml.safe_dump(data), "layout.yaml")

    return make


def address(readout, plane, ix, iy):
    return tuple(int(column[plane, ix, iy]) for column in readout)


def readout_twin(data, io_groups):
    """{(plane, ix, iy): address} of one module, pixel by pixel: as the layout file is meant."""
    nx, ny = np.max(list(data["chip_channel_to_position"].values()), axis=0) + 1
    twin = {}
    for tile, (*_, tpc, _number) in data["tile_indeces"].items():
        mates = [data["tile_positions"][t] for t, index in data["tile_indeces"].items() if index[-2] == tpc]
        column = sorted({mate[2] for mate in mates}).index(data["tile_positions"][tile][2])
        row = sorted({mate[1] for mate in mates}).index(data["tile_positions"][tile][1])
        _, up, right = data["tile_orientations"][tile]
        for key, (px, py) in data["chip_channel_to_position"].items():
            ix = column * nx + (px if right > 0 else nx - 1 - px)
            iy = row * ny + (py if up > 0 else ny - 1 - py)
            if key // 1000 in data["tile_chip_to_io"][tile]:
                io = data["tile_chip_to_io"][tile][key // 1000]
                twin[tpc - 1, ix, iy] = (io_groups[io // 1000 - 1], io % 1000, key // 1000, key % 1000)
    return twin


def test_tiny_readout(tiny):
    detector = load_detector("module0", tiny())
    assert detector.geometry.shape == (2, 4, 3)
    np.testing.assert_allclose([detector.geometry.x_low, detector.geometry.x_high], [[-2, -2], [2, 2]])
    r = detector.readout
    assert address(r, 0, 0, 0) == (1, 1, 11, 0)
    assert address(r, 0, 1, 0) == (1, 1, 11, 1)
    assert address(r, 0, 1, 2) == (-1, -1, -1, -1)  # a pixel without a channel
    assert address(r, 0, 3, 0) == (1, 3, 11, 0)  # turned along x
    assert address(r, 1, 0, 2) == (2, 1, 11, 0)  # turned along y
    assert address(r, 1, 3, 2) == (2, 3, 11, 0)  # turned along both
    assert address(r, 1, 2, 1) == (-1, -1, -1, -1)  # a chip that is not connected
    assert all(column.dtype == np.int16 for column in r)


def test_consecutive_io_groups_unless_stated(tiny, write):
    offsets = "tpc_offsets: [[0, 0, 0], [200, 0, 0]]\ndrift_length: 5\n"
    two = load_detector(write(offsets), tiny())
    assert two.io_groups == ((1, 2), (3, 4))
    stated = load_detector(write(offsets + "module_to_io_groups: {1: [8, 7], 2: [2, 1]}"), tiny())
    assert [int(stated.readout.io_group[plane, 0, 1]) for plane in range(4)] == [8, 7, 2, 1]


def test_layout_may_place_its_tpcs(tiny, write):
    detector = load_detector(write("drift_length: 4"), tiny(tpc_centers={1: [0, 0, 0], 2: [10, 20, 30]}))
    np.testing.assert_allclose(detector.geometry.anode_z, [-5, 6])
    np.testing.assert_allclose(detector.geometry.x_low, [-2, 1])
    np.testing.assert_allclose(detector.geometry.y_low, [-1.5, 0.5])


@pytest.mark.parametrize("layout", present(*LAYOUTS))
def test_readout_equals_its_twin(sample_file, layout):
    path = sample_file(layout)
    data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    r = load_detector("module0", path).readout
    twin = readout_twin(data, [1, 2])
    assert (r.chip >= 0).sum() == len(twin)
    plane, ix, iy = np.array(list(twin)).T
    found = np.stack([column[plane, ix, iy] for column in r], axis=1)
    np.testing.assert_array_equal(found, list(twin.values()))
    assert len(set(twin.values())) == len(twin)


@pytest.mark.parametrize(
    ("source", "layout", "n_planes"),
    [
        ("small_ndlar.yaml", "small_layout-3.0.40.yaml", 12),
        ("ndlar-module_dune.yaml", "multi_tile_layout-3.0.40.yaml", 70),
    ],
)
def test_ndlar_channels_are_unique(sample_file, source, layout, n_planes):
    r = load_detector(sample_file(source), sample_file(layout)).readout
    assert r.chip.min() >= 10
    # Modules share the map and differ in their io groups: unique in the first, and the groups are disjoint.
    first = np.stack([column[:2].ravel().astype(np.int64) for column in r])
    assert len(np.unique(((first[0] * 100 + first[1]) * 1000 + first[2]) * 100 + first[3])) == first.shape[1]
    groups = [set(np.unique(r.io_group[plane]).tolist()) for plane in range(n_planes)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 2 * n_planes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pixel_pitch": None}, "Argument `layout` must hold `pixel_pitch`, but it does not in .*layout.yaml"),
        ({"tile_chip_to_io": None}, "must hold `tile_chip_to_io`"),
        ({"pixel_pitch": -1}, "Argument `pixel_pitch` must be positive"),
        ({"pixel_pitch": "wide"}, "Argument `pixel_pitch` must be a number"),
        ({"drift_length": 0}, "Argument `drift_length` must be positive"),
        ({"tile_positions": {1: [0, 0]}}, "must map integers to lists of 3 numbers in `tile_positions`"),
        ({"tile_positions": {1: [-50, 0, 0]}}, "must hold all entries of `tile_positions`, but 2 is missing"),
        ({"tile_positions": {tile: [0, 0, 0] for tile in range(1, 5)}}, "must have one anode per TPC"),
        ({"tile_orientations": {tile: [1, 0, 1] for tile in range(1, 5)}}, "must have `tile_orientations` of 1 and -1"),
        ({"tile_indeces": {1: [1, 1, 1], 2: [2, 1, 2]}}, "must describe one module"),
        ({"tile_indeces": []}, "must map integers to lists of 2 or 3 numbers in `tile_indeces`"),
        ({"chip_channel_to_position": {}}, "must map integers to lists of 2 numbers in `chip_channel_to_position`"),
        ({"chip_channel_to_position": {11000: [0, 0], 11001: [0, 0]}}, "must give each pixel one channel"),
        ({"tile_chip_to_io": {1: {11: 1001}}}, "must map every tile's chips to io channels"),
        ({"tile_chip_to_io": dict.fromkeys(range(1, 5), 5)}, "must map every tile's chips to io channels"),
        ({"tile_chip_to_io": {tile: {} for tile in range(1, 5)}}, "must map every tile's chips to io channels"),
        ({"tile_chip_to_io": {tile: {11: 10**10} for tile in range(1, 5)}}, "or to numbers that none has"),
        ({"tile_chip_to_io": {tile: {10**9: 1001} for tile in range(1, 5)}}, "or to numbers that none has"),
        ({"tile_chip_to_io": {tile: {11: 1} for tile in range(1, 5)}}, "or to numbers that none has"),
        ({"pixel_pitch": 1e-6}, "Argument `pixel_pitch` must lie within 0.1 and 100 mm, but it is 1e-06 in .*yaml"),
        ({"pixel_pitch": 1e6}, r"Argument `pixel_pitch` must lie within 0.1 and 100 mm, but it is 1e\+06"),
        (
            {"pixel_pitch": 0.1, "tile_positions": place(x=5e5)},
            r"have at most 1e\+07 pixels per TPC, .* has 5000102 x 3",
        ),
        (
            {"tile_positions": place(x=1e9)},
            r"`tile_positions\[2\]` must lie within -1e\+07 and 1e\+07 mm, but it is 1e\+09",
        ),
        ({"tile_positions": place(x=float("nan"))}, r"Argument `tile_positions\[2\]` must .*, but it is nan in .*yaml"),
        ({"tile_positions": place(x=float("inf"))}, r"Argument `tile_positions\[2\]` must .*, but it is inf in .*yaml"),
        ({"tile_positions": place(x=-10)}, "must have tiles side by side, but tiles 1 and 2 overlap in .*layout.yaml"),
        ({"tile_positions": place(x=4)}, "must have tiles side by side, but tiles 1 and 2 overlap"),
        ({"tpc_centers": {1: [0, 0, 0], 2: [0, float("nan"), 0]}}, r"Argument `tpc_centers\[2\]` must lie within"),
        ({"drift_length": 1e9}, "Argument `drift_length` must lie within 0 and 100000 mm"),
        ({"chip_channel_to_position": {11000: [10**9, 0]}}, "whole ones from 0 to 999, but it does not"),
        ({"chip_channel_to_position": {11000: [0.5, 0]}}, "whole ones from 0 to 999, but it does not"),
        ({"chip_channel_to_position": {10**9: [0, 0]}}, "must name chips below 1000"),
        ({"tile_indeces": {1: [1, float("nan")]}}, "must map integers to lists of 2 or 3 numbers in `tile_indeces`"),
        ({"tile_indeces": {float("inf"): [1, 1]}}, "must map integers to lists of 2 or 3 numbers in `tile_indeces`"),
        ({"tile_indeces": {10**400: [1, 1]}}, "must map integers to lists of 2 or 3 numbers in `tile_indeces`"),
    ],
)
def test_refused_layouts(tiny, changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        load_detector("module0", tiny(**changes))


def test_anodes_that_are_far_apart(tiny, write):
    far = {tile: [1e5 * drift, *others] for tile, (drift, *others) in TINY["tile_positions"].items()}
    with pytest.raises(ArgumentError, match=r"`drift_length` must lie within .*, but it is 500000 in .*mine.yaml with"):
        load_detector(write("lifetime: 2000"), tiny(tile_positions=far))


def test_numbers_may_be_spelt_as_text(tiny):
    detector = load_detector("module0", tiny(tile_indeces={1: ["1", "1.0e0"], 2: [1, 2], 3: [2, 1], 4: [2, 2]}))
    assert detector.geometry.n_planes == 2


def test_tiles_may_overlap_by_a_fraction_of_a_pixel(tiny):
    detector = load_detector("module0", tiny(tile_positions=place(x=7)))
    assert detector.geometry.shape == (2, 4, 3)


def test_unknown_key_of_a_layout(tiny):
    with pytest.warns(UserWarning, match="did you mean `drift_length`?"):
        load_detector("module0", tiny(drift_lenght=4))


def test_missing_layout(tmp_path):
    with pytest.raises(ArgumentError, match=r"Argument `layout` must be a file that can be read, but .*none\.yaml"):
        load_detector("module0", tmp_path / "none.yaml")


def test_one_anode_needs_a_drift_length(tiny, write):
    half = {"tile_indeces": {1: [1, 1], 2: [1, 2]}, "drift_length": None}
    with pytest.raises(ArgumentError, match="Argument `drift_length` must be known"):
        load_detector(write("lifetime: 2000"), tiny(**half))
    detector = load_detector(write("drift_length: 4"), tiny(**half))
    np.testing.assert_allclose(detector.geometry.cathode_z, [-1.0])
