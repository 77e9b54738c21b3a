"""Pixel layouts: where a module's tiles lie, and which channel reads which of their pixels.

Layout files give lengths in mm and positions as (drift, y, x); here they are in cm and (x, y, z).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from .checks import (
    FURTHEST,
    LONGEST_DRIFT,
    PathLike,
    as_number,
    check_sign,
    check_within,
    describe_unknown,
    read_yaml,
)

REQUIRED = (
    "pixel_pitch",
    "chip_channel_to_position",
    "tile_positions",
    "tile_orientations",
    "tile_indeces",
    "tile_chip_to_io",
)
OPTIONAL = ("drift_length", "tpc_centers", "tile_layout_version", "multitile_layout_version")
MM = 0.1  # cm
PITCHES = 0.1, 100.0  # mm, of any pixels
MOST_PIXELS = 10**7  # of one TPC
NUMBERS = 1000  # TPCs, tiles, chips, io groups, io channels and the pixels along a tile are all numbered below this


class Layout(NamedTuple):
    """The tiles of one module. Lengths in cm; identifiers are integers, -1 where there is none."""

    name: str
    pitch: float
    chip: np.ndarray  # (px, py) the chip of each pixel of a tile
    channel: np.ndarray  # (px, py) its channel
    io: np.ndarray  # (tile, chip) io_group * 1000 + io_channel; the last column is always -1
    tpc: np.ndarray  # (tile,) index of the tile's TPC, from 0
    centre: np.ndarray  # (tile, 3) position of the tile's centre from the module's centre
    flip: np.ndarray  # (tile, 2) whether the tile's pixels run against x, against y
    tpc_centre: np.ndarray  # (tpc, 3) where the module's centre lies, unless the detector file says so
    drift_length: float | None = None  # from anode to cathode, where the layout states it

    @property
    def n_tpcs(self) -> int:
        """Number of TPCs (= pixel planes) of the module."""
        return len(self.tpc_centre)

    @property
    def n_groups(self) -> int:
        """Number of io groups, which count from 1 within the module."""
        return int(self.io.max()) // 1000

    def tiles(self, tpc: int) -> np.ndarray:
        """Indices of the tiles of one TPC."""
        return np.flatnonzero(self.tpc == tpc)

    def low_corner(self, tpc: int) -> np.ndarray:
        """Lowest (x, y) of the pixels of one TPC, from the module's centre."""
        return self.centre[self.tiles(tpc), :2].min(axis=0) - self._half_tile()

    def high_corner(self, tpc: int) -> np.ndarray:
        """Highest (x, y) of the pixels of one TPC, from the module's centre."""
        return self.centre[self.tiles(tpc), :2].max(axis=0) + self._half_tile()

    def first_pixels(self, tpc: int) -> np.ndarray:
        """The plane's (ix, iy) at the low corner of each tile (tile, 2): tile gaps are rounded away."""
        corners = self.centre[self.tiles(tpc), :2] - self._half_tile()
        return np.rint((corners - self.low_corner(tpc)) / self.pitch).astype(np.int64)

    def n_pixels(self, tpc: int) -> np.ndarray:
        """Number of pixels along (x, y) of one TPC."""
        return self.first_pixels(tpc).max(axis=0) + self.chip.shape

    def _half_tile(self) -> np.ndarray:
        return 0.5 * self.pitch * np.array(self.chip.shape)


def planes(layouts: Sequence[Layout]) -> Iterator[tuple[int, int]]:
    """The (module, tpc) of each pixel plane, in the order of all per-plane arrays."""
    for module, layout in enumerate(layouts):
        for tpc in range(layout.n_tpcs):
            yield module, tpc


def io_table(tiles: Sequence[dict[int, int]], last_chip: int) -> np.ndarray:
    """(tile, chip) table of each tile's {chip: io}: unknown chips, and chip -1 by wrapping, give -1."""
    last_chip = max(last_chip, *(max(tile) for tile in tiles))
    table = np.full((len(tiles), last_chip + 2), -1, dtype=np.int32)
    for row, tile in zip(table, tiles, strict=True):
        row[list(tile)] = list(tile.values())
    return table


