"""Tracks for a fit: which are good enough, in what order, and in which batches.

Lengths in cm; the drift is along z.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from larndsim.data.segments import Segments, lengths
from larndsim.engine.checks import checked_segments
from larndsim.errors import ArgumentError

from .cuts import DEFAULT, Cuts

PathLike = str | os.PathLike[str]


class Removed(NamedTuple):
    """What one cut took away, of what the cuts before it had left. A track counts when nothing of it is left."""

    cut: str
    value: float
    tracks: int
    segments: int
    cm: float


class Amount(NamedTuple):
    """How much there is."""

    tracks: int
    segments: int
    cm: float

    def __str__(self) -> str:
        return f"{self.tracks} tracks, {self.segments} segments, {self.cm:.1f} cm"


class Report(NamedTuple):
    """What a dataset was made of."""

    read: Amount
    removed: tuple[Removed, ...]
    left_out: Amount  # tracks that passed, but are beyond the last batch
    kept: Amount
    batches: int

    def __str__(self) -> str:
        cuts = [f"  {r.cut} {r.value:g} removed {Amount(*r[2:])}" for r in self.removed if r.segments]
        beyond = [f"  beyond the last batch: {self.left_out}"] if self.left_out.tracks else []
        return "\n".join([f"read {self.read}", *cuts, *beyond, f"kept {self.kept} in {self.batches} batches"])


class Dataset(NamedTuple):
    """Batches of whole tracks, and what was left out and why.

    `starts` has the time (us) of the first deposit of each event, of all that was read: before the cuts.
    """

    batches: list[Segments]
    report: Report
    starts: dict[int, float]


def load_dataset(
    source: Segments | np.ndarray | PathLike,
    cuts: Cuts = DEFAULT,
    max_batch_len: float | None = None,
    batch_tracks: int | None = None,
    seed: int = 0,
    events: Iterable[int] | None = None,
    swap_xz: bool = True,
    max_batches: int | None = None,
) -> Dataset:
    """The tracks of a file, of `Segments` or of a structured array that pass the cuts, in batches.

    The order of the tracks is drawn with `seed`, and `max_batches` keeps the first batches of that order. A batch
    holds at most `max_batch_len` cm (or one longer track), or `batch_tracks` tracks; by default there is one batch.
    `swap_xz` says that files and structured arrays have their drift along x.
    """
    _check_batching(max_batch_len, batch_tracks, max_batches)
    segments = _read(source, events, swap_xz)
    kept, removed = _apply(segments, cuts)
    tracks = _shuffled(kept, seed)
    batches = list(_batched(tracks, max_batch_len, batch_tracks))
    chosen = [np.concatenate(batch) for batch in batches[:max_batches]]
    beyond = [rows for batch in batches[len(chosen) :] for rows in batch]
    left_out = amount(kept.select(np.concatenate(beyond))) if beyond else Amount(0, 0, 0.0)
    report = Report(amount(segments), removed, left_out, difference(amount(kept), left_out), len(chosen))
    if not chosen:
        raise _nothing_left(report)
    return Dataset([kept.select(rows) for rows in chosen], report, first_deposits(segments))


def first_deposits(segments: Segments) -> dict[int, float]:
    """The time (us) of the first deposit of each event."""
    order = np.lexsort([segments.t, segments.event])
    events, first = np.unique(segments.event[order], return_index=True)
    return dict(zip(events.tolist(), segments.t[order][first].tolist(), strict=True))


def track_numbers(segments: Segments) -> np.ndarray:
    """Number of each segment's track, 0, 1, ... over all events, in order of event and track. Axis: (segment,)."""
    if not len(segments.event):
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.stack([segments.event, segments.track]), axis=1, return_inverse=True)[1].ravel()


def amount(segments: Segments) -> Amount:
    """Tracks, segments and length."""
    number = track_numbers(segments)
    return Amount(int(number.max(initial=-1)) + 1, len(number), float(lengths(segments).sum()))


def difference(more: Amount, less: Amount) -> Amount:
    return Amount(more.tracks - less.tracks, more.segments - less.segments, more.cm - less.cm)


