"""Files of channel values: thresholds and the like per pixel, and channels that are off.

Three kinds: npz files with a key per pixel; JSON files of the calibration chain, with a unique id per channel; and JSON
lists of channels that are off. What they give are arrays with axes (plane, ix, iy).
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, as_argument, check_choice
from .channels import channel_maps
from .checks import PathLike, read_text
from .detector import Detector

COULOMB = 1.602176634e-19  # charge of the electron
ANY_CHIP = "All"  # the key of channels that are off on every chip
CHANNELS = 64  # of a LArPix chip
UNIQUE_IDS = ("tile", "io_channel")  # what the second number of a unique id may be
PER_TILE = 4  # io channels of a tile: they count on from tile to tile
REMEDY = "Add them, or say that they keep the detector's values (`fill_channels`)."
FIELDS = {"pedestal_mv": "pedestal", "vref_mv": "v_ref", "vcm_mv": "v_cm"}  # of `Channel`
FILLED = ("thresholds", "gains", "pedestals", "references")  # files that may leave channels out, if told so


def load_channel_maps(files: Mapping[str, Any], detector: Detector) -> dict[str, Any]:
    """What a simulator takes as keywords: `thresholds`, `gains`, `pedestals`, `v_ref`, `v_cm`, `bad_channels`.

    `files` are paths (or arrays, as they are; None for none) under `thresholds`, `gains`, `pedestals`, `references` and
    `bad_channels`; and how to read them: `unique_id` (None: tile) and `fill_channels`: channels that a file leaves out,
    without a default of its own, keep the detector's values.
    """
    given = {name: value for name, value in files.items() if value is not None}
    fill = given.pop("fill_channels", False)
    unique_id = given.pop("unique_id", None)
    if fill and not any(name in given for name in FILLED):
        remedy = f"Give a file of {', '.join(FILLED[:-1])} or {FILLED[-1]}."
        raise ArgumentError("fill_channels", "be left out without files of channels", "it is given", remedy)
    if unique_id is not None:
        _check_unique_id(unique_id, given)
    own = channel_maps(detector)
    maps: dict[str, Any] = {}
    for name, value in given.items():
        with as_argument(name):
            if isinstance(value, np.ndarray):
                maps[name] = value
            elif name == "bad_channels":
                maps[name] = load_bad_channels(value, detector)
            elif name == "pedestals":
                maps[name] = load_pedestals(value, detector, unique_id or "tile", own.pedestal if fill else None)
            elif name == "references":
                both = (own.v_ref, own.v_cm) if fill else None
                maps["v_ref"], maps["v_cm"] = load_references(value, detector, unique_id or "tile", both)
            else:
                nominal = own.threshold if name == "thresholds" else own.gain
                maps[name] = load_channel_values(value, detector, fill=nominal if fill else None)
    return maps


def _check_unique_id(unique_id: Any, given: Mapping[str, Any]) -> None:
    """Refuse a variant that is none, or that no file uses."""
    check_choice("unique_id", unique_id, UNIQUE_IDS)
    pedestals = given.get("pedestals")
    ids = "references" in given or not (pedestals is None or isinstance(pedestals, np.ndarray) or _is_npz(pedestals))
    if not ids:
        remedy = "Files of keys have no such ids."
        raise ArgumentError("unique_id", "come with a JSON file of pedestals or references", "there is none", remedy)


def load_channel_values(
    path: PathLike,
    detector: Detector,
    default: float | None = None,
    positive: bool = True,
    fill: np.ndarray | None = None,
) -> np.ndarray:
    """Values per pixel from an npz file of `keys`, `values` and `default`. Axes: (plane, ix, iy).

    The key of a pixel is ix + n_x * (iy + n_y * plane). Pixels that the file does not name get `default`, or the file's
    own, or else those of `fill` (plane, ix, iy). Thresholds and gains are `positive`, and charges in coulomb (they are
    tiny) become electrons; other values are taken as they are.
    """
    n_planes, n_x, n_y = detector.geometry.shape
    if np.any(detector.geometry.n_x != n_x) or np.any(detector.geometry.n_y != n_y):
        raise _error("go with a detector whose planes are alike", "their sizes differ", path, "Load one module.")
    keys, values, own = _read_npz(path)
    if positive:
        values, own = _in_electrons(values, own)
    if len(keys) and (keys.min() < 0 or keys.max() >= n_planes * n_x * n_y):
        but = f"key {keys.max()} is not among its {n_planes * n_x * n_y}"
        raise _error(f"name pixels of {detector.name}", but, path, "Give the file of this detector.")
    rest = own if default is None else default
    if positive and (np.any(values <= 0) or (rest is not None and not 0 < rest < np.inf)):
        raise _error("hold positive values and a positive `default`", "it does not", path, "Correct the file.")
    if rest is not None and not math.isfinite(rest):
        raise _error("hold a finite `default`", f"it is {rest}", path, "Correct the file.")
    if rest is None and fill is None and len(np.unique(keys)) < n_planes * n_x * n_y:
        raise _error("name all pixels or hold a `default`", "it does not", path, REMEDY)
    nominal = np.full(detector.geometry.shape, np.nan) if fill is None else fill
    table = np.full(n_planes * n_y * n_x, rest) if rest is not None else nominal.transpose(0, 2, 1).ravel().copy()
    table[keys] = values
    return table.reshape(n_planes, n_y, n_x).transpose(0, 2, 1)


def load_pedestals(
    path: PathLike, detector: Detector, unique_id: str = "tile", fill: np.ndarray | None = None
) -> np.ndarray:
    """Pedestals, mV, from an npz file or from JSON {unique id: {"pedestal_mv": ...}}. Axes: (plane, ix, iy).

    Zero and negative values will do; not all may lie above `v_ref`, beyond the ADC. `unique_id` is the variant of the
    ids, see `unique_ids_of`. Channels that the file leaves out get those of `fill` (plane, ix, iy); without it they are
    refused.
    """
    if _is_npz(path):
        found = load_channel_values(path, detector, positive=False, fill=fill)
        if (found >= channel_maps(detector).v_ref).all():
            but = f"all lie above `v_ref`, {found.min():g} mV and more"
            raise _error("hold pedestals, mV", but, path, "Give the file of pedestals.")
        return found
    return _read_ids(path, detector, unique_id, ("pedestal_mv",), None if fill is None else (fill,))[0]


def load_references(
    path: PathLike,
    detector: Detector,
    unique_id: str = "tile",
    fill: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`v_ref` and `v_cm`, mV, from JSON {unique id: {"vref_mv": ..., "vcm_mv": ...}}. Axes of each: (plane, ix, iy).

    Other arguments as for `load_pedestals`.
    """
    v_ref, v_cm = _read_ids(path, detector, unique_id, ("vref_mv", "vcm_mv"), fill)
    if len(low := np.flatnonzero(v_ref <= v_cm)):
        name = unique_ids_of(detector, unique_id).flat[low[0]]
        raise _error("have `vref_mv` above `vcm_mv`", f"channel {name} has not", path, "Correct the file.")
    return v_ref, v_cm


