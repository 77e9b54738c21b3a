"""What predictions are compared with, where it comes from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from larndsim import Segments
from larndsim.data.segments import concatenate
from larndsim.detector import Detector
from larndsim.errors import ArgumentError
from larndsim.io import PacketTimes, kinds_of, read_hits, read_packet_hits
from larndsim.io.packet_hits import counted

from .cuts import OPEN, make_cuts
from .dataset import load_dataset
from .hit_checks import PIXEL, check_ends, check_sequences, check_starts, check_values, early_ticks
from .losses.base import check_hits
from .settings import Settings


def data_targets(
    source: Any,
    detector: Detector,
    batches: tuple[Any, ...],
    channels: Any = None,
    starts: Mapping[int, float] | None = None,
    how: PacketTimes | None = None,
) -> tuple[np.ndarray, ...]:
    """The measured hits of each batch: those of pixels that its segments can reach; others belong to other tracks.

    `source` is a file of hits or of packets, or a structured array of hits. `channels` are the maps of the electronics:
    hits of channels that are off are left out, as they are in predictions. `starts` (us) of the events are those of
    their first deposits, cut or not; `how` says how packets tell events and times. The rows of a target are sorted:
    their order in the file means nothing.
    """
    hits, of_packets = _read(source, detector, channels, starts, how)
    check_detector(hits, detector)
    check_values(hits, detector)
    pixels = [{name: getattr(batch.all_pixels(), name) for name in PIXEL} for batch in batches]
    events = np.concatenate([np.unique(own["event"]) for own in pixels])
    if len(np.unique(events)) < len(events):
        remedy = "Give neither max_batch_len nor batch_tracks, or files of one track per event."
        raise ArgumentError("data", "have each event in one batch", "some are in several", remedy)
    if channels is not None:
        hits = hits[channels.live[hits["plane"], hits["ix"], hits["iy"]] > 0]
    targets = []
    for batch, own in zip(batches, pixels, strict=True):
        reached = hits[_among(hits, own)]
        check_starts(reached, detector, starts or {})
        check_sequences(reached, detector)
        burst, reference = bursts_of(reached, batch, detector)
        check_ends(reached["tick"] - reference, detector)
        reached = in_bursts(reached, burst, reference, detector) if of_packets else reached
        targets.append(reached[np.lexsort([reached[name] for name in ("order", "iy", "ix", "plane", "event")])])
    return tuple(targets)


def bursts_of(hits: np.ndarray, batch: Any, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Number and reference time (ticks) of the burst of deposits in which each hit comes. Axis: (hit,).

    An event that goes on after a long silence has several. A hit belongs to the last one that can be seen by then.
    """
    burst, reference = np.zeros((2, len(hits)), dtype=np.int64)
    pixels, early = batch.all_pixels(), early_ticks(detector)
    columns = np.stack([pixels.event, pixels.burst, pixels.reference])
    known = np.unique(columns, axis=1) if columns.size else columns  # by event, then by time
    by_event = np.argsort(hits["event"], kind="stable")
    ends = np.searchsorted(hits["event"][by_event], [known[0], known[0] + 1])
    first = np.diff(known[0], prepend=known[0, :1] - 1) != 0
    for begin, end, number, start, is_first in np.stack([*ends, *known[1:], first]).T.tolist():
        rows = by_event[begin:end]
        rows = rows[(hits["tick"][rows] >= start - early) | bool(is_first)]
        burst[rows], reference[rows] = number, start
    return burst, reference


def in_bursts(hits: np.ndarray, burst: np.ndarray, reference: np.ndarray, detector: Detector) -> np.ndarray:
    """Hits with the `order` and the `z` that predictions have, which depend on their burst of deposits, by time."""
    rows = np.lexsort([hits[name] for name in ("tick", *reversed(PIXEL))])
    hits, burst, reference = hits[rows], burst[rows], reference[rows]
    order = counted([*(hits[name] for name in PIXEL), burst])
    hits["order"] = order + detector.electronics.max_hits * burst
    hits["z"] = detector.drift_z(hits["plane"], hits["tick"] - reference)
    return hits


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


def _read(
    source: Any, detector: Detector, channels: Any, starts: Mapping[int, float] | None, how: PacketTimes | None
) -> tuple[np.ndarray, bool]:
    """The hits of a file, or the structured array that is one; and whether they come from packets."""
    if isinstance(source, np.ndarray):
        check_hits(source, "data")
        kind = "hits"
    else:
        held = kinds_of(source)
        kind = next((name for name in ("packets", "hits") if name in held), "")
    if not kind:
        but = f"{source} holds {' and '.join(held) or 'neither'}"
        raise ArgumentError("data", "be a file of hits or of LArPix packets", but, "Give what the detector recorded.")
    if kind == "packets":
        hits = read_packet_hits(source, detector, channels, how, starts)
    else:
        for name, value in (how or PacketTimes())._asdict().items():
            if value is not None:
                raise ArgumentError(f"data_{name}", "be left out with a file of hits", f"it is {value!r}")
        hits = source if isinstance(source, np.ndarray) else read_hits(source)
    if not len(hits):
        but = "it holds none" if isinstance(source, np.ndarray) else f"{source} holds none"
        raise ArgumentError("data", "hold hits", but, "Check how it was made, and what tells its events.")
    return hits, kind == "packets"