def _read(source: Segments | np.ndarray | PathLike, events: Iterable[int] | None, swap_xz: bool) -> Segments:
    """The segments of the wanted events."""
    if isinstance(source, str | os.PathLike):
        from larndsim.io import read_segments  # h5py is needed for files alone

        return read_segments(source, events, swap_xz)
    if isinstance(source, Segments):
        segments = checked_segments(source)
    else:
        from larndsim.data.segment_tables import segments_from_array

        segments = segments_from_array(np.asarray(source), swap_xz)
    if events is None:
        return segments
    wanted = np.asarray(list(events), dtype=np.int64)
    unknown = np.setdiff1d(wanted, segments.event)
    if unknown.size:
        raise ArgumentError("events", "name events of the segments", f"these lack {', '.join(map(str, unknown[:10]))}")
    return segments.select(np.isin(segments.event, wanted))


def _apply(segments: Segments, cuts: Cuts) -> tuple[Segments, tuple[Removed, ...]]:
    """What passes all cuts, one after the other, and what each took away."""
    removed = []
    for name, value in asdict(cuts).items():
        passed = segments.select(PASSES[name](segments, value))
        before, after = amount(segments), amount(passed)
        removed.append(Removed(name, value, *difference(before, after)))
        segments = passed
    return segments, tuple(removed)


def _long_segments(segments: Segments, value: float) -> np.ndarray:
    return lengths(segments) > value if value else np.ones(len(segments.event), dtype=bool)


def _beyond(segments: Segments, value: float) -> np.ndarray:
    s = segments
    same_half = s.z_start * s.z_end > 0 if value else np.ones(len(s.event), dtype=bool)
    return (np.minimum(np.abs(s.z_start), np.abs(s.z_end)) >= value) & same_half


def _within(segments: Segments, value: float) -> np.ndarray:
    return np.maximum(np.abs(segments.z_start), np.abs(segments.z_end)) <= value


def _long_tracks(segments: Segments, value: float) -> np.ndarray:
    number = track_numbers(segments)
    total = np.bincount(number, lengths(segments))[number]
    return total > value if value else np.ones(len(number), dtype=bool)


def _inclined_tracks(segments: Segments, value: float) -> np.ndarray:
    number = track_numbers(segments)
    along = np.bincount(number, np.abs(segments.z_end - segments.z_start))
    return (along < value * np.maximum(np.bincount(number, lengths(segments)), 1e-12))[number]


PASSES = {
    "segment_length": _long_segments,
    "z_inner": _beyond,
    "z_outer": _within,
    "track_length": _long_tracks,
    "cos_theta": _inclined_tracks,
}


def _shuffled(segments: Segments, seed: int) -> list[tuple[np.ndarray, float]]:
    """Rows and length of each track, in random order; the segments of a track keep theirs."""
    number = track_numbers(segments)
    order = np.argsort(number, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []
    each = lengths(segments)
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    return [(rows[index], float(each[rows[index]].sum())) for index in shuffled]


def _batched(
    tracks: list[tuple[np.ndarray, float]], max_batch_len: float | None, batch_tracks: int | None
) -> Iterator[list[np.ndarray]]:
    """The rows of the tracks of each batch, in the given order."""
    batch: list[np.ndarray] = []
    filled = 0.0
    for rows, cm in tracks:
        too_long = max_batch_len is not None and filled + cm > max_batch_len
        if batch and (too_long or len(batch) == batch_tracks):
            yield batch
            batch, filled = [], 0.0
        batch.append(rows)
        filled += cm
    if batch:
        yield batch


def _check_batching(max_batch_len: float | None, batch_tracks: int | None, max_batches: int | None) -> None:
    if max_batch_len is not None and batch_tracks is not None:
        but = f"max_batch_len = {max_batch_len:g} says so, too"
        raise ArgumentError("batch_tracks", "alone say how large a batch is", but, "Give one of the two.")
    if max_batch_len is not None and not max_batch_len > 0:
        raise ArgumentError("max_batch_len", "be a length greater than 0 cm", f"it is {max_batch_len!r}")
    for name, value in (("batch_tracks", batch_tracks), ("max_batches", max_batches)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise ArgumentError(name, "be a whole number of 1 or more", f"it is {value!r}")


def _nothing_left(report: Report) -> ArgumentError:
    """The error that says which cut removed what."""
    if not report.read.segments:
        return ArgumentError("source", "hold segments", "it holds none", "Check the file and `events`.")
    took = [f"{r.cut} {r.value:g} removed {Amount(*r[2:])}" for r in report.removed if r.segments]
    most = max(report.removed, key=lambda r: r.cm)
    remedy = f"Loosen `{most.cut}`, which removed most."
    return ArgumentError("cuts", "leave some tracks", f"of {report.read} {'; '.join(took)}", remedy)