def read_layout(path: PathLike) -> Layout:
    """A pixel layout from its YAML file."""
    data = read_yaml(path, "layout")
    _check_keys(data, path)
    pitch = _length(data, "pixel_pitch", PITCHES, path)
    indices = _rows(data, "tile_indeces", (2, 3), path, whole=True)
    tiles, index = list(indices), _whole(indices.values())
    if index.shape[1] == 3 and len(np.unique(index[:, 0])) > 1:
        raise _error("describe one module", "its `tile_indeces` name several", path, "Write one file per module.")
    ids, tpc = np.unique(index[:, -2], return_inverse=True)
    position = _positions(data, tiles, "tile_positions", path)
    orientation = _select(data, tiles, "tile_orientations", path)
    chip, channel = _pixel_map(data, path)
    _check_tiles(position, orientation, tpc, path)
    layout = Layout(
        name=str(path),
        pitch=pitch,
        chip=chip,
        channel=channel,
        io=_io(data, tiles, int(chip.max()), path),
        tpc=tpc,
        centre=position[:, ::-1],
        flip=orientation[:, :0:-1] < 0,
        tpc_centre=_tpc_centres(data, ids.tolist(), path),
        drift_length=_drift_length(data, path),
    )
    _check_planes(layout, tiles, path)
    return layout


def _check_keys(data: dict[Any, Any], path: PathLike) -> None:
    for key in REQUIRED:
        if key not in data:
            raise _error(f"hold `{key}`", "it does not", path, "Give a pixel layout file.")
    unknown = [str(key) for key in data if key not in REQUIRED + OPTIONAL]
    if unknown:
        warnings.warn(describe_unknown(unknown, REQUIRED + OPTIONAL, path), stacklevel=5)


def _check_tiles(position: np.ndarray, orientation: np.ndarray, tpc: np.ndarray, path: PathLike) -> None:
    """One anode per TPC, off the module's centre: the drift direction is read off its sign."""
    if not np.all(np.abs(orientation) == 1):
        raise _error("have `tile_orientations` of 1 and -1", "others are there", path, "Correct them.")
    for t in np.unique(tpc):
        drift = position[tpc == t, 0]
        if np.ptp(drift) > 1e-6 or drift[0] == 0.0:
            but = f"the tiles of TPC {t + 1} lie at {np.unique(drift / MM)} mm"
            raise _error("have one anode per TPC, off the module's centre", but, path, "Correct `tile_positions`.")


def _check_planes(layout: Layout, tiles: list[int], path: PathLike) -> None:
    """Refuse pixels of a TPC that are too many, or that belong to two tiles; `tiles` are the names of these."""
    for tpc in range(layout.n_tpcs):
        nx, ny = layout.n_pixels(tpc).tolist()
        if nx * ny > MOST_PIXELS:
            must = f"have at most {MOST_PIXELS:g} pixels per TPC, gaps between tiles included"
            but = f"TPC {tpc + 1} has {nx} x {ny}"
            raise _error(must, but, path, "Correct `pixel_pitch` or `tile_positions`.")
        owner = np.full((nx, ny), -1)
        width, height = layout.chip.shape
        for tile, (ix, iy) in zip(layout.tiles(tpc).tolist(), layout.first_pixels(tpc).tolist(), strict=True):
            block = owner[ix : ix + width, iy : iy + height]
            if (other := int(block.max())) >= 0:
                but = f"tiles {tiles[other]} and {tiles[tile]} overlap"
                raise _error("have tiles side by side", but, path, "Correct `tile_positions`.")
            block[:] = tile


