"""Segments in and out of edep-sim's HDF5 files.

Such a file has a structured dataset `segments` (or `tracks`), one row per segment, with the drift along x; here it is
along z. So reading and writing swap x and z, unless `swap_xz` is False. Lengths in cm, times in us, energies in MeV.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..data.segments import Segments, lengths
from ..errors import ArgumentError
from .atomic import replacing
from .hdf5 import PathLike, opened

_DATASETS = ("segments", "tracks")
_ENDS = ("x_start", "y_start", "z_start", "x_end", "y_end", "z_end")
# For each column its names in the dialects, the preferred one first.
_IDENTIFIERS = {
    "event": ("eventID", "event_id"),
    "track": ("trackID", "traj_id", "track_id"),
    "segment": ("segment_id",),
    "pdg": ("pdgId", "pdg_id"),
}
_QUANTITIES = {**{name: (name,) for name in (*_ENDS, "dE", "dEdx")}, "t": ("t0", "t")}
_REQUIRED = ("event", *_ENDS, "dE", "dEdx")
_NEARBY = 64  # rows; reading so many for nothing costs less than one more access to the file

_MIDDLES = ("x", "y", "z")
_WRITTEN: dict[str, type] = {
    **dict.fromkeys(("eventID", "segment_id", "trackID", "pdgId"), np.int64),
    **dict.fromkeys((*_ENDS, *_MIDDLES, "dx", "dE", "dEdx", "t0", "t0_start", "t0_end"), np.float64),
    # What a simulation fills in later.
    **dict.fromkeys(("t", "t_start", "t_end", "tran_diff", "long_diff", "n_photons"), np.float32),
    **dict.fromkeys(("pixel_plane", "n_electrons"), np.int32),
}


class _Source(NamedTuple):
    """Where a table comes from, for messages: the argument, and the file or "it"."""

    argument: str
    where: str


def read_segments(path: PathLike, events: Iterable[int] | None = None, swap_xz: bool = True) -> Segments:
    """The segments of a file, or those of the given `events`, in the order of the file."""
    with _opened(path) as dataset:
        rows = np.arange(len(dataset)) if events is None else np.flatnonzero(_selected(_event_of(dataset), events))
        return _segments(_read_rows(dataset, rows), rows, _Source("path", str(path)), swap_xz)


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


def segments_from_array(structured_array: np.ndarray, swap_xz: bool = True) -> Segments:
    """Segments from a structured array with the field names of edep-sim."""
    array = np.asarray(structured_array)
    source = _Source("structured_array", "it")
    _check_table(array, source)
    return _segments(array, np.arange(len(array)), source, swap_xz)


def write_segments(path: PathLike, segments: Segments, swap_xz: bool = True) -> None:
    """Write a file as edep-sim would, with `t` as `t0`; the columns that a simulation fills in are zero."""
    ends = _swapped(segments) if swap_xz else segments
    table = np.zeros(len(segments.event), dtype=list(_WRITTEN.items()))
    for name in ("event", "track", "segment", "pdg"):
        table[_IDENTIFIERS[name][0]] = getattr(segments, name)
    for name in (*_ENDS, "dE", "dEdx"):
        table[name] = getattr(ends, name)
    for axis in _MIDDLES:
        table[axis] = (table[f"{axis}_start"] + table[f"{axis}_end"]) / 2
    for name in ("t0", "t0_start", "t0_end"):
        table[name] = segments.t
    table["dx"] = lengths(segments)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
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
    _check_table(dataset, _Source("path", str(path)))
    return dataset


def _check_table(table: Any, source: _Source) -> None:
    """Refuse what has no rows, lacks a field, or has one that does not hold numbers."""
    argument, where = source
    if table.dtype.names is None or table.ndim != 1:
        but = f"{where} has the type {table.dtype} and the shape {table.shape}"
        raise ArgumentError(argument, "hold a structured array with one row per segment", but)
    names = table.dtype.names
    known = {**_IDENTIFIERS, **_QUANTITIES}
    missing = [" or ".join(known[column]) for column in _REQUIRED if _field(names, column) is None]
    if missing:
        but = f"{where} lacks {', '.join(missing)} and has only {', '.join(names)}"
        raise ArgumentError(argument, "have the fields of edep-sim", but, "Rename or add what is missing.")
    for column in known:
        field = _field(names, column)
        kinds, what = ("iu", "integers") if column in _IDENTIFIERS else ("iuf", "real numbers")
        if field and table.dtype[field].kind not in kinds:
            but = f"in {where} it has the type {table.dtype[field]}"
            raise ArgumentError(argument, f"hold {what} in the field `{field}`", but, f"Store it as {what}.")


def _field(names: Iterable[str], column: str) -> str | None:
    """What a table calls a column; None where it does not have it."""
    dialects = _IDENTIFIERS.get(column) or _QUANTITIES[column]
    return next((name for name in dialects if name in names), None)


def _segments(table: np.ndarray, rows: np.ndarray, source: _Source, swap_xz: bool) -> Segments:
    """Named columns of a table whose rows have the given numbers in the file."""
    columns = {}
    for column in Segments._fields:
        field = _field(table.dtype.names or (), column)
        kind = np.int64 if column in _IDENTIFIERS else np.float64
        if field is None:
            columns[column] = rows.astype(np.int64) if column == "segment" else np.zeros(len(rows), dtype=kind)
            continue
        values = columns[column] = _whole(table[field], source) if kind is np.int64 else table[field].astype(kind)
        _refuse(~np.isfinite(values), rows, source, f"have a finite `{field}` in every row")
        if column in ("dE", "dEdx"):
            _refuse(values < 0, rows, source, f"have a `{field}` of zero or more in every row")
    segments = Segments(**columns)
    return _swapped(segments) if swap_xz else segments


def _refuse(bad: np.ndarray, rows: np.ndarray, source: _Source, must: str) -> None:
    """Raise if any value is bad; say how many, and where the first one is."""
    if bad.any():
        but = f"{source.where} has {bad.sum()} other rows, the first of them row {rows[bad.argmax()]}"
        raise ArgumentError(source.argument, must, but, "Remove or correct these rows.")


def _swapped(segments: Segments) -> Segments:
    """The same segments with x and z exchanged."""
    s = segments
    return s._replace(x_start=s.z_start, z_start=s.x_start, x_end=s.z_end, z_end=s.x_end)


def _event_of(dataset: h5py.Dataset) -> np.ndarray:
    """The event of each row."""
    field = _field(dataset.dtype.names, "event")
    return _whole(dataset.fields(field)[:], _Source("path", dataset.file.filename))


def _whole(numbers: np.ndarray, source: _Source) -> np.ndarray:
    """Identifiers as signed integers; what does not fit would come back as another number."""
    if numbers.dtype.kind == "u":
        _refuse(numbers > np.iinfo(np.int64).max, np.arange(len(numbers)), source, "have identifiers below 2**63")
    return numbers.astype(np.int64)


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
            yield _segments(_read_rows(dataset, rows), rows, _Source("path", str(path)), swap_xz)


def _read_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """The given rows, in increasing order: one contiguous read for rows that lie close together."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > _NEARBY) + 1) if len(rows) else []
    pieces = [dataset[run[0] : run[-1] + 1][run - run[0]] for run in runs]
    return np.concatenate(pieces) if pieces else dataset[:0]