def unique_ids_of(detector: Detector, unique_id: str = "tile") -> np.ndarray:
    """The unique id of the channel behind each pixel, -1 where there is none. Axes: (plane, ix, iy).

    ((io_group 1000 + second) 1000 + chip) 100 + channel, where the second number is that of the tile in its io group
    (four io channels each), or that of the io channel.
    """
    check_choice("unique_id", unique_id, UNIQUE_IDS)
    group, io_channel, chip, channel = (column.astype(np.int64) for column in detector.readout)
    second = io_channel if unique_id == "io_channel" else (io_channel - 1) // PER_TILE + 1
    return np.where(chip >= 0, ((group * 1000 + second) * 1000 + chip) * 100 + channel, -1)


def _read_ids(
    path: PathLike,
    detector: Detector,
    unique_id: str,
    names: tuple[str, ...],
    fill: tuple[np.ndarray, ...] | None,
) -> list[np.ndarray]:
    """The values of some names from JSON {unique id: {name: value}}. Axes of each: (plane, ix, iy)."""
    known = unique_ids_of(detector, unique_id)
    content = _read_json(path)
    keys, rows = _ids_and_values(content, names, path)
    if len(strange := keys[~np.isin(keys, known[known >= 0])]):
        but = f"{len(strange)} of its {len(keys)} unique ids match no channel, the first of them {strange[0]}"
        remedy = f"Give the file of this detector, or another variant of the ids ({', '.join(UNIQUE_IDS)})."
        raise _error(f"name channels of {detector.name}", but, path, remedy)
    missing = (known >= 0) & ~np.isin(known, keys)
    if fill is None and missing.any():
        but = f"{missing.sum()} are missing, the first of them {known[missing][0]}"
        raise _error(f"name all channels of {detector.name}", but, path, REMEDY)
    order = np.argsort(keys)
    named = np.isin(known, keys)
    row = order[np.searchsorted(keys, known[named], sorter=order)]
    own = channel_maps(detector)
    nominal = fill or [getattr(own, FIELDS[name]) for name in names]  # pixels without a channel keep these
    tables = [np.array(values) for values in nominal]
    for table, column in zip(tables, rows.T, strict=True):
        table[named] = column[row]
    return tables


