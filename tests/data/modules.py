"""What the small detector files and pixel layouts say.

The module has two TPCs of 2 x 2 tiles, and each tile 2 x 2 chips. Its drift is that of real modules, so that their
detector files would fit. Layouts are in mm, with positions as (drift, y, x); detector files are in cm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from larndsim.detector.builtin import UNBONDED

BONDED = [channel for channel in range(64) if channel not in UNBONDED]
# Numbers with exponents are text, to be written as they are: to YAML some of them are none.
ARGON = {"temperature": 87.17, "e_field": 0.50, "long_diff": "4.0e-6", "tran_diff": "8.8e-6"}
PREDECESSOR = {
    "time_interval": [0, 200.0],
    "drift_length": 30.27225,
    "eField": 0.50,
    "lifetime": "2.2e+3",
    "vdrift": 0.1587,
    "MeVToElectrons": "4.237e+4",
    "Ab": 0.8,
    "kb": 0.0486,
    "long_diff": "4.0e-6",
    "tran_diff": "8.8e-6",
}
UNUSED = {"singlet_fraction": 0.3, "tau_s": 0.001, "light_nbit": 14, "light_trig_window": [1.6, 14.4]}
TILE_MAP = [[[3, 1], [4, 2]], [[8, 6], [7, 5]]]


class Tiles(NamedTuple):
    """The tiles of a module, and how they are made."""

    pitch: float
    chip: tuple[int, int]  # pixels along x, y
    channels: list[int]  # of a chip
    first_chip: int
    anode: float  # drift of the first TPC's tiles; the second TPC's are opposite
    x: float  # of the second column; the first is opposite
    rows: tuple[float, float]
    groups: int = 1  # io groups per TPC
    turned: bool = True

    def each(self) -> Iterator[tuple[int, int, int, list[float]]]:
        """The name, the TPC, the number in it and the place of each tile."""
        for tpc, anode in ((1, self.anode), (2, -self.anode)):
            left = -1 if tpc == 1 or not self.turned else 1
            places = [[anode, y, side * self.x] for y in self.rows for side in (left, -left)]
            for number, place in enumerate(places, 1):
                yield 4 * (tpc - 1) + number, tpc, number, place

    def orientation(self, tpc: int, place: list[float]) -> list[int]:
        """Towards the drift, and along y and x: those of one column are upside down, the others mirrored."""
        inwards = 1 if place[0] < 0 else -1
        if not self.turned:
            return [inwards, 1, 1]
        along = {1: ([-1, 1], [1, -1]), 2: ([1, 1], [-1, -1])}[tpc][place[2] > 0]
        return [inwards, *along]

    def pixels(self) -> dict[int, list[int]]:
        """{1000 chip + channel: [px, py]}"""
        width, height = self.chip
        pixels = {}
        for chip in range(4):
            up, right = divmod(chip, 2)
            for number, channel in enumerate(self.channels):
                y, x = divmod(number, width)
                pixels[1000 * (self.first_chip + chip) + channel] = [right * width + x, up * height + y]
        return pixels

    def io(self, tpc: int, number: int) -> dict[int, int]:
        """{chip: 1000 io group + io channel} of a tile: four io channels, one per chip."""
        group = self.groups * (tpc - 1) + 1 + (number - 1) % self.groups
        first = 4 * ((number - 1) // self.groups) + 1
        return {self.first_chip + chip: 1000 * group + first + chip for chip in range(4)}

    def layout(self, version: str) -> dict[str, Any]:
        """The entries of a layout file."""
        return {
            "multitile_layout_version": version,
            "tile_layout_version": "2.4.0",
            "pixel_pitch": self.pitch,
            "tile_positions": {name: place for name, _, _, place in self.each()},
            "tile_orientations": {name: self.orientation(tpc, place) for name, tpc, _, place in self.each()},
            "tile_indeces": {name: [tpc, number] for name, tpc, number, _ in self.each()},
            "tile_chip_to_io": {name: self.io(tpc, number) for name, tpc, number, _ in self.each()},
            "chip_channel_to_position": self.pixels(),
        }


COARSE = Tiles(4.434, (7, 7), BONDED, 11, -304.31, 31.04, (31.04, -31.04))
FINE = COARSE._replace(pitch=3.87975, chip=(8, 8), channels=list(range(64)))
UPRIGHT = Tiles(3.8, (8, 5), list(range(40)), 10, -504.0, 30.4, (17.0, -21.0), groups=2, turned=False)
CENTRES = {"tpc_centers": {1: [0, 0, 0], 2: [0, 0, 0]}}


def layouts() -> dict[str, tuple[str, dict[str, Any]]]:
    """A remark on each layout file, and its entries."""
    v4 = COARSE._replace(anode=305.8975).layout("2.4.16") | CENTRES | {"drift_length": 304.31}
    return {
        "small_layout-2.2.16.yaml": ("The older form of indices; pixels that no channel reads.", _older()),
        "small_layout-2.4.16.yaml": ("A module as they are today.", COARSE.layout("2.4.16") | CENTRES),
        "small_layout-2.4.16_v4.yaml": ("The first TPC is the upper one, the drift length is stated.", v4),
        "small_layout-2.5.16.yaml": ("A module with finer pixels.", FINE.layout("2.5.16") | CENTRES),
        "small_layout-3.0.40.yaml": (
            "A module of the far larger kind: two io groups per TPC.",
            UPRIGHT.layout("3.0.40"),
        ),
    }


def _older() -> dict[str, Any]:
    """Pixels without a channel, and chips that are not connected; the module is the first number of an index."""
    data = COARSE._replace(x=31.05, rows=(31.05, -31.05)).layout("2.2.16") | CENTRES
    data["tile_indeces"] = {name: [1, *index] for name, index in data["tile_indeces"].items()}
    for channel in (11000, 12010, 13020):
        del data["chip_channel_to_position"][channel]
    for tile, chip in ((2, 12), (3, 13), (5, 11), (8, 14)):
        del data["tile_chip_to_io"][tile][chip]
    return data


def detectors() -> dict[str, tuple[str, dict[str, Any]]]:
    """A remark on each detector file, and its entries."""
    places = {"tpc_centers": [[0, -21.8236, 0]] * 2, "vdrift_static": 0.1587}
    capitals = {"DISCRIMINATION_THRESHOLD": 5000, "V_CM": 284.27734375, "V_REF": 1282.71484375}
    return {
        "small_predecessor.yaml": ("The predecessor's dialect.", places | PREDECESSOR),
        "small_jax.yaml": (
            "The predecessor's dialect, with settings of the electronics.",
            {"tpc_centers": [[0, 0, 0]] * 2} | PREDECESSOR | capitals,
        ),
        "small_dune.yaml": ("DUNE's dialect, one module.", _dune()),
        "small_2x2.yaml": ("DUNE's dialect, four modules.", _dune_2x2()),
        "small_ndlar.yaml": ("DUNE's dialect, six modules of four io groups.", _ndlar()),
    }


def _dune() -> dict[str, Any]:
    return {
        **ARGON,
        "lifetime": "2.6e+3",
        "drift_length": 30.27225,
        "time_interval": [0, 200.0],
        "response_bin_size": 0.04434,
        "tpc_offsets": [[0, -21.8236, 0]],
        "tile_map": TILE_MAP,
        "module_to_io_groups": {1: [1, 2]},
        "module_to_tpcs": {1: [0, 1]},
        **UNUSED,
    }


def _dune_2x2() -> dict[str, Any]:
    return {
        **ARGON,
        "lifetime": ["2.2e+3"],
        "drift_length": 30.27225,
        "time_interval": [0, 200.0],
        "response_bin_size": [0.04434, 0.04434, 0.0387975, 0.04434],
        "tpc_offsets": [[drift, 0.0, x] for drift in (33.5, -33.5) for x in (33.5, -33.5)],
        "tile_map": TILE_MAP,
        "module_to_io_groups": {module: [2 * module - 1, 2 * module] for module in range(1, 5)},
        "module_to_tpcs": {module: [2 * module - 2, 2 * module - 1] for module in range(1, 5)},
        "discrimination_threshold": "5.0e3",
        "v_cm": 478.1,
        "v_ref": 1568,
        "larpix_gain": "4.522e-3",
        **UNUSED,
    }


def _ndlar() -> dict[str, Any]:
    """Modules of 100.8 cm along the drift, one each 100 cm."""
    offsets = [[drift, -60.929, x] for drift in (-100.0, 0.0, 100.0) for x in (465.7559, 565.7559)]
    return {
        **ARGON,
        "lifetime": "2.2e+3",
        "drift_length": 50.4,
        "time_interval": [0, 320.0],
        "response_bin_size": 0.038,
        "tpc_offsets": offsets,
        "module_to_io_groups": {module: list(range(4 * module - 3, 4 * module + 1)) for module in range(1, 7)},
        "discrimination_threshold": "5.0e3",
        "v_cm": 478.1,
        "v_ref": 1568,
        "light_simulated": 0,
    }
