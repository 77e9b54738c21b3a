"""Write all sample files of this folder anew: `python -m tests.data.make`.

Segments are of module 0 and have the drift along x, as in the files of the field. What has pixels is of the small
module of `modules`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import larndsim
from larndsim.data.segment_tables import swapped
from larndsim.data.segments import Segments, lengths
from larndsim.detector.builtin import UNBONDED
from tests.data.modules import BONDED, detectors, layouts

HERE = Path(__file__).resolve().parent
COULOMB = 1.602176634e-19  # charge of the electron
LIGHT = 29979.2458  # cm/us
HEIGHT = 21.8236  # cm, by which module 0 lies below the centre in some files, and not in others

# Fields of three programs' files, in their order.
MUONS = (
    "eventID trackID pdgId dEdx dE dx x x_start x_end y y_start y_end z z_start z_end t t_start t_end pixel_plane"
    " tran_diff long_diff n_electrons n_photons"
)
COSMICS = (
    "eventID z_end trackID tran_diff z_start x_end y_end n_electrons pdgId x_start y_start t_start dx long_diff"
    " pixel_plane t_end dEdx dE t y x z"
)
SELECTED = COSMICS.replace(" dx", " t0_start t0_end t0 dx") + " n_photons"
KINDS = {
    **dict.fromkeys(("eventID", "trackID", "n_electrons", "pixel_plane"), "u4"),
    **dict.fromkeys(("t0", "t0_start", "t0_end"), "f8"),
    "pdgId": "i4",
}


def make(folder: Path) -> None:
    """Write all files."""
    for kind in ("segments", "detectors"):
        (folder / kind).mkdir(exist_ok=True)
    for name, (remark, entries) in (layouts() | detectors()).items():
        (folder / "detectors" / name).write_text(yaml_text(remark, entries), encoding="utf-8")
    (folder / "detectors" / "small_bad_channels.json").write_text(bad_channels(), encoding="utf-8")
    np.savez(folder / "detectors" / "small_thresholds.npz", **thresholds())
    for name, rows in {"muons": muons(), "cosmics": cosmics(), "selected": selected()}.items():
        with h5py.File(folder / "segments" / f"small_{name}.h5", "w") as file:
            file.create_dataset("segments", data=rows)


def yaml_text(remark: str, entries: dict[str, Any]) -> str:
    """A line per entry or per row, but several of the pixels in a line."""
    lines = [f"# {remark} Written by tests/data/make.py."]
    for key, value in entries.items():
        if key == "chip_channel_to_position":
            pixels = [f"{name}: {flow(place)}" for name, place in value.items()]
            lines += [f"{key}: {{", *(f"  {', '.join(some)}," for some in batched(pixels, 7)), "}"]
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {name}: {flow(row)}" for name, row in value.items())]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value within a line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow(each)}' for key, each in value.items())}}}"
    return f"[{', '.join(map(flow, value))}]" if isinstance(value, list) else str(value)


def batched(items: list[str], size: int) -> list[list[str]]:
    """So many at a time."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def bad_channels() -> str:
    """Channels that are off in the layout 2.2.16: some of a chip, a whole one, and one that the module lacks."""
    off = {
        "All": list(UNBONDED),
        "1-1-11": [1, 2, 21],
        "1-7-13": [35],
        "2-2-12": BONDED,
        "2-11-13": [0, 28, 29, 30, 31, 63],
        "2-31-29": [21, 41],
    }
    return (
        "{\n" + ",\n".join(f"  {json.dumps(chip)}: {json.dumps(channels)}" for chip, channels in off.items()) + "\n}\n"
    )


def thresholds() -> dict[str, np.ndarray]:
    """One per pixel of the coarse layouts, in coulomb; the default, which no pixel needs, is in no unit."""
    keys = np.arange(2 * 28 * 28, dtype=np.int32)
    values = np.random.default_rng(1).normal(5900.0, 600.0, len(keys)).round(1) * COULOMB
    return {"keys": keys, "values": values, "default": np.array([999999.0])}


def muons() -> np.ndarray:
    """Three events. Some particles go round a bend: their path `dx` is longer than the line between the ends."""
    rows = table(larndsim.generate("muons", n=3, seed=2), MUONS)
    rows["dx"][::3] *= np.float32(1.1)
    rows["dEdx"] = rows["dE"] / rows["dx"]
    return rows


def cosmics() -> np.ndarray:
    """A quarter of the deposits of three events, numbered with gaps, each particle at its time; the last is a point."""
    segments = larndsim.generate("cosmics", n=3, seed=5, tracks_per_event=2.0, deltas=10.0)
    rows = table(segments._replace(event=np.array([90, 130, 4755])[segments.event]), COSMICS)[::4]
    for axis in "xyz":
        rows[axis][-1] = rows[f"{axis}_end"][-1] = rows[f"{axis}_start"][-1]
    rows["dx"][-1] = rows["dEdx"][-1] = 0.0
    return rows


def selected() -> np.ndarray:
    """Some segments of four muons in events without an order, with times of flight; signed planes."""
    segments = larndsim.generate("muons", n=4, seed=4)
    segments = segments._replace(y_start=segments.y_start + HEIGHT, y_end=segments.y_end + HEIGHT)
    rows = table(segments._replace(event=np.array([92, 3, 50, 17])[segments.event]), SELECTED, pixel_plane="i4")
    first = np.searchsorted(segments.event, segments.event)  # of its event
    for name, place in (("t0_start", "_start"), ("t0", ""), ("t0_end", "_end")):
        away = [rows[axis + place] - rows[f"{axis}_start"][first] for axis in "xyz"]
        rows[name] = np.linalg.norm(away, axis=0) / LIGHT
    return rows[::2]


def table(segments: Segments, names: str, **kinds: str) -> np.ndarray:
    """Rows with fields of these names; the columns that a simulation fills in are zero."""
    kinds = KINDS | kinds
    rows = np.zeros(len(segments.event), dtype=[(name, kinds.get(name, "f4")) for name in names.split()])
    ends = swapped(segments)
    given = {**ends._asdict(), "eventID": ends.event, "trackID": ends.track, "pdgId": ends.pdg, "dx": lengths(ends)}
    for name in rows.dtype.names:
        if name in given:
            rows[name] = given[name]
    for axis in "xyz":
        rows[axis] = (rows[f"{axis}_start"] + rows[f"{axis}_end"]) / 2
    return rows


if __name__ == "__main__":
    make(HERE)