def _pixel_map(data: dict[Any, Any], path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """(px, py) tables of the chip and the channel of each pixel of a tile."""
    rows = _rows(data, "chip_channel_to_position", (2,), path, whole=True)
    key, pixel = _whole(rows), _whole(rows.values())
    if key.min() < 0 or key.max() >= 1000 * NUMBERS:
        must = f"name chips below {NUMBERS} in `chip_channel_to_position`, as 1000 chip + channel"
        raise _error(must, "others are there", path, "Correct it.")
    if len(np.unique(pixel, axis=0)) < len(pixel):
        raise _error("give each pixel one channel in `chip_channel_to_position`", "some have two", path, "Correct it.")
    chip = np.full(pixel.max(axis=0) + 1, -1, dtype=np.int16)
    channel = chip.copy()
    chip[tuple(pixel.T)], channel[tuple(pixel.T)] = key // 1000, key % 1000
    return chip, channel


def _io(data: dict[Any, Any], tiles: list[int], last_chip: int, path: PathLike) -> np.ndarray:
    try:
        tables = [{int(chip): int(io) for chip, io in data["tile_chip_to_io"][tile].items()} for tile in tiles]
        chips, ios = zip(*(pair for table in tables for pair in table.items()), strict=True)
        groups = [io // 1000 for io in ios]
        ok = all(tables) and min(chips) >= 0 and min(groups) >= 1 and max(*chips, *groups) < NUMBERS
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        ok = False
    if not ok:
        must = "map every tile's chips to io channels in `tile_chip_to_io`, as 1000 io group + io channel"
        raise _error(must, "it does not, or to numbers that none has", path, "Correct it.")
    return io_table(tables, last_chip)


def _tpc_centres(data: dict[Any, Any], tpcs: list[int], path: PathLike) -> np.ndarray:
    if "tpc_centers" not in data:
        return np.zeros((len(tpcs), 3))
    return _positions(data, tpcs, "tpc_centers", path)[:, ::-1]


def _drift_length(data: dict[Any, Any], path: PathLike) -> float | None:
    return _length(data, "drift_length", (0.0, LONGEST_DRIFT / MM), path) if "drift_length" in data else None


def _length(data: dict[Any, Any], key: str, limits: tuple[float, float], path: PathLike) -> float:
    """A positive length within limits (mm), in cm."""
    length = as_number(key, data[key], str(path))
    check_sign(key, length, str(path))
    check_within(key, length, limits, "mm", str(path))
    return length * MM


def _positions(data: dict[Any, Any], wanted: list[int], key: str, path: PathLike) -> np.ndarray:
    """Places by name, as (drift, y, x) in cm. Axes: (name, 3)."""
    places = _select(data, wanted, key, path) * MM
    for name, place in zip(wanted, places, strict=True):
        check_within(f"{key}[{name}]", place / MM, (-FURTHEST / MM, FURTHEST / MM), "mm", str(path))
    return places


def _select(data: dict[Any, Any], wanted: list[int], key: str, path: PathLike) -> np.ndarray:
    """Three numbers for each name. Axes: (name, 3)."""
    rows = _rows(data, key, (3,), path)
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise _error(f"hold all entries of `{key}`", f"{missing[0]} is missing", path, "Add it.")
    return np.array([rows[name] for name in wanted], dtype=np.float64)


def _rows(
    data: dict[Any, Any], key: str, widths: tuple[int, ...], path: PathLike, whole: bool = False
) -> dict[int, list[Any]]:
    """A mapping from integers to lists of numbers (or of whole ones below NUMBERS), all of one of the given lengths."""
    rows = data[key]
    try:
        _whole(rows)
        values = _whole(rows.values()) if whole else np.array(list(rows.values()), dtype=np.float64)
        ok = values.ndim == 2 and values.shape[1] in widths
        ok = ok and not (whole and np.any((values < 0) | (values >= NUMBERS)))
    except (AttributeError, TypeError, ValueError, OverflowError):
        ok = False
    if not ok:
        kind = f", whole ones from 0 to {NUMBERS - 1}" if whole else ""
        must = f"map integers to lists of {' or '.join(map(str, widths))} numbers in `{key}`{kind}"
        raise _error(must, "it does not", path, "Correct it.")
    return rows


def _whole(values: Iterable[Any]) -> np.ndarray:
    """Whole numbers, or a ValueError."""
    numbers = np.array(list(values), dtype=np.float64)
    if not np.all((np.abs(numbers) < 2**53) & (numbers == np.rint(numbers))):
        raise ValueError("not whole")
    return numbers.astype(np.int64)


def _error(must: str, but: str, path: PathLike, remedy: str) -> ArgumentError:
    return ArgumentError("layout", must, f"{but} in {path}", remedy)