def _ids_and_values(content: Any, names: tuple[str, ...], path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Unique ids (channel,), and their values (channel, name)."""
    wanted = ", ".join(f'"{name}": ...' for name in names)
    must = f"map unique ids to {{{wanted}}} in mV"
    if not isinstance(content, dict):
        raise _error(must, f"it holds a {type(content).__name__}", path, "Correct the file.")
    for key, entry in content.items():
        if not (key.isascii() and key.isdecimal() and len(key) <= 18):
            raise _error(must, f"one key is {key!r}", path, "Correct the file.")
        values = [entry.get(name) if isinstance(entry, dict) else None for name in names]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in values):
            raise _error(must, f"{key} has {entry!r}", path, "Correct the file.")
    rows = [[float(entry[name]) for name in names] for entry in content.values()]
    keys = np.array([int(key) for key in content], dtype=np.int64)
    if len(np.unique(keys)) < len(keys):
        raise _error("name each channel once", "some are there twice", path, "Correct the file.")
    return keys, np.array(rows).reshape(-1, len(names))


def _is_npz(path: PathLike) -> bool:
    return zipfile.is_zipfile(path)


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
    """Keys (pixel,), values (pixel,), and the default if there is one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            keys, values = file["keys"], file["values"].astype(np.float64)
            default = float(file["default"].ravel()[0]) if "default" in file else None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, zipfile.BadZipFile) as error:
        must = "be an npz file with arrays `keys` and `values`"
        raise _error(must, "it cannot be read so", path, "Check the path, and write it with numpy.savez.") from error
    if keys.shape != values.shape or keys.ndim != 1 or not np.all(np.isfinite(values)):
        raise _error("hold a finite value for each key", "it does not", path, "Correct the file.")
    if len(keys) and keys.dtype.kind not in "iu":
        raise _error("have whole numbers as keys", f"they have the type {keys.dtype}", path, "Correct the file.")
    if len(np.unique(keys)) < len(keys):
        raise _error("name each pixel once", "some keys are there twice", path, "Correct the file.")
    return keys.astype(np.int64), values, default


def _in_electrons(values: np.ndarray, default: float | None) -> tuple[np.ndarray, float | None]:
    """Charges in coulomb, which lie far below one electron, as electrons."""
    if not len(values) or np.abs(values).max() >= 1e-10:
        return values, default
    small = default is not None and abs(default) < 1e-10
    return values / COULOMB, default / COULOMB if small and default is not None else default


def _read_json(path: PathLike) -> Any:
    try:
        return json.loads(read_text(path, "path"), object_pairs_hook=lambda pairs: _each_once(pairs, path))
    except json.JSONDecodeError as error:
        raise _error("be a JSON file", f"line {error.lineno}: {error.msg}", path, "Correct that line.") from error
    except RecursionError as error:
        raise _error("be a JSON file", "it is nested too deeply", path, "Correct the file.") from error


def _each_once(pairs: list[tuple[str, Any]], path: PathLike) -> dict[str, Any]:
    """A mapping of JSON; of a key that is there twice, JSON would silently keep the last."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise _error("name each key once", "some are there twice", path, "Correct the file.")
    return mapping


def _read_bad(path: PathLike) -> dict[str, list[int]]:
    bad = _read_json(path)
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
