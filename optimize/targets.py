"""What predictions are compared with, where it comes from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from larndsim import Segments
from larndsim.data.segments import concatenate
from larndsim.detector import Detector
from larndsim.errors import ArgumentError

from .cuts import OPEN, make_cuts
from .dataset import load_dataset
from .settings import Settings

PIXEL = ("event", "plane", "ix", "iy")


def data_targets(source: Any, detector: Detector, batches: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    """The measured hits of each batch: those of pixels that its segments can reach; others belong to other tracks."""
    hits = _read(source)
    check_detector(hits, detector)
    pixels = [{name: getattr(batch.all_pixels(), name) for name in PIXEL} for batch in batches]
    events = np.concatenate([np.unique(own["event"]) for own in pixels])
    if len(np.unique(events)) < len(events):
        remedy = "Give neither max_batch_len nor batch_tracks, or files of one track per event."
        raise ArgumentError("data", "have each event in one batch", "some are in several", remedy)
    return tuple(hits[_among(hits, own)] for own in pixels)


def check_detector(hits: np.ndarray, detector: Detector) -> None:
    """Refuse hits that lie on no pixel of the detector, or not where that pixel is."""
    g = detector.geometry
    plane = np.clip(hits["plane"], 0, g.n_planes - 1)
    on_plane = (hits["plane"] == plane) & (hits["ix"] < g.n_x[plane]) & (hits["iy"] < g.n_y[plane])
    on_plane &= (hits["ix"] >= 0) & (hits["iy"] >= 0)
    pitch = g.pitch[plane]
    x = g.x_low[plane] + pitch * (hits["ix"] + 0.5)
    y = g.y_low[plane] + pitch * (hits["iy"] + 0.5)
    there = on_plane & (np.abs(hits["x"] - x) < 0.5 * pitch) & (np.abs(hits["y"] - y) < 0.5 * pitch)
    if not there.all():
        but = f"{int((~there).sum())} of {len(hits)} hits lie on no pixel of {detector.name}"
        raise ArgumentError("data", "hold hits of this detector", but, "Choose the detector that they come from.")


def matching_segments(source: Any, parts: list[Segments], settings: Settings) -> list[Segments]:
    """For each batch the segments of another file with the same events and tracks."""
    cuts = make_cuts(OPEN)
    others = concatenate(*load_dataset(source, cuts, events=settings.events, swap_xz=settings.swap_xz).batches)
    matched = []
    for part in parts:
        known = {name: getattr(part, name) for name in ("event", "track")}
        chosen = _among({name: getattr(others, name) for name in known}, known)
        if not chosen.any():
            remedy = "Both files must number events and tracks alike."
            raise ArgumentError("input_target", "hold the tracks of `input`", "it has none of a batch", remedy)
        matched.append(others.select(chosen))
    return matched


def _among(rows: Any, known: dict[str, np.ndarray]) -> np.ndarray:
    """Which rows agree with one of the known ones in all its columns. Axis: (row,)."""
    held = set(zip(*(column.tolist() for column in known.values()), strict=True))
    wanted = zip(*(rows[name].tolist() for name in known), strict=True)
    return np.array([values in held for values in wanted], dtype=bool)


def _read(source: Any) -> np.ndarray:
    """A file of hits, or the structured array that it holds."""
    if isinstance(source, np.ndarray):
        return source
    from larndsim.io.hits import read_hits

    return read_hits(source)
