"""Maps of channel values: thresholds and the like per pixel, and channels that are off."""

from __future__ import annotations

import json
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import ArgumentError
from .checks import PathLike, read_text
from .detector import Detector

COULOMB = 1.602176634e-19  # charge of the electron
ANY_CHIP = "All"  # the key of channels that are off on every chip
CHANNELS = 64  # of a LArPix chip


def load_channel_values(path: PathLike, detector: Detector, default: float | None = None) -> np.ndarray:
    """Values per pixel from an npz file of `keys`, `values` and `default`. Axes: (plane, ix, iy).

    The key of a pixel is ix + n_x * (iy + n_y * plane). Charges in coulomb (they are tiny) become electrons.
    Pixels that the file does not name get `default`, or the file's own. Thresholds and gains are positive.
    """
    n_planes, n_x, n_y = detector.geometry.shape
    if np.any(detector.geometry.n_x != n_x) or np.any(detector.geometry.n_y != n_y):
        raise _error("go with a detector whose planes are alike", "their sizes differ", path, "Load one module.")
    keys, values, own = _read_npz(path)
    if len(keys) and (keys.min() < 0 or keys.max() >= n_planes * n_x * n_y):
        but = f"key {keys.max()} is not among its {n_planes * n_x * n_y}"
        raise _error(f"name pixels of {detector.name}", but, path, "Give the file of this detector.")
    fill = own if default is None else default
    if np.any(values <= 0) or (fill is not None and not 0 < fill < np.inf):
        raise _error("hold positive values and a positive `default`", "it does not", path, "Correct the file.")
    if fill is None and len(np.unique(keys)) < n_planes * n_x * n_y:
        raise _error("name all pixels or hold a `default`", "it does not", path, "Pass `default`.")
    table = np.full(n_planes * n_y * n_x, np.nan if fill is None else fill)
    table[keys] = values
    return table.reshape(n_planes, n_y, n_x).transpose(0, 2, 1)


def load_bad_channels(path: PathLike, detector: Detector) -> np.ndarray:
    """True where a pixel is off, from JSON {"io_group-io_channel-chip": [channels]}. Axes: (plane, ix, iy).

    The key "All" holds channels that are off on every chip. Chips that the layout lacks are passed over:
    their pixels are off anyway.
    """
    readout = detector.readout
    off = np.zeros(readout.chip.shape, dtype=bool)
    bad = _read_bad(path)
    off |= np.isin(readout.channel, np.array(bad.pop(ANY_CHIP, []), dtype=np.int16))
    chips = _code(readout.io_group, readout.io_channel, readout.chip)
    listed = {_chip_code(key, path): channels for key, channels in bad.items()}
    if listed and not np.isin(chips, list(listed)).any():
        raise _error(f"name chips of {detector.name}", "it names none", path, "Give the file of this detector.")
    wanted = [100 * chip + channel for chip, channels in listed.items() for channel in channels]
    off |= np.isin(100 * chips + readout.channel, wanted)
    return off & (readout.chip >= 0)


def _code(group: Any, io_channel: Any, chip: Any) -> np.ndarray:
    """One integer per chip address."""
    group, io_channel, chip = (np.asarray(part, dtype=np.int64) for part in (group, io_channel, chip))
    return (group * 1000 + io_channel) * 1000 + chip


def _chip_code(key: str, path: PathLike) -> int:
    parts = key.split("-")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) <= 3 for part in parts):
        remedy = f"Write `1-5-20`, or `{ANY_CHIP}`."
        raise _error("have keys io_group-io_channel-chip", f"one is {key!r}", path, remedy)
    return int(_code(*map(int, parts)))


def _read_npz(path: PathLike) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Keys (pixel,), values (pixel,) in electrons, and the default if there is one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            keys, values = file["keys"], file["values"].astype(np.float64)
            default = float(file["default"].ravel()[0]) if "default" in file else None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, BadZipFile) as error:
        must = "be an npz file with arrays `keys` and `values`"
        raise _error(must, "it cannot be read so", path, "Check the path, and write it with numpy.savez.") from error
    if keys.shape != values.shape or keys.ndim != 1 or not np.all(np.isfinite(values)):
        raise _error("hold a finite value for each key", "it does not", path, "Correct the file.")
    if len(keys) and keys.dtype.kind not in "iu":
        raise _error("have whole numbers as keys", f"they have the type {keys.dtype}", path, "Correct the file.")
    if len(np.unique(keys)) < len(keys):
        raise _error("name each pixel once", "some keys are there twice", path, "Correct the file.")
    if len(values) and np.abs(values).max() < 1e-10:  # far below one electron: coulomb
        values = values / COULOMB
        default = default / COULOMB if default is not None and abs(default) < 1e-10 else default
    return keys.astype(np.int64), values, default


def _read_bad(path: PathLike) -> dict[str, list[int]]:
    try:
        bad = json.loads(read_text(path, "path"))
    except json.JSONDecodeError as error:
        raise _error("be a JSON file", f"line {error.lineno}: {error.msg}", path, "Correct that line.") from error
    lists = bad.values() if isinstance(bad, dict) else [None]
    if not all(isinstance(row, list) and all(type(channel) is int for channel in row) for row in lists):
        must = 'map "io_group-io_channel-chip" to lists of channels'
        raise _error(must, "it does not", path, 'Write {"1-5-20": [3, 21]}.')
    if strange := {channel for row in bad.values() for channel in row if not 0 <= channel < CHANNELS}:
        must = f"name channels from 0 to {CHANNELS - 1}"
        raise _error(must, f"one is {min(strange)}", path, "Correct the file.")
    return bad


def _error(must: str, but: str, path: PathLike, remedy: str) -> ArgumentError:
    return ArgumentError("path", must, f"{but} ({path})", remedy)
