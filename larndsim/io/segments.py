"""Segments in and out of edep-sim's HDF5 files.

Such a file has a structured dataset `segments` (or `tracks`), one row per segment, with the drift along x; here it is
along z. So reading and writing swap x and z, unless `swap_xz` is False. Lengths in cm, times in us, energies in MeV.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from ..data.segment_tables import (
    ENDS,
    IDENTIFIERS,
    TableSource,
    check_table,
    field_of,
    segments_of,
    swapped,
    whole_numbers,
)
from ..data.segments import Segments, lengths
from ..errors import ArgumentError
from .hdf5 import PathLike, new_file, opened

_DATASETS = ("segments", "tracks")
_NEARBY = 64  # rows; reading so many for nothing costs less than one more access to the file


_MIDDLES = ("x", "y", "z")
_WRITTEN: dict[str, type] = {
    **dict.fromkeys(("eventID", "segment_id", "trackID", "pdgId"), np.int64),
    **dict.fromkeys((*ENDS, *_MIDDLES, "dx", "dE", "dEdx", "t0", "t0_start", "t0_end"), np.float64),
    # What a simulation fills in later.
    **dict.fromkeys(("t", "t_start", "t_end", "tran_diff", "long_diff", "n_photons"), np.float32),
    **dict.fromkeys(("pixel_plane", "n_electrons"), np.int32),
}


def read_segments(path: PathLike, events: Iterable[int] | None = None, swap_xz: bool = True) -> Segments:
    """The segments of a file, or those of the given `events`, in the order of the file."""
    with _opened(path) as dataset:
        rows = np.arange(len(dataset)) if events is None else np.flatnonzero(_selected(_event_of(dataset), events))
        return segments_of(_read_rows(dataset, rows), rows, TableSource("path", str(path)), swap_xz)


def stream_segments(
    path: PathLike, max_segments: int, events: Iterable[int] | None = None, swap_xz: bool = True
) -> Iterator[Segments]:
    """The segments of a file, in parts of whole events with at most `max_segments` each (or a single larger event).

    Only the events' numbers are held in memory. Events come in the order in which the file first names them,
    and each is whole even where its rows are scattered.
    """
    if max_segments < 1:
        raise ArgumentError("max_segments", "be at least 1", f"it is {max_segments}")
    with _opened(path) as dataset:
        event = _event_of(dataset)
    rows = np.arange(len(event)) if events is None else np.flatnonzero(_selected(event, events))
    return _stream(path, _parts(event[rows], rows, max_segments), swap_xz)


def write_segments(path: PathLike, segments: Segments, swap_xz: bool = True) -> None:
    """Write a file as edep-sim would, with `t` as `t0`; the columns that a simulation fills in are zero."""
    ends = swapped(segments) if swap_xz else segments
    table = np.zeros(len(segments.event), dtype=list(_WRITTEN.items()))
    for name in ("event", "track", "segment", "pdg"):
        table[IDENTIFIERS[name][0]] = getattr(segments, name)
    for name in (*ENDS, "dE", "dEdx"):
        table[name] = getattr(ends, name)
    for axis in _MIDDLES:
        table[axis] = (table[f"{axis}_start"] + table[f"{axis}_end"]) / 2
    for name in ("t0", "t0_start", "t0_end"):
        table[name] = segments.t
    table["dx"] = lengths(segments)
    with new_file(path) as file:
        file.create_dataset("segments", data=table)


@contextmanager
def _opened(path: PathLike) -> Iterator[h5py.Dataset]:
    """The dataset of segments of an open file."""
    with opened(path, "segments") as file:
        yield _dataset_of(file, path)


def _dataset_of(file: h5py.File, path: PathLike) -> h5py.Dataset:
    """The dataset of segments, with all the fields that are needed."""
    name = next((name for name in _DATASETS if file.get(name) is not None), None)  # a link may lead nowhere
    if name is None:
        held = ", ".join(f"`{key}`" for key in file) or "nothing"
        raise ArgumentError("path", "hold a dataset `segments` or `tracks`", f"{path} holds {held}")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ArgumentError("path", f"hold a dataset `{name}`", f"{path} holds a group of that name")
    check_table(dataset, TableSource("path", str(path)))
    return dataset


def _event_of(dataset: h5py.Dataset) -> np.ndarray:
    """The event of each row."""
    field = field_of(dataset.dtype.names, "event")
    return whole_numbers(dataset.fields(field)[:], TableSource("path", dataset.file.filename))


def _selected(event: np.ndarray, events: Iterable[int]) -> np.ndarray:
    """Which rows belong to the wanted events; every one of these must be there."""
    wanted = np.unique(np.asarray(list(events) if isinstance(events, Iterable) else [events]))
    if wanted.size and wanted.dtype.kind not in "iu":
        raise ArgumentError("events", "be whole numbers", f"it holds the type {wanted.dtype}")
    wanted = wanted.astype(np.int64)
    unknown = np.setdiff1d(wanted, event)
    if unknown.size:
        held = f"{len(np.unique(event))} events from {event.min()} to {event.max()}" if event.size else "no events"
        names = ", ".join(map(str, unknown[:10])) + (", ..." if unknown.size > 10 else "")
        raise ArgumentError("events", "name events of the file", f"it lacks {names}", f"It holds {held}.")
    return np.isin(event, wanted)


def _parts(event: np.ndarray, rows: np.ndarray, max_segments: int) -> list[np.ndarray]:
    """The rows of each part: as many whole events as fit, by first appearance."""
    _, first, number, count = np.unique(event, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    part_of, part, filled = np.empty(len(order), dtype=np.int64), 0, 0
    for index in order:
        if filled and filled + count[index] > max_segments:
            part, filled = part + 1, 0
        filled += count[index]
        part_of[index] = part
    part_of_row = part_of[number]
    by_part = np.argsort(part_of_row, kind="stable")
    return np.split(rows[by_part], np.flatnonzero(np.diff(part_of_row[by_part])) + 1) if len(rows) else []


def _stream(path: PathLike, parts: Iterable[np.ndarray], swap_xz: bool) -> Iterator[Segments]:
    """Read one part after the other."""
    with _opened(path) as dataset:
        for rows in parts:
            yield segments_of(_read_rows(dataset, rows), rows, TableSource("path", str(path)), swap_xz)


def _read_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """The given rows, in increasing order: one contiguous read for rows that lie close together."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > _NEARBY) + 1) if len(rows) else []
    pieces = [dataset[run[0] : run[-1] + 1][run - run[0]] for run in runs]
    return np.concatenate(pieces) if pieces else dataset[:0]
